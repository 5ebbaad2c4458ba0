"""The whole embedded run beside a naive PyFlink job, both with their start-up taken out."""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.core import RULESET
from bench.logs import SEED, write_head, write_log
from bench.processes import seconds_of, segstream
from bench.report import print_table, progress

RUNS = 3
FLOOR = 10
NAIVE_LINES = (5_000, 30_000)
SEGSTREAM_LINES = (50_000, 200_000)
NAIVE_JOB = Path(__file__).with_name("naive_job.py")

Job = Callable[[Path, Path], list[str]]


class Timing(NamedTuple):
    """Median seconds of a job on a shorter and a longer head of one log."""

    lines: tuple[int, int]
    seconds: tuple[float, float]

    @property
    def event_us(self) -> float:
        """What one more event costs: the slope between the two."""
        return (self.seconds[1] - self.seconds[0]) / (self.lines[1] - self.lines[0]) * 1e6


def run(folder: Path) -> None:
    """Measure both in turn and print them."""
    log = folder / "events.jsonl"
    written = write_log(log, SEGSTREAM_LINES[1])
    jobs: dict[str, tuple[Job, tuple[int, int]]] = {
        "naive": (_naive, NAIVE_LINES),
        "segstream": (_segstream, SEGSTREAM_LINES),
    }
    heads = {n: write_head(log, n) for n in (*NAIVE_LINES, *SEGSTREAM_LINES)}
    took: dict[tuple[str, int], list[float]] = {}
    for number in range(RUNS):
        for name, (job, sizes) in jobs.items():
            for lines in sizes:
                work = folder / f"{name}-{lines}-{number}"
                work.mkdir()
                seconds = seconds_of(job(heads[lines], work), work)
                took.setdefault((name, lines), []).append(seconds)
                progress(f"run {number + 1}: {name}, {lines:,} lines, {seconds:.1f} s")
    timings = {
        name: Timing(sizes, (median(took[name, sizes[0]]), median(took[name, sizes[1]])))
        for name, (_, sizes) in jobs.items()
    }
    _print(timings, written)


def _print(timings: dict[str, Timing], written: str) -> None:
    naive_us = timings["naive"].event_us
    rows = []
    for name, timing in timings.items():
        totals = [
            f"{seconds:.1f} s for {lines:,}"
            for lines, seconds in zip(timing.lines, timing.seconds, strict=True)
        ]
        us = timing.event_us
        rows.append((name, *totals, f"{1e6 / us:,.0f}", f"{us:.1f}", f"{naive_us / us:.1f}"))
    print_table(
        "minicluster: the whole command, file in to results in place, beside naive PyFlink",
        [
            f"seed {SEED}: heads of {written}",
            f"medians of {RUNS} runs, in turn; parallelism 1; a rate is the slope between the two"
            " lengths, without start-up",
            "naive: process mode (the default), json and key in Python, the same rules with dedupe"
            " and expiry; no store",
        ],
        ("", "shorter, raw", "longer, raw", "events/s", "µs an event", "times naive"),
        rows,
    )
    ratio = naive_us / timings["segstream"].event_us
    print(f"  floor: {FLOOR} times naive - {'kept' if ratio >= FLOOR else 'MISSED'} ({ratio:.1f})")


def _naive(log: Path, work: Path) -> list[str]:
    return [sys.executable, str(NAIVE_JOB), str(log), str(work / "changes")]


def _segstream(log: Path, work: Path) -> list[str]:
    return segstream(
        *("run", "--events", log, "--ruleset", RULESET),
        *("--store", f"sqlite:///{work / 'segments.db'}", "--changes", work / "changes.jsonl"),
    )
