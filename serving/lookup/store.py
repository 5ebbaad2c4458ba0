"""What the lookup asks of a store."""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.changes import Change
from schemas.progress import Progress
from schemas.segments import UserSegments


class StoreError(RuntimeError):
    """The store cannot answer now; the message says why."""


class JobProgress(NamedTuple):
    """How far the job has come, and when it last said so.

    `as_of` is in epoch ms of event time, `written_at` in epoch ms of the job's wall clock (0: it
    never said anything; None: it has ended, as a bounded run does, and has nothing more to say).
    """

    as_of: int
    written_at: int | None


Found = UserSegments | StoreError | None
"""What there is of one of several users who were asked for: their set, a fault, or nothing."""


class SegmentReader(Protocol):
    """A store that is read. Every method raises StoreError when the store cannot answer."""

    async def read(self, user_id: str) -> UserSegments | None:
        """The user's latest whole set; None if nothing was ever stored."""
        found = (await self.read_many((user_id,)))[user_id]
        if isinstance(found, StoreError):
            raise found
        return found

    async def read_many(self, user_ids: Sequence[str]) -> Mapping[str, Found]:
        """The latest whole sets of several users, at least one, by one question."""

    def together(self, user_id: str) -> Hashable:
        """Users for whom this is the same are well read by one question. Never waits."""

    async def progress(self) -> JobProgress:
        """How far the job has come."""

    async def changes(self, user_id: str) -> list[Change]:
        """The user's changes, oldest first."""

    async def ruleset(self, version: int) -> bytes | None:
        """The rule set document of a version."""

    async def sizes(self) -> dict[str, int]:
        """How many users are in each segment now."""

    async def close(self) -> None:
        """Let go of the store."""


def job_progress(notes: Sequence[Progress]) -> JobProgress:
    """What the notes of a job's subtasks say together.

    Of several parallelisms the one written last counts. Until each of its subtasks has written,
    the note that an earlier one of that number left stands for it, which holds time back rather
    than let it run ahead; and where there is none, the job as a whole has not said anything.
    """
    if not notes:
        return JobProgress(0, 0)
    parallelism = max(notes, key=lambda note: note.written_at).parallelism
    counted = [note for note in notes if note.subtask < parallelism]
    # A subtask that has not seen any event yet has the smallest watermark there is.
    as_of = max(0, min(note.watermark for note in counted))
    complete = len(counted) == parallelism
    return JobProgress(as_of, min(note.written_at for note in counted) if complete else 0)
