"""Questions to the store: one at a time about a user, many users a question, none for ever."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from schemas.segments import UserSegments
from serving.lookup.settings import LookupSettings
from serving.lookup.store import Found, SegmentReader, StoreError

USERS_TOGETHER_MAX = 32

_Kept = TypeVar("_Kept")


class Read(Generic[_Kept]):
    """One question about several users, and what came of it.

    `settled` is set when the answer has come or the deadline has passed, whichever is first.
    """

    __slots__ = ("answers", "asked_at", "fault", "settled", "user_ids")

    def __init__(self, asked_at: float, deadline_seconds: float) -> None:
        self.asked_at = asked_at
        self.user_ids: list[str] = []
        self.answers: dict[str, _Kept | StoreError] = {}
        self.fault = StoreError(f"no answer within {deadline_seconds * 1000:.0f} ms")
        self.settled = asyncio.Event()

    def answer(self, user_id: str) -> _Kept:
        """What came of it for a user.

        Raises:
            StoreError: nothing yet, or a fault.
        """
        answer = self.answers.get(user_id, self.fault)
        if isinstance(answer, StoreError):
            raise StoreError(str(answer))
        return answer


class StoreReads(Generic[_Kept]):
    """Asks the store. Used from one event loop.

    Users who are asked for in one turn of the event loop, and that the reader can read together,
    are one question. `keep` takes what was found of a user and when it was asked for, and returns
    what callers get; it may raise StoreError.
    """

    def __init__(
        self,
        reader: SegmentReader,
        settings: LookupSettings,
        keep: Callable[[str, UserSegments | None, float], _Kept],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._settings = settings
        self._keep = keep
        self._clock = clock
        self._under_way: dict[str, Read[_Kept]] = {}
        self._next: dict[Hashable, Read[_Kept]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, user_id: str) -> Read[_Kept]:
        """The question about a user that is under way, else a new one."""
        read = self._under_way.get(user_id)
        if read is None:
            together = self._reader.together(user_id)
            read = self._next.get(together)
            if read is None or len(read.user_ids) == USERS_TOGETHER_MAX:
                read = self._next[together] = Read(self._clock(), self._settings.deadline_seconds)
                # At the end of this turn of the event loop: who else asks in it comes along.
                asyncio.get_running_loop().call_soon(self._send, together, read)
            read.user_ids.append(user_id)
            self._under_way[user_id] = read
        return read

    def _send(self, together: Hashable, read: Read[_Kept]) -> None:
        if self._next.get(together) is read:
            del self._next[together]
        task = asyncio.create_task(self._answer(read))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, read: Read[_Kept]) -> None:
        loop = asyncio.get_running_loop()
        # Who waits too long goes; the question goes on for whoever asks next.
        deadline = loop.call_later(self._settings.deadline_seconds, read.settled.set)
        try:
            async with asyncio.timeout(self._settings.read_seconds):
                found = await self._reader.read_many(read.user_ids)
            for user_id, one in found.items():
                read.answers[user_id] = self._kept(user_id, one, read.asked_at)
        except TimeoutError:
            read.fault = StoreError(f"no answer within {self._settings.read_seconds * 1000:.0f} ms")
        except StoreError as error:
            read.fault = error
        finally:
            deadline.cancel()
            for user_id in read.user_ids:
                del self._under_way[user_id]
            read.settled.set()

    def _kept(self, user_id: str, found: Found, asked_at: float) -> _Kept | StoreError:
        if isinstance(found, StoreError):
            return found
        try:
            return self._keep(user_id, found, asked_at)
        except StoreError as error:
            return error
