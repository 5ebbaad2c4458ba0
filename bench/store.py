"""What the writer of the distributed store costs the operator's thread, at several rates."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median, quantiles
from threading import Event, Thread
from typing import NamedTuple

import psutil

from bench.report import print_table, progress
from jobs.stores.cassandra_messages import WriterSettings
from jobs.stores.cassandra_store import CassandraLocation, CassandraWriter
from jobs.stores.migrate import migrate
from schemas.changes import Change
from schemas.locations import CassandraUrl, parse_store
from schemas.segments import Publication, Segment, UserSegments
from stack.servers import StackSpec, up
from udfs.outbox import SegmentWriter

RATES_PER_S = (300, 1_000, 10_000)
RUNS = 3
WARM_UP_S = 30.0
SETTLE_S = 1.0
MEASURE_S = 3.0
LOOK_EVERY_S = 0.005
USERS = 20_000
START_MS = 1_770_000_000_000
# About what an event costs in the interpreter, and in Flink while the interpreter is free.
LOOPS_AN_EVENT = 250
OUTSIDE_BYTES = bytes(16_384)


class Sample(NamedTuple):
    """What an operator did for a while, beside a writer at a rate; times in seconds."""

    events_per_s: float
    writes_per_s: float
    cpu_s_per_write: float
    stored_after_s: list[float]


class _Meter(NamedTuple):
    at_s: float
    events: int
    writes: int
    process_cpu_s: float


class Operator(Thread):
    """Stands for the operator's thread: always busy, and publishes at a rate."""

    def __init__(self, writer: SegmentWriter, rate_per_s: float) -> None:
        super().__init__(name="operator")
        self._writer = writer
        self._gap_s = 1 / rate_per_s if rate_per_s else float("inf")
        self._end = Event()
        self.events = 0
        self.stored_after_s: list[float] = []

    def run(self) -> None:
        counts: dict[int, int] = {}
        publish_at_s = time.perf_counter() + min(self._gap_s, 1e9)
        ticket, watched, watched_at_s, look_at_s = 0, "", 0.0, 0.0
        while not self._end.is_set():
            for key in range(LOOPS_AN_EVENT):
                counts[key & 63] = counts.get(key & 63, 0) + 1
            hashlib.sha256(OUTSIDE_BYTES).digest()
            self.events += 1
            now_s = time.perf_counter()
            if watched and now_s >= look_at_s:
                look_at_s = now_s + LOOK_EVERY_S
                if self._writer.stored(watched):
                    self.stored_after_s.append(now_s - watched_at_s)
                    watched = ""
            if now_s >= publish_at_s:
                # Whoever falls behind does not catch up more than a little.
                publish_at_s = max(publish_at_s + self._gap_s, now_s - 0.05)
                ticket += 1
                published = _publication(f"user-{ticket % USERS}", ticket)
                self._writer.send(ticket, published)
                if not watched:
                    watched, watched_at_s = published.current.user_id, now_s

    def stop(self) -> None:
        self._end.set()
        self.join()


def run(folder: Path) -> None:
    """Bring Cassandra up, and measure each rate in turn."""
    progress("starting Cassandra")
    with up(StackSpec(folder / "stack", parts=("cassandra",))) as stack:
        url = parse_store(stack.cassandra.store())
        assert isinstance(url, CassandraUrl)
        migrate(url, None, progress)
        progress(f"warming Cassandra up for {WARM_UP_S:.0f} s")
        _measure(url, max(RATES_PER_S), WARM_UP_S)
        samples: dict[int, list[tuple[Sample, float]]] = {rate: [] for rate in RATES_PER_S}
        for _ in range(RUNS):
            for rate in RATES_PER_S:
                alone = _measure(url, 0)
                samples[rate].append((_measure(url, rate), alone.events_per_s))
    print_table(
        "store: the operator's thread beside the writer to a Cassandra on the same machine",
        [
            f"median of {RUNS} runs of {MEASURE_S:.0f} s, each beside one without publications;"
            f" at most {WriterSettings().writes_per_s_max:,.0f} writes/s;"
            " no user was written before by this writer",
            "CPU: of the store process",
        ],
        ("publications/s", "stored/s", "operator", "CPU µs a write", "stored p50 ms", "p99 ms"),
        [_row(rate, samples[rate]) for rate in RATES_PER_S],
    )


def _row(rate: int, samples: list[tuple[Sample, float]]) -> tuple[str, ...]:
    waits_s = [wait_s for sample, _ in samples for wait_s in sample.stored_after_s]
    p99_s = quantiles(waits_s, n=100)[98] if len(waits_s) > 1 else float("nan")
    return (
        f"{rate:,}",
        f"{median(sample.writes_per_s for sample, _ in samples):,.0f}",
        f"{median(sample.events_per_s / alone for sample, alone in samples):.0%}",
        f"{median(sample.cpu_s_per_write for sample, _ in samples) * 1e6:,.0f}",
        f"{median(waits_s) * 1e3:,.0f}",
        f"{p99_s * 1e3:,.0f}",
    )


def _measure(url: CassandraUrl, rate_per_s: float, seconds: float = MEASURE_S) -> Sample:
    with _operator(url, rate_per_s) as (operator, writer):
        time.sleep(SETTLE_S)
        operator.stored_after_s.clear()
        before = _meter(operator, writer)
        time.sleep(seconds)
        after = _meter(operator, writer)
        waits_s = list(operator.stored_after_s)
    passed_s = after.at_s - before.at_s
    writes = after.writes - before.writes
    return Sample(
        (after.events - before.events) / passed_s,
        writes / passed_s,
        (after.process_cpu_s - before.process_cpu_s) / max(writes, 1),
        waits_s,
    )


@contextmanager
def _operator(url: CassandraUrl, rate_per_s: float) -> Iterator[tuple[Operator, CassandraWriter]]:
    writer = CassandraLocation(url)()
    assert isinstance(writer, CassandraWriter)
    with closing(writer):
        operator = Operator(writer, rate_per_s)
        operator.start()
        try:
            yield operator, writer
        finally:
            operator.stop()


def _meter(operator: Operator, writer: CassandraWriter) -> _Meter:
    cpu = psutil.Process(writer.pid).cpu_times()
    return _Meter(time.perf_counter(), operator.events, writer.counts.stored, cpu.user + cpu.system)


def _publication(user_id: str, version: int) -> Publication:
    """A user of two segments who has just entered one."""
    segments = tuple(
        Segment(
            segment=name,
            score=0.625,
            since=START_MS,
            valid_until=START_MS + 864_000_000,
            matching=5,
            views=8,
        )
        for name in ("fuel_type=electric", "make=tesla")
    )
    change = Change(
        user_id=user_id,
        segment="fuel_type=electric",
        change="enter",
        at=START_MS,
        score=0.625,
        matching=5,
        views=8,
        ruleset_version=1,
        version=version,
    )
    current = UserSegments(
        user_id=user_id, version=version, ruleset_version=1, as_of=START_MS, segments=segments
    )
    return Publication(current, (change,))
