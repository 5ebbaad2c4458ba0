"""The cluster bench: how progress is read from commits, and how changes fold to memberships."""

from pathlib import Path

import msgspec
import pytest

from bench.agreement import Expected, Step, expected_members, members_at
from bench.contestants import RULESET
from bench.meter import Sample, steady
from schemas.durations import DAY_MS, HOUR_MS
from schemas.events import Event

pytestmark = pytest.mark.unit

MONDAY_MS = 1_767_571_200_000


def samples(seconds: int, every: dict[int, tuple[int, int]], rate: int, end: int) -> list[Sample]:
    """A sample a second of partitions that commit every so many seconds from a second on."""
    found = []
    for second in range(seconds):
        committed = {}
        for number, (first, period) in every.items():
            if second >= first:
                at_s = first + (second - first) // period * period
                committed[number] = min(at_s * rate, end)
        found.append(Sample(float(second), committed, second * 2.0, second * 0.5, second))
    return found


def test_partitions_that_commit_at_different_moments_do_not_distort_the_rate():
    both = samples(61, {0: (5, 10), 1: (6, 10)}, rate=100, end=5_000)
    measure = steady(both, total=10_000)
    assert measure.events_per_s == pytest.approx(200)
    assert measure.events_per_cpu_s == pytest.approx(100)
    assert measure.broker_cpus == pytest.approx(0.5)
    assert measure.peak_bytes == 60


def test_idle_time_before_the_last_commit_does_not_count():
    # Worked off after 40 s, committed after 45 s.
    measure = steady(samples(60, {0: (5, 10)}, rate=100, end=4_000), total=4_000)
    assert measure.events_per_s == pytest.approx(100)


def test_a_log_worked_off_in_two_commits_is_refused():
    with pytest.raises(RuntimeError, match="too few"):
        steady(samples(20, {0: (5, 10)}, rate=100, end=1_000), total=1_000)


def test_steps_fold_in_the_order_of_event_time_up_to_a_moment():
    steps = [
        Step("u1", "fuel_type=electric", "leave", 20),
        Step("u1", "fuel_type=electric", "enter", 10),
        Step("u2", "fuel_type=diesel", "enter", 15),
        Step("u2", "fuel_type=petrol", "enter", 31),
    ]
    members = members_at(steps, as_of_ms=30)
    assert members == {"u2": frozenset({"fuel_type=diesel"})}
    expected = Expected(30, {"u2": frozenset({"fuel_type=diesel"}), "u3": frozenset({"x"})})
    assert expected.differing(members) == 1
    assert expected.differing({}) == 2


def test_expected_members_are_those_well_before_the_end_of_the_log(tmp_path: Path):
    early = [event(f"a{n}", "u1", MONDAY_MS + n) for n in range(5)]
    later = [event(f"b{n}", "u2", MONDAY_MS + 5 * HOUR_MS + n) for n in range(5)]
    gone = [event("c", "u3", MONDAY_MS + 11 * DAY_MS)]
    assert expected(tmp_path, [*early, *later]).members == {"u1": frozenset({"fuel_type=diesel"})}
    assert expected(tmp_path, [*early, *gone, event("d", "u3", gone[0].occurred_at + DAY_MS)]) == (
        Expected(gone[0].occurred_at, {})
    )


def event(event_id: str, user_id: str, at_ms: int) -> Event:
    return Event(
        event_id=event_id,
        user_id=user_id,
        type="view",
        occurred_at=at_ms,
        attributes={"fuel_type": "diesel"},
    )


def expected(folder: Path, events: list[Event]) -> Expected:
    log = folder / "events.jsonl"
    log.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in events))
    return expected_members(log, RULESET)
