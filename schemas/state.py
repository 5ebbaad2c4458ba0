"""The state of one user in TrackMembership, as versioned bytes.

A value is one byte (the layout's version) followed by a MessagePack array. Only the pane that is
open and the totals are decoded for an event; the closed panes stay one run of bytes until a pane
leaves the window or an event comes out of order.
"""

import msgspec

from schemas.changes import Change
from schemas.errors import UnknownSchemaVersionError

STATE_LAYOUT = 1
READABLE_STATE_LAYOUTS = (1,)


class Membership(msgspec.Struct, array_like=True, gc=False):
    """A segment the user is in. All but `segment` and `since_ms` are as last published."""

    segment: str
    since_ms: int
    score: float = 0.0
    valid_until_ms: int = 0
    matching: int = 0
    views: int = 0


class Outbox(msgspec.Struct, array_like=True):
    """What is not yet known to be stored: the published set, and every change since the last.

    `ticket` numbers what was sent, and `sent_at_ms` is the wall clock when it was sent for the
    `attempt`-th time. The set itself is the profile's memberships.
    """

    ticket: int
    attempt: int
    sent_at_ms: int
    changes: list[Change] = []


class Profile(msgspec.Struct, array_like=True):
    """All that is kept of one user.

    `cells[i]` names what `totals[i]` counts over the whole window: `type` for all events of a
    type, `type\\x1fattribute\\x1fvalue` for those having the value. A cell whose total is 0 has
    the name "" and its place is free. `open_counts` has one count a cell for the pane of index
    `open_pane`. `closed` holds the earlier panes, oldest first, as udfs.windows writes them, the
    first of index `oldest_pane` (equal to `open_pane` when none is closed).
    `seen` holds the event ids of the dedupe horizon, as udfs.dedupe writes them.
    The set was last published at the user clock `published_ms`, in pane `published_pane`, by the
    rule set `ruleset_version`; `outbox` is None when the store has it.
    """

    clock_ms: int
    version: int = 0
    run_id: int = 0
    published_pane: int = -1
    published_ms: int = 0
    ruleset_version: int = 0
    open_pane: int = -1
    oldest_pane: int = -1
    cells: list[str] = []
    totals: list[int] = []
    open_counts: list[int] = []
    closed: bytes = b""
    seen: bytes = b""
    memberships: list[Membership] = []
    outbox: Outbox | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Profile)
_LAYOUT_BYTE = bytes([STATE_LAYOUT])


def encode_profile(profile: Profile) -> bytes:
    """Write a profile in the current layout."""
    return _LAYOUT_BYTE + _encoder.encode(profile)


def decode_profile(value: bytes) -> Profile:
    """Read a profile of any layout in `READABLE_STATE_LAYOUTS`.

    Raises:
        UnknownSchemaVersionError: the layout is not readable here.
        msgspec.DecodeError: the bytes are damaged.
    """
    if value[:1] != _LAYOUT_BYTE:
        raise UnknownSchemaVersionError("user state", value[:1].hex(), READABLE_STATE_LAYOUTS)
    return _decoder.decode(memoryview(value)[1:])
