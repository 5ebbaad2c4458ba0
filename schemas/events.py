"""An event: one thing a user did."""

from typing import Annotated

import msgspec
from msgspec import Meta

EVENT_VERSION = 1
READABLE_EVENT_VERSIONS = (1,)

EventId = Annotated[str, Meta(min_length=1, max_length=128)]
UserId = Annotated[str, Meta(min_length=1, max_length=256)]
EventType = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+(?![\s\S])")]
AttributeValue = str | int | float | bool | list[str] | None


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing a user did, as producers send it: one JSON object.

    `occurred_at` is epoch milliseconds, UTC, by the producer's clock. An attribute that is null
    counts as absent. Fields not named here are ignored, so producers may send more.
    """

    event_id: EventId
    user_id: UserId
    type: EventType
    occurred_at: int
    session_id: str | None = None
    item_id: str | None = None
    decision_id: str | None = None
    schema_version: int = EVENT_VERSION
    attributes: dict[str, AttributeValue] = {}
