"""The lookup API: read-only, and never slower than its deadline."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
    EXAMPLE_USER,
    BatchAnswer,
    BatchRequest,
    Problem,
    UserAnswer,
    body_and_etag,
)
from serving.lookup.cache import CacheSettings, Found, LookupCache
from serving.lookup.metrics import LookupMetrics
from serving.lookup.store import SegmentReader, StoreError

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
BATCH_BYTES_MAX = 64 * 1024

UserIdInPath = Annotated[str, Path(min_length=1, max_length=256, examples=["u17"])]


class _UserConvertor(PathConvertor):
    """A user id in a path: anything, line feeds too."""

    regex = r"[\s\S]*"


register_url_convertor("user", _UserConvertor())

_decode_batch = msgspec.json.Decoder(BatchRequest).decode


def create_app(
    open_reader: Callable[[], SegmentReader], settings: CacheSettings | None = None
) -> FastAPI:
    """Make the app. `open_reader` opens the store once, inside the server's event loop."""
    limits = settings or CacheSettings()
    metrics = LookupMetrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        reader = open_reader()
        app.state.cache = LookupCache(reader, limits)
        yield
        await reader.close()

    app = FastAPI(
        title="segstream lookup",
        version="1",
        summary="Which segments is this user in?",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _add_lookups(app, metrics, f"private, max-age={int(limits.fresh_seconds)}")
    _add_operations(app, metrics)
    _add_problems(app)
    _describe(app)
    return app


def _add_lookups(app: FastAPI, metrics: LookupMetrics, cache_control: str) -> None:
    async def find(user_id: str) -> Found:
        try:
            found: Found = await app.state.cache.find(user_id)
        except StoreError:
            metrics.lookups.labels("none").inc()
            raise
        metrics.lookups.labels(found.source).inc()
        return found

    @app.get(
        "/v1/users/{user_id:user}/segments",
        operation_id="getUserSegments",
        summary="The segments of one user",
        responses={
            200: _described(
                "The user's segments; none for a new user.", "UserAnswer", EXAMPLE_USER
            ),
            304: {"description": "The caller has this answer already."},
            400: _problem("The user id is empty or too long."),
            503: _problem("The store does not answer and nothing is known of this user."),
        },
    )
    async def get_user_segments(user_id: UserIdInPath, request: Request) -> Response:
        started = time.perf_counter()
        found = await find(user_id)
        headers = {"etag": found.etag, "cache-control": _freshness(found, cache_control)}
        metrics.seconds.observe(time.perf_counter() - started)
        if _matches(request.headers.get("if-none-match"), found.etag):
            return Response(status_code=304, headers=headers)
        return Response(found.body, headers=headers, media_type=JSON)

    @app.post(
        "/v1/segments:batchGet",
        operation_id="batchGetSegments",
        summary="The segments of up to 100 users",
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON: {"schema": _ref("BatchRequest")}}}
        },
        responses={
            200: _described("In the order asked.", "BatchAnswer", {"users": [EXAMPLE_USER]}),
            400: _problem("The body is not a list of 1 to 100 user ids."),
            413: _problem("The body is larger than 64 KiB."),
            503: _problem("The store does not answer for a user that nothing is known of."),
        },
    )
    async def batch_get_segments(request: Request) -> Response:
        started = time.perf_counter()
        wanted = _decode_batch(await _bounded_body(request))
        found = await asyncio.gather(*(find(user_id) for user_id in wanted.user_ids))
        body, etag = body_and_etag(BatchAnswer(tuple(one.value for one in found)))
        metrics.seconds.observe(time.perf_counter() - started)
        return Response(body, headers={"etag": etag}, media_type=JSON)


def _add_operations(app: FastAPI, metrics: LookupMetrics) -> None:
    @app.get("/healthz", operation_id="health", summary="The process is alive")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(
        "/readyz",
        operation_id="ready",
        summary="The store answers",
        responses={503: _problem("The store does not answer.")},
    )
    async def ready() -> dict[str, str]:
        await app.state.cache.check()
        return {"status": "ready"}

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
        return _problem_response("Store unavailable", 503, str(error), {"retry-after": "1"})

    @app.exception_handler(UnicodeDecodeError)
    @app.exception_handler(msgspec.DecodeError)
    async def bad_body(_: Request, error: ValueError) -> Response:
        return _problem_response("Bad request body", 400, str(error))

    @app.exception_handler(RequestValidationError)
    async def bad_request(_: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return _problem_response("Bad request", 400, faults)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        return _problem_response(error.detail, error.status_code, error.detail, headers)


def _problem_response(
    title: str, status: int, detail: str, headers: dict[str, str] | None = None
) -> Response:
    body = msgspec.json.encode(Problem(title, status, detail))
    return Response(body, status, headers, PROBLEM_JSON)


async def _bounded_body(request: Request) -> bytes:
    """The request's body, given up as soon as it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BATCH_BYTES_MAX:
            raise HTTPException(413, f"the body is larger than {BATCH_BYTES_MAX} bytes")
    return bytes(body)


def _freshness(found: Found, cache_control: str) -> str:
    return "no-store" if found.source == "stale" else cache_control


def _matches(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110, 13.1.2: any of a list, compared weakly."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _described(description: str, name: str, example: object) -> dict[str, Any]:
    return {
        "description": description,
        "content": {JSON: {"schema": _ref(name), "example": example}},
    }


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_JSON: {"schema": _ref("Problem")}}}


def _describe(app: FastAPI) -> None:
    """Put the schemas of the typed messages into the OpenAPI document, once."""
    document = app.openapi()
    for operations in document["paths"].values():
        for operation in operations.values():
            # FastAPI promises a validation answer of its own that this app never gives.
            operation["responses"].pop("422", None)
    _, components = msgspec.json.schema_components(
        [UserAnswer, BatchAnswer, BatchRequest, Problem],
        ref_template="#/components/schemas/{name}",
    )
    document["components"] = {"schemas": components}
