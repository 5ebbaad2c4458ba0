"""What a job costs while it runs: how far it is, and the CPU time and memory of its processes.

How far a job is says the broker: the offsets that the job commits with its checkpoints. That is the
same for every engine, and counts nothing that a crash would take back. Between two commits of a
partition progress is taken as even, since processes may commit at different moments.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import psutil
from kafka.errors import KafkaError

from jobs.kafka_clients import broker_errors, open_admin

POLL_S = 0.25
# Finding children and adding up pages costs CPU time itself.
MEMORY_POLLS = 8
STEADY_FROM, STEADY_TO = 0.2, 0.95
STEADY_S_MIN = 10.0
STALLED_S = 180.0

Offsets = dict[int, int]
Points = Sequence[tuple[float, float]]


class Sample(NamedTuple):
    """One moment. CPU times are sums since the start of each process, user and system.

    Memory is the proportional set size: pages that several processes share count once.
    """

    at_s: float
    committed: Offsets
    job_cpu_s: float
    broker_cpu_s: float
    memory_bytes: int


class Measure(NamedTuple):
    """The steady part of one run; the memory is the peak over all of it."""

    events: float
    seconds: float
    job_cpu_s: float
    broker_cpu_s: float
    peak_bytes: int

    @property
    def events_per_s(self) -> float:
        return self.events / self.seconds

    @property
    def events_per_cpu_s(self) -> float:
        """Events for each second of CPU time that the job's own processes took."""
        return self.events / self.job_cpu_s

    @property
    def broker_cpus(self) -> float:
        """How many CPUs the broker kept busy."""
        return self.broker_cpu_s / self.seconds


class Watched(NamedTuple):
    """A running job: its processes (their children count too), the broker's, its input."""

    job: list[psutil.Process]
    broker: psutil.Process
    bootstrap: str
    group: str
    topic: str
    check: Callable[[], None]


def watch(watched: Watched, total: int) -> list[Sample]:
    """Sample a job until it has committed all of its input.

    Raises:
        RuntimeError: `check` found that it failed, or it has stalled.
    """
    samples: list[Sample] = []
    processes, memory_bytes = watched.job, 0
    moved_s = time.monotonic()
    with open_admin(watched.bootstrap) as admin, broker_errors(watched.bootstrap):
        while not samples or sum(samples[-1].committed.values()) < total:
            if len(samples) % MEMORY_POLLS == 0:
                watched.check()
                processes = _tree(watched.job)
                memory_bytes = _memory_bytes(processes)
            time.sleep(POLL_S)
            committed = _committed(admin, watched)
            at_s, cpu_s = time.monotonic(), _cpu_s(processes)
            if samples and committed != samples[-1].committed:
                moved_s = at_s
            elif at_s - moved_s > STALLED_S:
                raise RuntimeError(f"{watched.group} has committed nothing for {STALLED_S:.0f} s")
            samples.append(Sample(at_s, committed, cpu_s, _cpu_s([watched.broker]), memory_bytes))
    return samples


def steady(samples: list[Sample], total: int) -> Measure:
    """The slope from a fifth of the input to where the first partition comes to its end.

    Raises:
        RuntimeError: that is no time at all: the log is too short for this job.
    """
    partitions = [_commits(samples, number) for number in samples[-1].committed]
    # Before a first commit lies the start, and before a last one perhaps idle time.
    from_s = max(commits[0][0] for commits in partitions)
    to_s = min(commits[max(len(commits) - 2, 0)][0] for commits in partitions)
    moments = [sample.at_s for sample in samples if from_s <= sample.at_s <= to_s]
    progress = [(at_s, sum(_at(p, at_s) for p in partitions)) for at_s in moments]
    part = [p for p in progress if STEADY_FROM * total <= p[1] <= STEADY_TO * total]
    if not part or part[-1][0] - part[0][0] < STEADY_S_MIN:
        raise RuntimeError(f"{total:,} events are too few: it is through them in a few commits")
    (from_s, first), (to_s, last) = part[0], part[-1]
    job_cpu = [(sample.at_s, sample.job_cpu_s) for sample in samples]
    broker_cpu = [(sample.at_s, sample.broker_cpu_s) for sample in samples]
    return Measure(
        events=last - first,
        seconds=to_s - from_s,
        job_cpu_s=_at(job_cpu, to_s) - _at(job_cpu, from_s),
        broker_cpu_s=_at(broker_cpu, to_s) - _at(broker_cpu, from_s),
        peak_bytes=max(sample.memory_bytes for sample in samples),
    )


def _commits(samples: list[Sample], partition: int) -> Points:
    """When a partition was committed up to where, at least once."""
    points: list[tuple[float, float]] = []
    for sample in samples:
        offset = sample.committed.get(partition, 0)
        if offset > (points[-1][1] if points else 0):
            points.append((sample.at_s, float(offset)))
    return points


def _at(points: Points, at_s: float) -> float:
    """The value at a moment, on the straight line between the points beside it."""
    after = bisect_left(points, at_s, key=lambda point: point[0])
    if after == 0:
        return points[0][1]
    if after == len(points):
        return points[-1][1]
    (start_s, start), (end_s, end) = points[after - 1], points[after]
    return start + (end - start) * (at_s - start_s) / (end_s - start_s)


def _committed(admin: Any, watched: Watched) -> Offsets:
    """How far the job has committed; nothing while the broker makes a place for that."""
    try:
        offsets = admin.list_group_offsets(watched.group)[watched.group]
    except KafkaError as error:
        if not error.retriable:
            raise
        return {}
    return {p.partition: found.offset for p, found in offsets.items() if p.topic == watched.topic}


def _tree(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    found = []
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            found += [root, *root.children(recursive=True)]
    return found


def _cpu_s(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _memory_bytes(processes: Iterable[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total
