"""Whether a job computes the same: its changes, folded, against a naive recount of the log."""

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from jobs.read_topic import read_to_end
from schemas.durations import HOUR_MS
from schemas.events import Event
from schemas.rulesets import parse_ruleset
from tests.recount import Recount

PROCESSES = 2
# Jobs end with their watermark somewhere before the last event: what is compared is well before it.
UNDECIDED_MS = 2 * HOUR_MS


class Step(msgspec.Struct, frozen=True):
    """What the jobs' changes have in common; `at` is epoch ms of event time."""

    user_id: str
    segment: str
    change: str
    at: int


class Expected(NamedTuple):
    """Everybody's segments at one moment of event time."""

    as_of_ms: int
    members: dict[str, frozenset[str]]

    def differing(self, members: dict[str, frozenset[str]]) -> int:
        """How many users have other segments in `members`."""
        users = self.members.keys() | members.keys()
        none: frozenset[str] = frozenset()
        return sum(self.members.get(u, none) != members.get(u, none) for u in users)


def expected_members(log: Path, ruleset: Path) -> Expected:
    """Recount a log of plain events and their duplicates, in two processes."""
    as_of_ms = _quiet_ms(log)
    recount = partial(_recount, log, ruleset, as_of_ms)
    with ProcessPoolExecutor(PROCESSES) as pool:
        parts = pool.map(recount, range(PROCESSES))
        return Expected(as_of_ms, members_at([step for part in parts for step in part], as_of_ms))


def changes_in(bootstrap: str, topic: str) -> list[Step]:
    """Every committed change of a topic."""
    decode = msgspec.json.Decoder(Step).decode
    return [decode(r.value) for r in read_to_end(bootstrap, topic) if r.value is not None]


def members_at(steps: Iterable[Step], as_of_ms: int) -> dict[str, frozenset[str]]:
    """Who is in what at `as_of_ms`, in event time. Steps of one user may stand in any order."""
    members: defaultdict[str, set[str]] = defaultdict(set)
    for step in sorted((step for step in steps if step.at <= as_of_ms), key=lambda step: step.at):
        if step.change == "enter":
            members[step.user_id].add(step.segment)
        else:
            members[step.user_id].discard(step.segment)
    return {user: frozenset(segments) for user, segments in members.items() if segments}


class _Time(msgspec.Struct):
    occurred_at: int


def _quiet_ms(log: Path) -> int:
    """The latest moment that no event out of order crosses, well before the end of the log."""
    decode = msgspec.json.Decoder(_Time).decode
    with log.open("rb") as lines:
        times = [decode(line).occurred_at for line in lines]
    latest = list(accumulate(times, max))
    earliest_left = list(accumulate(reversed(times), min))[::-1]
    return next(
        before
        for before, after in zip(latest[-2::-1], earliest_left[:0:-1], strict=True)
        if before < after and before < latest[-1] - UNDECIDED_MS
    )


def _recount(log: Path, ruleset: Path, as_of_ms: int, part: int) -> list[Step]:
    recount = Recount(parse_ruleset(ruleset.read_bytes()))
    decode = msgspec.json.Decoder(Event).decode
    with log.open("rb") as lines:
        for line in lines:
            event = decode(line)
            if crc32(event.user_id.encode()) % PROCESSES == part:
                recount.event(event)
    recount.finish(as_of_ms)
    return [Step(*change) for change in recount.changes]
