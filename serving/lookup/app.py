"""The lookup API: read-only, and never slower than its deadline."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from serving.lookup.answers import (
    EXAMPLES,
    BatchAnswer,
    BatchRequest,
    Problem,
    UserAnswer,
    batch_body_and_etag,
)
from serving.lookup.cache import JSON, LookupCache
from serving.lookup.hot_path import PREFIX, SUFFIX, USER_ID_MAX, LookupApp
from serving.lookup.lookups import PROBLEM_JSON, Lookups, problem, store_problem
from serving.lookup.metrics import LookupMetrics
from serving.lookup.settings import LookupSettings
from serving.lookup.store import SegmentReader, StoreError
from serving.lookup.watch import JobWatch

BATCH_BYTES_MAX = 64 * 1024

UserIdInPath = Annotated[str, Path(min_length=1, max_length=USER_ID_MAX, examples=["u17"])]


class _UserConvertor(PathConvertor):
    """A user id in a path: anything, line feeds too."""

    regex = r"[\s\S]*"


register_url_convertor("user", _UserConvertor())

_decode_batch = msgspec.json.Decoder(BatchRequest).decode


def create_app(
    open_reader: Callable[[], SegmentReader], settings: LookupSettings | None = None
) -> LookupApp:
    """Make the app. `open_reader` opens the store once, inside the server's event loop."""
    limits = settings or LookupSettings()
    metrics = LookupMetrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reader = open_reader()
        watch = app.state.watch = JobWatch(reader, limits)
        cache = LookupCache(reader, watch, limits)
        app.lookups = Lookups(cache, metrics)
        metrics.follow(watch)
        with suppress(StoreError):
            await watch.ask()
        background = [asyncio.create_task(watch.run())]
        if limits.fresh_seconds:
            background.append(asyncio.create_task(cache.keep_fresh()))
        yield
        for task in background:
            task.cancel()
        await reader.close()

    app = LookupApp(
        title="segstream lookup",
        version="1",
        summary="Which segments is this user in?",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _add_lookups(app, metrics)
    _add_operations(app, metrics, limits)
    _add_problems(app)
    _describe(app)
    return app


def _add_lookups(app: LookupApp, metrics: LookupMetrics) -> None:
    @app.get(
        f"{PREFIX}{{user_id:user}}{SUFFIX}",
        operation_id="getUserSegments",
        summary="The segments of one user",
        responses={
            200: _described("The user's segments; none for a new user.", "UserAnswer"),
            304: {"description": "The caller has this answer already."},
            400: _problem("The user id is empty or too long."),
            503: _problem("The store does not answer and nothing is known of this user."),
        },
    )
    async def get_user_segments(user_id: UserIdInPath, request: Request) -> Response:
        return await app.lookups.respond(user_id, request.headers.raw)

    @app.post(
        "/v1/segments:batchGet",
        operation_id="batchGetSegments",
        summary="The segments of up to 100 users",
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON: {"schema": _ref("BatchRequest")}}}
        },
        responses={
            200: _described("In the order asked.", "BatchAnswer"),
            400: _problem("The body is not a list of 1 to 100 user ids."),
            413: _problem("The body is larger than 64 KiB."),
            503: _problem("The store does not answer for a user that nothing is known of."),
        },
    )
    async def batch_get_segments(request: Request) -> Response:
        started = time.perf_counter()
        wanted = _decode_batch(await _bounded_body(request))
        find = app.lookups.find
        found = await asyncio.gather(*(find(user_id) for user_id in wanted.user_ids))
        body, etag = batch_body_and_etag([(reply.body, reply.etag) for reply in found])
        metrics.seconds.observe(time.perf_counter() - started)
        return Response(body, headers={"etag": etag}, media_type=JSON)


def _add_operations(app: FastAPI, metrics: LookupMetrics, limits: LookupSettings) -> None:
    @app.get("/healthz", operation_id="health", summary="The process is alive")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(
        "/readyz",
        operation_id="ready",
        summary="The store answers; whether the job lives is said beside",
        responses={503: _problem("The store does not answer.")},
    )
    async def ready() -> dict[str, str]:
        watch: JobWatch = app.state.watch
        try:
            async with asyncio.timeout(limits.deadline_seconds):
                await watch.ask()
        except TimeoutError:
            raise StoreError("no answer within the deadline") from None
        return {"status": "ready", "job": "silent" if watch.job_is_silent else "reporting"}

    @app.get(
        "/metrics",
        operation_id="metrics",
        summary="Prometheus metrics",
        response_class=PlainTextResponse,
    )
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(StoreError)
    async def store_down(_: Request, error: StoreError) -> Response:
        return store_problem(error)

    @app.exception_handler(UnicodeDecodeError)
    @app.exception_handler(msgspec.DecodeError)
    async def bad_body(_: Request, error: ValueError) -> Response:
        return problem("Bad request body", 400, str(error))

    @app.exception_handler(RequestValidationError)
    async def bad_request(_: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return problem("Bad request", 400, faults)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        return problem(error.detail, error.status_code, error.detail, headers)


async def _bounded_body(request: Request) -> bytes:
    """The request's body, given up as soon as it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BATCH_BYTES_MAX:
            raise HTTPException(413, f"the body is larger than {BATCH_BYTES_MAX} bytes")
    return bytes(body)


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _described(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": _ref(name)}}}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_JSON: {"schema": _ref("Problem")}}}


def _describe(app: FastAPI) -> None:
    """Put the schemas and examples of the typed messages into the OpenAPI document, once."""
    document = app.openapi()
    for operations in document["paths"].values():
        for operation in operations.values():
            # FastAPI promises a validation answer of its own that this app never gives.
            operation["responses"].pop("422", None)
            # And it would leave out what is null in an example.
            answer = operation["responses"]["200"].get("content", {}).get(JSON, {})
            name = answer.get("schema", {}).get("$ref", "").rpartition("/")[2]
            if name in EXAMPLES:
                answer["example"] = EXAMPLES[name]
    _, components = msgspec.json.schema_components(
        [UserAnswer, BatchAnswer, BatchRequest, Problem],
        ref_template="#/components/schemas/{name}",
    )
    document["components"] = {"schemas": components}
