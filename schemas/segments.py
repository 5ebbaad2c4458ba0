"""The stored set: all segments of one user, always written whole."""

import msgspec

from schemas.changes import Change
from schemas.errors import UnknownSchemaVersionError

SEGMENTS_VERSION = 1
READABLE_SEGMENTS_VERSIONS = (1,)


class Segment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One membership as published.

    Times are epoch milliseconds of event time. `valid_until` is when the membership would end if
    this user sent no further event.
    """

    segment: str
    score: float
    since: int
    valid_until: int
    matching: int
    views: int


class UserSegments(msgspec.Struct, frozen=True, kw_only=True):
    """Every segment of one user at `as_of`, the user's clock when it was published."""

    user_id: str
    version: int
    ruleset_version: int
    as_of: int
    segments: tuple[Segment, ...] = ()
    schema_version: int = SEGMENTS_VERSION


class Publication(msgspec.Struct, frozen=True, array_like=True):
    """What TrackMembership hands to PublishSegments: the whole set, and the changes behind it."""

    current: UserSegments
    changes: tuple[Change, ...] = ()


_decoder = msgspec.json.Decoder(UserSegments)


def decode_user_segments(document: bytes) -> UserSegments:
    """Read one stored set from its JSON.

    Raises:
        msgspec.DecodeError: not JSON, or not a stored set; the message carries the path.
        UnknownSchemaVersionError: written by a release that this one does not know.
    """
    stored = _decoder.decode(document)
    if stored.schema_version not in READABLE_SEGMENTS_VERSIONS:
        raise UnknownSchemaVersionError(
            "stored set", stored.schema_version, READABLE_SEGMENTS_VERSIONS
        )
    return stored
