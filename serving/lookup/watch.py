"""How far the job has come and whether it lives, asked once in a while for all lookups."""

import asyncio
import logging
import time
from collections.abc import Callable
from math import inf

from serving.lookup.answers import StaleReason, tail
from serving.lookup.settings import LookupSettings
from serving.lookup.store import JobProgress, SegmentReader, StoreError

_log = logging.getLogger(__name__)


class JobWatch:
    """Keeps what the job last said. Used from one event loop.

    Only what the job wrote, and when, tells whether it lives: the watermark of a job that replays
    history is old by nature. After the first answer its silence is counted by this process' own
    clock, from the last time that it was seen to have written something newer; so a job whose wall
    clock is wrong is neither dead nor immortal.
    """

    def __init__(
        self,
        reader: SegmentReader,
        settings: LookupSettings,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._reader = reader
        self._settings = settings
        self._clock = clock
        self._wall_clock = wall_clock
        self._fault = StoreError("the job's progress has not been read yet")
        self._newest_write = 0
        self._heard_at = -inf
        self._as_of = 0
        self.known = False
        self.fresh_tail = tail(0, "job")
        self.stale_tail = tail(0, "store")

    @property
    def silent_seconds(self) -> float:
        """How long the job has not been heard of; infinite if it never was."""
        return self._clock() - self._heard_at

    @property
    def job_is_silent(self) -> bool:
        """Whether it has not been heard of for so long that it counts as dead."""
        return self.silent_seconds > self._settings.job_dead_after_seconds

    def require(self) -> None:
        """Make sure that it is known how far the job had come.

        Raises:
            StoreError: that could not be read even once.
        """
        if not self.known:
            raise StoreError(str(self._fault))

    async def run(self) -> None:
        """Go on asking, for ever."""
        while True:
            await asyncio.sleep(self._settings.progress_seconds)
            try:
                await self.ask()
            except StoreError:
                pass  # Answers say so once it has lasted.
            except Exception:
                _log.exception("the job's progress could not be made out")

    async def ask(self) -> None:
        """Ask the store now.

        Raises:
            StoreError: it does not answer; what was known before stays.
        """
        try:
            async with asyncio.timeout(self._settings.progress_seconds):
                progress = await self._reader.progress()
        except TimeoutError:
            self._fault = StoreError("the store does not tell the job's progress")
            raise self._fault from None
        except StoreError as error:
            self._fault = error
            raise
        else:
            self._take(progress)
        finally:
            self._stand()

    def _take(self, progress: JobProgress) -> None:
        now = self._clock()
        if progress.written_at is None:
            self._heard_at = now
        elif progress.written_at > self._newest_write:
            first = self._newest_write == 0
            age_seconds = max(0.0, self._wall_clock() - progress.written_at / 1000) if first else 0
            self._heard_at = now - age_seconds
            self._newest_write = progress.written_at
        if progress.written_at != 0 or not self.known:
            # A store that was emptied does not undo how far the job had come.
            self._as_of = progress.as_of
        self.known = True

    def _stand(self) -> None:
        """Say in every answer from now on what is known now."""
        if not self.known:
            return
        reason: StaleReason | None = "job" if self.job_is_silent else None
        fresh = tail(self._as_of, reason)
        if fresh != self.fresh_tail:
            self.fresh_tail, self.stale_tail = fresh, tail(self._as_of, "store")
