"""The Kafka topics: their names, and the settings without which the job's promises do not hold."""

from typing import Literal

import msgspec

from schemas.durations import DAY_MS

VIEW_EVENTS = "view-events"
USER_COMMANDS = "user-commands"
RULESETS = "rulesets"
SEGMENT_CHANGES = "segment-changes"
REJECTS = "rejects"
LATE_EVENTS = "late-events"

# Longer than the default window of 10 days, so that a job can be rebuilt from the topics alone.
INPUT_RETENTION_MS = 14 * DAY_MS
FOREVER = "-1"

Need = Literal["equal", "at_least", "bounded"]


class Setting(msgspec.Struct, frozen=True):
    """A topic setting, the value it is given, and why.

    `need` says which other values do too: none (`equal`), a larger number or -1 (`at_least`), or
    any number but -1 (`bounded`).
    """

    name: str
    value: str
    why: str
    need: Need = "equal"

    def fits(self, found: str) -> bool:
        """Whether a topic that has the value `found` does."""
        if self.need == "equal":
            return found == self.value
        number = int(found)
        if self.need == "bounded":
            return number >= 0
        return number < 0 or number >= int(self.value)

    def wanted(self) -> str:
        """The values that do, as a message says them."""
        if self.need == "equal":
            return self.value
        return f"{self.value} or more" if self.need == "at_least" else f"bounded, say {self.value}"


class Topic(msgspec.Struct, frozen=True):
    """A topic. `partitions` is None where as many as are asked for do."""

    name: str
    settings: tuple[Setting, ...]
    partitions: int | None = None


_APPEND_TIME = Setting(
    "message.timestamp.type", "LogAppendTime", "a producer's clock must not move event time"
)
_INPUT_RETENTION = Setting(
    "retention.ms", str(INPUT_RETENTION_MS), "a job is rebuilt from this topic", "at_least"
)
_ANY_SIZE = Setting("retention.bytes", FOREVER, "time alone may remove records")
_SIDE_RETENTION = Setting(
    "retention.ms",
    str(INPUT_RETENTION_MS),
    "it holds personal data that nothing needs for longer",
    "bounded",
)
_DELETED = Setting("cleanup.policy", "delete", "compaction would remove all but a key's last")

TOPICS = (
    Topic(VIEW_EVENTS, (_DELETED, _APPEND_TIME, _INPUT_RETENTION, _ANY_SIZE)),
    Topic(USER_COMMANDS, (_DELETED, _APPEND_TIME, _INPUT_RETENTION, _ANY_SIZE)),
    Topic(
        RULESETS,
        (Setting("cleanup.policy", "compact", "every version of the rule set is kept"),),
        partitions=1,
    ),
    Topic(
        SEGMENT_CHANGES,
        (
            _DELETED,
            Setting("retention.ms", FOREVER, "it is the log of record"),
            _ANY_SIZE,
        ),
    ),
    Topic(REJECTS, (_DELETED, _SIDE_RETENTION)),
    Topic(LATE_EVENTS, (_DELETED, _SIDE_RETENTION)),
)

_TWO_IN_SYNC = Setting(
    "min.insync.replicas", "2", "an acknowledged record must outlive a broker", "at_least"
)


def settings_of(topic: Topic, replication: int) -> tuple[Setting, ...]:
    """The settings that a topic of this many replicas needs."""
    return (*topic.settings, _TWO_IN_SYNC) if replication >= 3 else topic.settings
