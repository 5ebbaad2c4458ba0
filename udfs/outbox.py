"""The outbox: what has to reach the store for one user, until the store says that it has.

Pure: a state and a stimulus in, the next state and what to do out. The operator sends, and wakes
the outbox by a processing-time timer; a checkpoint never waits for the store.
"""

from typing import NamedTuple, Protocol

import msgspec

from schemas.changes import Change
from schemas.errors import UnknownSchemaVersionError
from schemas.progress import Progress
from schemas.segments import Publication, UserSegments
from udfs.windows import spread

OUTBOX_LAYOUT = 1
READABLE_OUTBOX_LAYOUTS = (1,)

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


class Outbox(msgspec.Struct, array_like=True):
    """What is not yet known to be stored for one user: the latest set, and every change."""

    current: UserSegments
    changes: tuple[Change, ...]
    ticket: int
    attempt: int
    sent_at_ms: int


class Step(NamedTuple):
    """What to keep (None: nothing is pending), whether to send it, when to wake (epoch ms)."""

    outbox: Outbox | None
    send: bool
    wake_at_ms: int | None


def put(pending: Outbox | None, publication: Publication, ticket: int, now_ms: int) -> Step:
    """Take a new set: it replaces the pending one, whose changes are kept."""
    changes = (pending.changes if pending else ()) + publication.changes
    outbox = Outbox(publication.current, changes[-CHANGES_MAX:], ticket, 1, now_ms)
    return Step(outbox, True, _next_look(outbox.current.user_id, now_ms))


def look(pending: Outbox, stored_ticket: int, now_ms: int) -> Step:
    """See whether the pending set has been stored; send it again when it is overdue.

    A set restored from a savepoint has a ticket of an earlier run, which no writer reports as
    stored in this one, so it is sent again.
    """
    if stored_ticket >= pending.ticket:
        return Step(None, False, None)
    overdue_ms = min(RESEND_AFTER_MS * 2 ** (pending.attempt - 1), RESEND_AFTER_MS_MAX)
    if now_ms - pending.sent_at_ms < overdue_ms:
        return Step(pending, False, _next_look(pending.current.user_id, now_ms))
    pending.attempt += 1
    pending.sent_at_ms = now_ms
    return Step(pending, True, _next_look(pending.current.user_id, now_ms))


def _next_look(user_id: str, now_ms: int) -> int:
    """The user's own moment in the next period, so that puts share a timer and users do not."""
    period = now_ms // LOOK_EVERY_MS + 1
    return period * LOOK_EVERY_MS + spread(user_id, LOOK_EVERY_MS)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Outbox).decode
_LAYOUT_BYTE = bytes([OUTBOX_LAYOUT])


def encode_outbox(outbox: Outbox) -> bytes:
    """Write an outbox in the current layout."""
    return _LAYOUT_BYTE + _encode(outbox)


def decode_outbox(value: bytes) -> Outbox:
    """Read an outbox of any layout in `READABLE_OUTBOX_LAYOUTS`.

    Raises:
        UnknownSchemaVersionError: the layout is not readable here.
    """
    if value[:1] != _LAYOUT_BYTE:
        raise UnknownSchemaVersionError("outbox", value[:1].hex(), READABLE_OUTBOX_LAYOUTS)
    return _decode(memoryview(value)[1:])
