"""What the lookup answers, and its errors (RFC 9457)."""

from hashlib import blake2b
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.segments import Segment
from serving.lookup.store import Stored

BATCH_MAX = 100


class UserAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The segments of one user. A user that nothing is known of has none.

    `as_of` is how far the job had come and `published` the user's clock when their set was last
    written (0: never), both epoch ms of event time. `stale` says that the store could not be asked
    and this is the last known answer.
    """

    user_id: str
    as_of: int
    published: int
    version: int
    ruleset_version: int | None
    stale: bool
    segments: tuple[Segment, ...]


class BatchAnswer(msgspec.Struct, frozen=True):
    """The answers to a batch, in the order asked."""

    users: tuple[UserAnswer, ...]


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which users to look up."""

    user_ids: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...],
        Meta(min_length=1, max_length=BATCH_MAX, examples=[["u1", "u2"]]),
    ]


class Problem(msgspec.Struct, frozen=True):
    """An error as RFC 9457 has it."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


EXAMPLE_USER = {
    "user_id": "u17",
    "as_of": 1770203101524,
    "published": 1770202800115,
    "version": 3,
    "ruleset_version": 1,
    "stale": False,
    "segments": [
        {
            "segment": "fuel_type=electric",
            "score": 0.625,
            "since": 1770116711020,
            "valid_until": 1770980400000,
            "matching": 10,
            "views": 16,
        }
    ],
}

_encode = msgspec.json.Encoder().encode


def answer(user_id: str, stored: Stored, stale: bool = False) -> UserAnswer:
    """The answer that a stored set gives: without what has expired since it was written."""
    current, as_of = stored
    if current is None:
        return UserAnswer(
            user_id=user_id,
            as_of=as_of,
            published=0,
            version=0,
            ruleset_version=None,
            stale=stale,
            segments=(),
        )
    return UserAnswer(
        user_id=user_id,
        as_of=as_of,
        published=current.as_of,
        version=current.version,
        ruleset_version=current.ruleset_version,
        stale=stale,
        segments=tuple(s for s in current.segments if s.valid_until > as_of),
    )


def body_and_etag(value: msgspec.Struct) -> tuple[bytes, str]:
    """An answer's JSON, and a strong validator made of exactly these bytes (RFC 9110, 8.8.3)."""
    body = _encode(value)
    return body, f'"{blake2b(body, digest_size=12).hexdigest()}"'
