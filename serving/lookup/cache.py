"""Answers kept in process: one question at a time to the store about a user, with a deadline."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from cachetools import LRUCache

from serving.lookup.answers import UserAnswer, answer, body_and_etag
from serving.lookup.store import SegmentReader, Stored, StoreError


class CacheSettings(NamedTuple):
    """How old an answer may be, how long a caller waits, and how many users are kept."""

    fresh_seconds: float = 1.0
    deadline_seconds: float = 0.05
    users_max: int = 100_000


class Found(NamedTuple):
    """An answer ready to send, and where it came from: `cache`, `store` or `stale`."""

    value: UserAnswer
    body: bytes
    etag: str
    source: str


class _Entry(NamedTuple):
    fetched_at: float
    stored: Stored
    found: Found


class LookupCache:
    """Looks users up. Used from one event loop."""

    def __init__(
        self,
        reader: SegmentReader,
        settings: CacheSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._settings = settings
        self._clock = clock
        self._entries: LRUCache[str, _Entry] = LRUCache(settings.users_max)
        self._under_way: dict[str, asyncio.Task[_Entry]] = {}

    async def find(self, user_id: str) -> Found:
        """The user's answer within the deadline: fresh, else the last known one marked stale.

        Raises:
            StoreError: the store does not answer and nothing is known of the user.
        """
        entry = self._entries.get(user_id)
        if entry is not None and self._is_fresh(entry):
            return entry.found
        task = self._under_way.get(user_id)
        if task is None:
            task = asyncio.create_task(self._fetch(user_id))
            self._under_way[user_id] = task
            task.add_done_callback(lambda done: self._done(user_id, done))
        # Who waits too long goes; the question to the store goes on for whoever asks next.
        answered, _ = await asyncio.wait((task,), timeout=self._settings.deadline_seconds)
        if not answered:
            reason = f"no answer within {self._settings.deadline_seconds * 1000:.0f} ms"
        else:
            try:
                return task.result().found._replace(source="store")
            except StoreError as error:
                reason = str(error)
        if entry is None:
            raise StoreError(reason)
        value = answer(user_id, entry.stored, stale=True)
        return Found(value, *body_and_etag(value), source="stale")

    async def check(self) -> None:
        """Ask the store anything.

        Raises:
            StoreError: it does not answer within the deadline.
        """
        try:
            await asyncio.wait_for(self._reader.as_of(), self._settings.deadline_seconds)
        except TimeoutError:
            raise StoreError("no answer within the deadline") from None

    def _is_fresh(self, entry: _Entry) -> bool:
        return self._clock() - entry.fetched_at < self._settings.fresh_seconds

    async def _fetch(self, user_id: str) -> _Entry:
        stored = await self._reader.read(user_id)
        value = answer(user_id, stored)
        found = Found(value, *body_and_etag(value), source="cache")
        entry = self._entries[user_id] = _Entry(self._clock(), stored, found)
        return entry

    def _done(self, user_id: str, task: asyncio.Task[_Entry]) -> None:
        del self._under_way[user_id]
        if not task.cancelled():
            # Reading the exception tells asyncio that it has been seen, if only the waiter left.
            task.exception()
