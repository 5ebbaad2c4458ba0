"""The outbox: what has to reach the store for one user, until the store says that it has.

Pure: a user's profile and a stimulus in; the profile, changed in place, and what to do out. The
operator sends, and wakes the outbox by a processing-time timer; a checkpoint never waits for the
store.
"""

from typing import NamedTuple, Protocol

from schemas.progress import Progress
from schemas.segments import Publication
from schemas.state import Outbox, Profile
from udfs.windows import spread

CHANGES_MAX = 1_000
LOOK_EVERY_MS = 10_000
RESEND_AFTER_MS = 10_000
RESEND_AFTER_MS_MAX = 120_000


class SegmentWriter(Protocol):
    """A store that takes whole sets. Writing the same one twice must be harmless."""

    def send(self, ticket: int, publication: Publication) -> None:
        """Take one user's set and the changes behind it, without waiting for the store."""

    def stored(self, user_id: str) -> int:
        """The latest ticket of the user known to be in the store; 0 if none. Never waits."""

    def note_progress(self, progress: Progress) -> None:
        """Write how far this subtask has come. Never waits; what cannot be written is dropped."""

    def note_ruleset(self, version: int, document: bytes) -> None:
        """Keep the document of a rule set that decides from now on. Never waits."""

    def flush(self) -> None:
        """Wait until everything sent is in the store.

        Raises:
            StoreWriteError: something sent could not be stored.
        """

    def close(self) -> None:
        """Let go of the store. What was not flushed may be lost."""


class StoreWriteError(RuntimeError):
    """The store did not take what was sent to it."""


class Step(NamedTuple):
    """Whether to send the set, when to wake (epoch ms), and whether the profile has changed."""

    send: bool
    wake_at_ms: int | None
    dirty: bool


def put(profile: Profile, publication: Publication, ticket: int, now_ms: int) -> Step:
    """Take a set just published: it replaces the pending one, whose changes are kept."""
    waiting = profile.outbox.changes if profile.outbox else []
    changes = [*waiting, *publication.changes][-CHANGES_MAX:]
    profile.outbox = Outbox(ticket, 1, now_ms, changes)
    return Step(True, _next_look(publication.current.user_id, now_ms), True)


def look(user_id: str, profile: Profile, stored_ticket: int, now_ms: int) -> Step:
    """See whether what is pending has been stored; send it again when it is overdue.

    A set restored from a savepoint has a ticket of an earlier run, which no writer reports as
    stored in this one, so it is sent again.
    """
    outbox = profile.outbox
    if outbox is None:
        return Step(False, None, False)
    if stored_ticket >= outbox.ticket:
        profile.outbox = None
        return Step(False, None, True)
    overdue_ms = min(RESEND_AFTER_MS * 2 ** (outbox.attempt - 1), RESEND_AFTER_MS_MAX)
    overdue = now_ms - outbox.sent_at_ms >= overdue_ms
    if overdue:
        outbox.attempt += 1
        outbox.sent_at_ms = now_ms
    return Step(overdue, _next_look(user_id, now_ms), overdue)


def _next_look(user_id: str, now_ms: int) -> int:
    """The user's own moment in the next period, so that puts share a timer and users do not."""
    period = now_ms // LOOK_EVERY_MS + 1
    return period * LOOK_EVERY_MS + spread(user_id, LOOK_EVERY_MS)
