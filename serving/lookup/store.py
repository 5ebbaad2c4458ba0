"""What the lookup asks of a store."""

from typing import NamedTuple, Protocol

from schemas.changes import Change
from schemas.segments import UserSegments


class StoreError(RuntimeError):
    """The store cannot answer now; the message says why."""


class Stored(NamedTuple):
    """One user as stored (None: never stored), and how far the job has come, in epoch ms."""

    current: UserSegments | None
    as_of: int


class SegmentReader(Protocol):
    """A store that is read. Every method raises StoreError when the store cannot answer."""

    async def read(self, user_id: str) -> Stored:
        """The user's latest whole set."""

    async def as_of(self) -> int:
        """How far the job has come, in epoch ms of event time."""

    async def changes(self, user_id: str) -> list[Change]:
        """The user's changes, oldest first."""

    async def ruleset(self, version: int) -> bytes | None:
        """The rule set document of a version."""

    async def sizes(self) -> dict[str, int]:
        """How many users are in each segment now."""

    async def close(self) -> None:
        """Let go of the store."""
