"""What the job puts out beside segments: rejects, late events and its totals."""

from typing import Literal

import msgspec

from schemas.events import Event

RejectReason = Literal[
    "not_utf8",
    "not_json",
    "too_large",
    "missing_field",
    "wrong_type",
    "out_of_bounds",
    "schema_version",
    "time_absurd",
    "time_future",
    "key_mismatch",
    "attribute_value",
    "ruleset",
]


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is no event, with its bytes (bounded), the reason and where it was read.

    `topic` is `view-events`, `user-commands` or `rulesets`. In a file `partition` is 0 and `offset`
    is the line's number from 1. `payload_base64` holds the first bytes; `payload_bytes` is the
    whole length.
    """

    reason: RejectReason
    detail: str
    partition: int
    offset: int
    payload_bytes: int
    payload_base64: str
    field: str = ""
    topic: str = "view-events"
    schema_version: int = 1


class LateEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event older than the window at its user's clock: it changed nothing.

    `clock` and `window_start` are epoch milliseconds of that user's event time.
    """

    reason: Literal["before_window"]
    clock: int
    window_start: int
    partition: int
    offset: int
    event: Event
    schema_version: int = 1


class RunTotals(msgspec.Struct, kw_only=True):
    """What became of every record read by one subtask.

    `accepted + late + duplicate + commands + sum(rejected)` equals the records read. The
    saturation counts are part of `accepted`: events whose value was not counted because the user
    already has the largest number of distinct values, and ids forgotten before the horizon.
    """

    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    commands: int = 0
    rejected: dict[str, int] = {}
    changes: int = 0
    publications: int = 0
    saturated_values: int = 0
    forgotten_ids: int = 0

    @property
    def rejects(self) -> int:
        """The records rejected, all reasons together."""
        return sum(self.rejected.values())

    @property
    def read(self) -> int:
        """The records accounted for."""
        return self.accepted + self.late + self.duplicate + self.commands + self.rejects

    def add(self, other: "RunTotals") -> None:
        """Add another subtask's totals to these."""
        for name in self.__struct_fields__:
            if name != "rejected":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in other.rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count
