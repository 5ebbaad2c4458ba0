"""Answers kept in process, ready to send, and asked for again while callers want them."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from cachetools import LRUCache
from starlette.responses import Response

from schemas.segments import UserSegments
from serving.lookup.answers import Head, Tail, body_and_etag, head
from serving.lookup.reads import StoreReads
from serving.lookup.settings import LookupSettings
from serving.lookup.store import SegmentReader
from serving.lookup.watch import JobWatch

JSON = "application/json"
REFRESHES_A_LIFE = 8
REFRESH_AT_AGE = 1 / 2


class Reply(NamedTuple):
    """An answer ready to send."""

    body: bytes
    etag: str
    response: Response


class _Entry:
    """What is known of one user: their set, when it was asked for, and the answer it makes.

    `wanted` says that it has been given to a caller since.
    """

    __slots__ = ("_head", "_reply", "_tail", "asked_at", "current", "user_id", "wanted")

    def __init__(self, user_id: str, current: UserSegments | None, asked_at: float) -> None:
        self.user_id = user_id
        self.current = current
        self.asked_at = asked_at
        self.wanted = False
        self._head: Head | None = None
        self._tail: Tail | None = None
        self._reply: Reply | None = None

    def reply(self, tail: Tail, cache_control: str) -> Reply:
        """The answer that ends so. Made when something in it has changed, else as it was."""
        if self._reply is None or self._tail is not tail:
            known = self._head
            if known is None or not known.since <= tail.as_of < known.until:
                known = self._head = head(self.user_id, self.current, tail.as_of)
            self._tail = tail
            self._reply = _reply(known, tail, "no-store" if tail.stale else cache_control)
        return self._reply


class LookupCache:
    """Looks users up. Used from one event loop."""

    def __init__(
        self,
        reader: SegmentReader,
        watch: JobWatch,
        settings: LookupSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watch = watch
        self._fresh_seconds = settings.fresh_seconds
        self._clock = clock
        self._cache_control = f"private, max-age={int(settings.fresh_seconds)}"
        self._entries: LRUCache[str, _Entry] = LRUCache(settings.users_max)
        self._wanted: list[_Entry] = []
        self._reads = StoreReads(reader, settings, self._keep, clock)

    def fresh(self, user_id: str) -> Reply | None:
        """The user's answer, if the store was asked lately."""
        entry = self._entries.get(user_id)
        if entry is None or self._clock() - entry.asked_at >= self._fresh_seconds:
            return None
        if not entry.wanted:
            entry.wanted = True
            self._wanted.append(entry)
        return entry.reply(self._watch.fresh_tail, self._cache_control)

    async def ask(self, user_id: str) -> Reply:
        """The user's answer from the store.

        Nobody waits for a question that was asked a deadline ago.

        Raises:
            StoreError: the store does not answer in time.
        """
        read = self._reads.ask(user_id)
        await read.settled.wait()
        return read.answer(user_id).reply(self._watch.fresh_tail, self._cache_control)

    def last_known(self, user_id: str) -> Reply | None:
        """What the store last said of the user, marked stale."""
        entry = self._entries.get(user_id)
        if entry is None:
            return None
        return entry.reply(self._watch.stale_tail, self._cache_control)

    async def keep_fresh(self) -> None:
        """Ask again for users that are asked for, before their answers are too old; for ever."""
        while True:
            await asyncio.sleep(self._fresh_seconds / REFRESHES_A_LIFE)
            self.refresh(self._clock() - self._fresh_seconds * REFRESH_AT_AGE)

    def refresh(self, asked_before: float) -> None:
        """Ask again for those users whose answers have been given since, and are older."""
        looked_at, self._wanted = self._wanted, []
        for entry in looked_at:
            if entry.asked_at > asked_before:
                self._wanted.append(entry)
            elif self._entries.get(entry.user_id) is entry:
                entry.wanted = False
                self._reads.ask(entry.user_id)

    def _keep(self, user_id: str, current: UserSegments | None, asked_at: float) -> _Entry:
        self._watch.require()
        entry = self._entries.get(user_id)
        if entry is None or entry.current != current:
            entry = self._entries[user_id] = _Entry(user_id, current, asked_at)
        else:
            entry.asked_at = asked_at
        return entry


def _reply(first: Head, last: Tail, cache_control: str) -> Reply:
    body, etag = body_and_etag(first, last)
    headers = {"etag": etag, "cache-control": cache_control}
    return Reply(body, etag, Response(body, headers=headers, media_type=JSON))
