"""The pure core without an engine, beside its ceiling: nothing but decoding the events."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median, quantiles

import msgspec

from bench.logs import DAYS, SEED, START_MS, write_log
from bench.report import print_table
from schemas.durations import DAY_MS
from schemas.events import Event
from schemas.rulesets import parse_ruleset
from schemas.state import decode_profile, encode_profile
from udfs.dedupe import Dedupe
from udfs.intake import Intake, NoEvent, count_cells, read_event, time_fault
from udfs.membership import Limits, Tracking, is_empty, track_event
from udfs.rules import RulePlan

LINES = 100_000
RUNS = 3
RULESET = Path(__file__).parents[1] / "segstream" / "used_cars.json"
NOW_MS = START_MS + (DAYS + 1) * DAY_MS


def run(folder: Path) -> None:
    """Measure both in turn and print them."""
    log = folder / "events.jsonl"
    written = write_log(log, LINES)
    lines = log.read_bytes().split(b"\n")[:-1]
    core_s, decode_s = [], []
    for _ in range(RUNS):
        decode_s.append(_seconds(lambda: _decode_all(lines)))
        core_s.append(_seconds(lambda: _track_all(lines)))
    sizes = sorted(map(len, _track_all(lines).values()))
    core_us, decode_us = (median(times) / len(lines) * 1e6 for times in (core_s, decode_s))
    print_table(
        "core: event, cells, profile, decision, profile; state in a dict of bytes",
        [f"seed {SEED}: {written}", f"median of {RUNS} runs each, in turn, one thread"],
        ("", "events/s", "µs an event", "times the ceiling's"),
        [
            ("ceiling: decode the event", f"{1e6 / decode_us:,.0f}", f"{decode_us:.2f}", "1.0"),
            ("core", f"{1e6 / core_us:,.0f}", f"{core_us:.2f}", f"{core_us / decode_us:.1f}"),
        ],
    )
    print(
        f"  state of {len(sizes):,} users: mean {fmean(sizes):,.0f} bytes,"
        f" p99 {quantiles(sizes, n=100)[98]:,.0f}, largest {sizes[-1]:,}"
    )


def _decode_all(lines: list[bytes]) -> None:
    decode = msgspec.json.Decoder(Event).decode
    for line in lines:
        try:
            decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def _track_all(lines: list[bytes]) -> dict[str, bytes]:
    """What TrackMembership does with each event, but for the engine; every user's state."""
    plan = RulePlan(parse_ruleset(RULESET.read_bytes()))
    tracking = Tracking(plan, Limits(Dedupe(86_400, 1_000)), run_id=1, store_is_new=True)
    intake = Intake()
    states: dict[str, bytes] = {}
    for line in lines:
        event = read_event(line, intake)
        if isinstance(event, NoEvent) or time_fault(event.occurred_at, NOW_MS, intake):
            continue
        cells = count_cells(event, plan)
        if isinstance(cells, NoEvent):
            continue
        stored = states.get(event.user_id)
        profile = None if stored is None else decode_profile(stored)
        outcome = track_event(profile, event, cells, tracking)
        if is_empty(outcome.profile):
            states.pop(event.user_id, None)
        elif outcome.dirty:
            states[event.user_id] = encode_profile(outcome.profile)
    return states


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
