"""Changes as people read them: which are wanted, and one line for each."""

from typing import NamedTuple

import msgspec

from jobs.read_topic import Record
from schemas.changes import Change, decode_change
from schemas.durations import iso_time
from schemas.errors import UnknownSchemaVersionError
from schemas.topics import SEGMENT_CHANGES


class Unreadable(NamedTuple):
    """A record that is no change: where it is, and what is wrong with it."""

    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


class Wanted(NamedTuple):
    """Which changes are asked for; None where any will do."""

    user_id: str | None = None
    segment: str | None = None

    def has(self, change: Change) -> bool:
        return self.user_id in (None, change.user_id) and self.segment in (None, change.segment)


def read_change(record: Record) -> Change | Unreadable:
    """The change that a record of `segment-changes` holds."""
    place = f"{SEGMENT_CHANGES} partition {record.partition} offset {record.offset}"
    if record.value is None:
        return Unreadable(place, "has no value")
    try:
        return decode_change(record.value)
    except UnknownSchemaVersionError as error:
        return Unreadable(place, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Unreadable(place, f"is no change: {error}")


def line_of(change: Change) -> str:
    """A change for people."""
    return (
        f"{iso_time(change.at)}  {change.change:5}  {change.user_id}  {change.segment}"
        f"  {change.score:.3f} ({change.matching} of {change.views})"
        f"  rules {change.ruleset_version}  change {change.version}"
    )
