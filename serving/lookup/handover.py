"""The way of answers from other threads to the event loop that waits for them."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from serving.lookup.store import StoreError

IN_FLIGHT_MAX = 256


class Handover:
    """Takes answers in any thread, and wakes its event loop once for all that have come.

    What is asked counts as in flight until the store has answered, also when its caller has left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._in_flight = 0
        self._answered: deque[tuple[asyncio.Future[Any], object]] = deque()
        self._woken = False

    def place(self) -> asyncio.Future[Any]:
        """Where one answer will be.

        Raises:
            StoreError: as much is in flight as may be.
        """
        if self._in_flight >= IN_FLIGHT_MAX:
            raise StoreError(f"{IN_FLIGHT_MAX} questions are waiting for the store already")
        self._in_flight += 1
        return self.loop.create_future()

    def put(self, answer: object, place: asyncio.Future[Any]) -> None:
        """Hand over an answer, or the exception that there is instead. From any thread."""
        self._answered.append((place, answer))
        # Set aside before the loop empties the queue: whoever sees it set is seen by the loop.
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # The loop has ended: nobody waits.
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        while self._answered:
            place, answer = self._answered.popleft()
            self._in_flight -= 1
            if place.done():
                continue
            if isinstance(answer, Exception):
                place.set_exception(answer)
            else:
                place.set_result(answer)
