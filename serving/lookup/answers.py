"""What the lookup answers, and its errors (RFC 9457)."""

from hashlib import blake2b
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from schemas.segments import Segment, UserSegments

BATCH_MAX = 100
FOREVER = 2**63 - 1

StaleReason = Literal["store", "job"]


class UserPart(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says of the user, whenever it is asked."""

    user_id: str
    published: int
    version: int
    ruleset_version: int | None
    segments: tuple[Segment, ...]


class UserAnswer(UserPart, frozen=True, kw_only=True):
    """The segments of one user, and when that holds. A user that nothing is known of has none.

    `as_of` is how far the job had come and `published` the user's clock when their set was last
    written (0: never), both epoch ms of event time. `stale` says that this is the last known
    answer, and `stale_reason` why: the `store` could not be asked, or the `job` has not reported
    any progress lately.
    """

    as_of: int
    stale: bool
    stale_reason: StaleReason | None


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
    "published": 1770202800115,
    "version": 3,
    "ruleset_version": 1,
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
    "as_of": 1770203101524,
    "stale": False,
    "stale_reason": None,
}
EXAMPLES = {"UserAnswer": EXAMPLE_USER, "BatchAnswer": {"users": [EXAMPLE_USER]}}

_encode = msgspec.json.Encoder().encode


class Head(NamedTuple):
    """The user's part of an answer's JSON, right for every as-of in [since, until)."""

    json: bytes
    digest: str
    since: int
    until: int


class Tail(NamedTuple):
    """The rest of an answer's JSON, the same for every user."""

    json: bytes
    tag: str
    as_of: int
    stale: bool


def head(user_id: str, current: UserSegments | None, as_of: int) -> Head:
    """The user's part, without what has expired by `as_of`."""
    held = current.segments if current else ()
    part = UserPart(
        user_id=user_id,
        published=current.as_of if current else 0,
        version=current.version if current else 0,
        ruleset_version=current.ruleset_version if current else None,
        segments=tuple(s for s in held if s.valid_until > as_of),
    )
    body = _encode(part)
    return Head(
        body[:-1] + b",",
        blake2b(body, digest_size=12).hexdigest(),
        max((s.valid_until for s in held if s.valid_until <= as_of), default=0),
        min((s.valid_until for s in part.segments), default=FOREVER),
    )


def tail(as_of: int, stale_reason: StaleReason | None = None) -> Tail:
    """The part that says when an answer holds."""
    stale = stale_reason is not None
    body = _encode({"as_of": as_of, "stale": stale, "stale_reason": stale_reason})
    return Tail(body[1:], f"-{as_of}-{stale_reason or 'fresh'}", as_of, stale)


def body_and_etag(first: Head, last: Tail) -> tuple[bytes, str]:
    """An answer's JSON, and a strong validator (RFC 9110, 8.8.3): other bytes, another one."""
    return first.json + last.json, f'"{first.digest}{last.tag}"'


def batch_body_and_etag(answers: list[tuple[bytes, str]]) -> tuple[bytes, str]:
    """The JSON and the validator of a batch, made of those of its answers."""
    body = b'{"users":[' + b",".join(body for body, _ in answers) + b"]}"
    tags = "".join(etag for _, etag in answers)
    return body, f'"{blake2b(tags.encode(), digest_size=12).hexdigest()}"'
