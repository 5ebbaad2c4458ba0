"""One lookup: from the cache, the store or what was last known; counted and timed."""

import time
from collections.abc import Iterable

import msgspec
from starlette.responses import Response

from serving.lookup.answers import Problem
from serving.lookup.cache import LookupCache, Reply
from serving.lookup.metrics import LookupMetrics
from serving.lookup.store import StoreError

PROBLEM_JSON = "application/problem+json"


class Lookups:
    """Answers for users. Used from one event loop."""

    def __init__(self, cache: LookupCache, metrics: LookupMetrics) -> None:
        self._cache = cache
        self._metrics = metrics

    async def find(self, user_id: str) -> Reply:
        """The user's answer within the deadline: fresh, else the last known one marked stale.

        Raises:
            StoreError: the store does not answer and nothing is known of the user.
        """
        reply = self._cache.fresh(user_id)
        if reply is not None:
            self._metrics.from_cache.inc()
            return reply
        try:
            reply = await self._cache.ask(user_id)
        except StoreError:
            reply = self._cache.last_known(user_id)
            if reply is None:
                self._metrics.from_nowhere.inc()
                raise
            self._metrics.stale.inc()
        else:
            self._metrics.from_store.inc()
        return reply

    async def respond(self, user_id: str, headers: Iterable[tuple[bytes, bytes]]) -> Response:
        """The response to a GET of one user's segments, errors included."""
        started = time.perf_counter()
        try:
            reply = await self.find(user_id)
        except StoreError as error:
            return store_problem(error)
        finally:
            self._metrics.seconds.observe(time.perf_counter() - started)
        for name, value in headers:
            if name == b"if-none-match" and _matches(value, reply.etag):
                kept = {name: reply.response.headers[name] for name in ("etag", "cache-control")}
                return Response(status_code=304, headers=kept)
        return reply.response


def problem(
    title: str, status: int, detail: str, headers: dict[str, str] | None = None
) -> Response:
    """An error as RFC 9457 has it."""
    body = msgspec.json.encode(Problem(title, status, detail))
    return Response(body, status, headers, PROBLEM_JSON)


def store_problem(error: StoreError) -> Response:
    """The store does not answer, and nothing else can."""
    return problem("Store unavailable", 503, str(error), {"retry-after": "1"})


def _matches(if_none_match: bytes, etag: str) -> bool:
    """RFC 9110, 13.1.2: any of a list, compared weakly."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.decode("latin-1").split(",")]
    return "*" in tags or etag in tags
