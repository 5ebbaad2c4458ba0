"""Answers kept in process: one question at a time to the store about a user, with a deadline."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from cachetools import LRUCache
from starlette.responses import Response

from schemas.segments import UserSegments
from serving.lookup.answers import Head, Tail, body_and_etag, head
from serving.lookup.settings import LookupSettings
from serving.lookup.store import SegmentReader, StoreError
from serving.lookup.watch import JobWatch

JSON = "application/json"
REFRESHES_A_LIFE = 8
REFRESH_AT_AGE = 5 / 8


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


class _Read(NamedTuple):
    """A question to the store that is under way."""

    asked_at: float
    task: asyncio.Task[_Entry]


class LookupCache:
    """Looks users up. Used from one event loop."""

    def __init__(
        self,
        reader: SegmentReader,
        watch: JobWatch,
        settings: LookupSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._watch = watch
        self._settings = settings
        self._clock = clock
        self._cache_control = f"private, max-age={int(settings.fresh_seconds)}"
        self._entries: LRUCache[str, _Entry] = LRUCache(settings.users_max)
        self._under_way: dict[str, _Read] = {}
        self._wanted: list[_Entry] = []

    def fresh(self, user_id: str) -> Reply | None:
        """The user's answer, if the store was asked lately."""
        entry = self._entries.get(user_id)
        if entry is None or self._clock() - entry.asked_at >= self._settings.fresh_seconds:
            return None
        if not entry.wanted:
            entry.wanted = True
            self._wanted.append(entry)
        return entry.reply(self._watch.fresh_tail, self._cache_control)

    async def keep_fresh(self) -> None:
        """Ask again for users that are asked for, before their answers are too old; for ever."""
        while True:
            await asyncio.sleep(self._settings.fresh_seconds / REFRESHES_A_LIFE)
            self.refresh(self._clock() - self._settings.fresh_seconds * REFRESH_AT_AGE)

    def refresh(self, asked_before: float) -> None:
        """Ask again for those users whose answers have been given since, and are older."""
        looked_at, self._wanted = self._wanted, []
        for entry in looked_at:
            if entry.asked_at > asked_before:
                self._wanted.append(entry)
            elif self._entries.get(entry.user_id) is entry:
                entry.wanted = False
                if entry.user_id not in self._under_way:
                    self._begin(entry.user_id)

    async def ask(self, user_id: str) -> Reply:
        """The user's answer from the store, within the deadline.

        Raises:
            StoreError: the store does not answer in time.
        """
        read = self._under_way.get(user_id) or self._begin(user_id)
        # Who waits too long goes; the question to the store goes on for whoever asks next.
        answered, _ = await asyncio.wait(
            (read.task,), timeout=self._patience_seconds(user_id, read)
        )
        if not answered:
            deadline_ms = self._settings.deadline_seconds * 1000
            raise StoreError(f"no answer within {deadline_ms:.0f} ms")
        return read.task.result().reply(self._watch.fresh_tail, self._cache_control)

    def last_known(self, user_id: str) -> Reply | None:
        """What the store last said of the user, marked stale."""
        entry = self._entries.get(user_id)
        if entry is None:
            return None
        return entry.reply(self._watch.stale_tail, self._cache_control)

    def _patience_seconds(self, user_id: str, read: _Read) -> float:
        """How long to wait: not at all where another has waited in vain and something is known."""
        deadline_seconds = self._settings.deadline_seconds
        if user_id not in self._entries:
            return deadline_seconds
        return max(0.0, read.asked_at + deadline_seconds - self._clock())

    def _begin(self, user_id: str) -> _Read:
        asked_at = self._clock()
        task = asyncio.create_task(self._read(user_id, asked_at))
        task.add_done_callback(lambda done: self._done(user_id, done))
        read = self._under_way[user_id] = _Read(asked_at, task)
        return read

    async def _read(self, user_id: str, asked_at: float) -> _Entry:
        try:
            async with asyncio.timeout(self._settings.read_seconds):
                current = await self._reader.read(user_id)
        except TimeoutError:
            read_ms = self._settings.read_seconds * 1000
            raise StoreError(f"no answer within {read_ms:.0f} ms") from None
        self._watch.require()
        entry = self._entries.get(user_id)
        if entry is None or entry.current != current:
            entry = self._entries[user_id] = _Entry(user_id, current, asked_at)
        else:
            entry.asked_at = asked_at
        return entry

    def _done(self, user_id: str, task: asyncio.Task[_Entry]) -> None:
        del self._under_way[user_id]
        if not task.cancelled():
            # Reading the exception tells asyncio that it has been seen, if only the waiter left.
            task.exception()


def _reply(first: Head, last: Tail, cache_control: str) -> Reply:
    body, etag = body_and_etag(first, last)
    headers = {"etag": etag, "cache-control": cache_control}
    return Reply(body, etag, Response(body, headers=headers, media_type=JSON))
