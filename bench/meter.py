"""What a job costs while it runs: how far it is, and the CPU time and memory of its processes.

How far a job is says the broker: the offsets that the job commits with its checkpoints. That is the
same for every engine, and counts nothing that a crash would take back.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

import psutil
from kafka.errors import CoordinatorNotAvailableError, NotCoordinatorError

from jobs.kafka_clients import broker_errors, open_admin

POLL_S = 0.5
STEADY_FROM, STEADY_TO = 0.2, 0.95
STALLED_S = 180.0


class Sample(NamedTuple):
    """One moment. CPU times are sums since the start of each process, user and system."""

    at_s: float
    committed: int
    job_cpu_s: float
    broker_cpu_s: float
    memory_bytes: int


class Measure(NamedTuple):
    """The steady part of one run; the memory is the peak over all of it."""

    events: int
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
    moved_s = time.monotonic()
    with open_admin(watched.bootstrap) as admin, broker_errors(watched.bootstrap):
        while not samples or samples[-1].committed < total:
            time.sleep(POLL_S)
            watched.check()
            sample = Sample(
                time.monotonic(),
                _committed(admin, watched),
                _cpu_s(_tree(watched.job)),
                _cpu_s([watched.broker]),
                _memory_bytes(_tree(watched.job)),
            )
            if samples and sample.committed > samples[-1].committed:
                moved_s = sample.at_s
            elif sample.at_s - moved_s > STALLED_S:
                raise RuntimeError(f"{watched.group} has committed nothing for {STALLED_S:.0f} s")
            samples.append(sample)
    return samples


def steady(samples: list[Sample], total: int) -> Measure:
    """The slope between the first commit past a fifth of the input and the last before its end.

    Raises:
        RuntimeError: there are no two such commits: the log is too short for this job.
    """
    commits = [
        later
        for earlier, later in pairwise(samples)
        if later.committed > earlier.committed
        and STEADY_FROM * total <= later.committed <= STEADY_TO * total
    ]
    if len(commits) < 2:
        raise RuntimeError(f"{total:,} events are too few: fewer than two commits in mid-run")
    first, last = commits[0], commits[-1]
    return Measure(
        events=last.committed - first.committed,
        seconds=last.at_s - first.at_s,
        job_cpu_s=last.job_cpu_s - first.job_cpu_s,
        broker_cpu_s=last.broker_cpu_s - first.broker_cpu_s,
        peak_bytes=max(sample.memory_bytes for sample in samples),
    )


def _committed(admin: Any, watched: Watched) -> int:
    """How many records the job has committed; none while the broker makes a place for that."""
    try:
        offsets = admin.list_group_offsets(watched.group)[watched.group]
    except (CoordinatorNotAvailableError, NotCoordinatorError):
        return 0
    return sum(o.offset for place, o in offsets.items() if place.topic == watched.topic)


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
    """Proportional set size: pages that several processes share count once."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total
