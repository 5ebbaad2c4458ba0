"""The logs that are produced to a cluster, how they end, and what must come of them.

A job that replays history stops at the least of the partitions' latest events. So every log is
closed by events of users of their own, one a partition, hours later; the recount stops at the same
moment. Before them everybody sends one event that no rule counts, in a pane of its own: a set may
be published once more than the recount does, when a run begins anew, and then has a newer score.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from jobs.produce import partition_of
from schemas.durations import HOUR_MS, MINUTE_MS
from schemas.events import Event
from schemas.rulesets import parse_ruleset
from tests.naive_log import naive_events
from tests.recount import Recount

PARTITIONS = 4
DISORDER_MS = MINUTE_MS

# segment -> (score, since, valid until)
Held = dict[str, tuple[float, int, int]]


class Part(NamedTuple):
    """A file of a log, and how it is produced: its fields renamed by `options` as `rename` says."""

    path: Path
    options: tuple[str, ...] = ()
    rename: dict[str, str] | None = None

    def events(self, now_ms: int) -> Iterator[Event | None]:
        """Every line's event, or None where it must be a reject."""
        return naive_events(self.path, now_ms, self.rename)


class Expected(NamedTuple):
    """What must come of a log whose event time ends at `end_ms`."""

    sets: dict[str, Held]
    changes: Counter[tuple[str, str, str, int]]
    rejected: int
    late: int
    end_ms: int


def closing(folder: Path, parts: Sequence[Part], now_ms: int) -> tuple[Part, int]:
    """The last part of a log, and where event time ends once it has been read."""
    users: dict[str, None] = {}
    last_ms = 0
    for event in (event for part in parts for event in part.events(now_ms)):
        if event is not None:
            users[event.user_id] = None
            last_ms = max(last_ms, event.occurred_at)
    hour_ms = last_ms // HOUR_MS * HOUR_MS
    called_ms = hour_ms + HOUR_MS + 15 * MINUTE_MS
    end_ms = hour_ms + 3 * HOUR_MS + 30 * MINUTE_MS
    lines = [_line(user, "called", called_ms) for user in users]
    lines += [_line(user, "ended", end_ms + DISORDER_MS) for user in _one_a_partition()]
    path = folder / "closing.jsonl"
    path.write_text("".join(lines))
    return Part(path), end_ms


def event_time_after(parts: Sequence[Part], now_ms: int) -> int:
    """How far event time comes by these parts alone: as far as the partition most behind."""
    latest_ms = dict.fromkeys(range(PARTITIONS), 0)
    for event in (event for part in parts for event in part.events(now_ms)):
        if event is not None:
            partition = partition_of(event.user_id.encode(), PARTITIONS)
            latest_ms[partition] = max(latest_ms[partition], event.occurred_at)
    return min(latest_ms.values()) - DISORDER_MS


def expected(ruleset: dict[str, Any], parts: Sequence[Part], end_ms: int, now_ms: int) -> Expected:
    """Recount a log."""
    recount = Recount(parse_ruleset(json.dumps(ruleset).encode()), store_is_new=False)
    totals: Counter[str] = Counter()
    for event in (event for part in parts for event in part.events(now_ms)):
        totals["rejected" if event is None else recount.event(event)] += 1
    recount.finish(end_ms)
    return Expected(
        {user_id: user.stored for user_id, user in recount.users.items()},
        Counter(recount.changes),
        totals["rejected"],
        totals["late"],
        end_ms,
    )


def sliced(part: Part, folder: Path, slices: int) -> list[Part]:
    """A part's lines, in order, as so many parts."""
    with part.path.open("rb") as log:
        lines = log.readlines()
    size = -(-len(lines) // slices)
    paths = [folder / f"slice-{number}.jsonl" for number in range(slices)]
    for number, path in enumerate(paths):
        path.write_bytes(b"".join(lines[number * size : (number + 1) * size]))
    return [part._replace(path=path) for path in paths]


def _one_a_partition() -> list[str]:
    found: dict[int, str] = {}
    for number in count():
        user = f"last-{number}"
        found.setdefault(partition_of(user.encode(), PARTITIONS), user)
        if len(found) == PARTITIONS:
            return list(found.values())
    raise AssertionError("never")


def _line(user: str, kind: str, at_ms: int) -> str:
    event = {"event_id": f"{kind}-{user}", "user_id": user, "type": kind, "occurred_at": at_ms}
    return json.dumps(event) + "\n"
