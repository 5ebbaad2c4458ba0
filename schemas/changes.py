"""A change: a user entered or left a segment. The log of record."""

from typing import Literal

import msgspec

from schemas.errors import UnknownSchemaVersionError

CHANGE_VERSION = 1
READABLE_CHANGE_VERSIONS = (1,)


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One enter or leave, one JSON object a line.

    `at` is event time in epoch milliseconds: the user's clock when an event caused the change, the
    pane boundary when expiry did. `score` is the share that decided, `matching` of `views` events.
    `version` numbers the changes of one user from 1 without a gap.
    """

    user_id: str
    segment: str
    change: Literal["enter", "leave"]
    at: int
    score: float
    matching: int
    views: int
    ruleset_version: int
    version: int
    schema_version: int = CHANGE_VERSION


_decoder = msgspec.json.Decoder(Change)


def decode_change(line: bytes) -> Change:
    """Read one change from its JSON.

    Raises:
        msgspec.DecodeError: not JSON, or not a change; the message carries the path.
        UnknownSchemaVersionError: written by a release that this one does not know.
    """
    change = _decoder.decode(line)
    if change.schema_version not in READABLE_CHANGE_VERSIONS:
        raise UnknownSchemaVersionError("change", change.schema_version, READABLE_CHANGE_VERSIONS)
    return change
