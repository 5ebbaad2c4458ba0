"""The whole machine: Kafka, a job and what it writes, on real servers, beside three peers."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.agreement import Expected, changes_in, expected_members, members_at
from bench.contestants import (
    COMMIT_S,
    PARALLELISM,
    PARTITIONS,
    RULESET,
    SHORT_EVENTS,
    Contestant,
    Peers,
    contestants,
)
from bench.logs import PLAIN, SEED, write_log
from bench.meter import STEADY_FROM, STEADY_TO, Measure, steady, watch
from bench.peers.build import build_java, build_quix, load_log
from bench.report import print_table, progress
from jobs.kafka_admin import create_topics
from jobs.kafka_clients import open_admin
from schemas.topics import SEGMENT_CHANGES, VIEW_EVENTS
from stack.servers import StackSpec, up

LINES = {VIEW_EVENTS: 3_000_000, SHORT_EVENTS: 80_000}
ROUNDS = 3
DEFAULT = ("segstream", "java", "quix", "naive")
# peer: the least that segstream's rate may be, as a multiple of the peer's
FLOORS = {"naive": 15.0, "java": 0.6, "quix": 0.6}
VISIBLE_WITHIN_S = 30.0


class Ground(NamedTuple):
    """What every run starts from: a stopped broker that holds the logs, and what to expect."""

    stack: Path
    expected: dict[str, Expected]


class Result(NamedTuple):
    """One run of one job."""

    measure: Measure
    users_differing: int


def run(folder: Path, only: Sequence[str] = ()) -> None:
    """Measure all jobs, or those named, in turn, and print them.

    Raises:
        RuntimeError: there is no job of that name, or one failed.
    """
    progress("building the Java job and the environment of Quix Streams")
    field = contestants(Peers(build_java(), build_quix()))
    unknown = [name for name in only if name not in field]
    if unknown:
        raise RuntimeError(f"--only {unknown[0]}: there are {', '.join(field)}")
    names = tuple(only) or DEFAULT
    ground, notes = _prepare(folder, {field[name].events for name in names})
    results: dict[str, list[Result]] = {name: [] for name in names}
    for number in range(1, ROUNDS + 1):
        for name in names:
            result = _run_once(folder / f"{name}-{number}", field[name], ground)
            results[name].append(result)
            _tell(f"round {number}: {name}", result)
    _print(results, notes)


def _prepare(folder: Path, topics: set[str]) -> tuple[Ground, list[str]]:
    """Write the logs, recount them and load them into a broker, which is then stopped."""
    expected, notes = {}, []
    template = folder / "template"
    stack = up(StackSpec(template, parts=("kafka",)))
    try:
        bootstrap = stack.kafka.bootstrap
        _create_topics(bootstrap)
        for topic in sorted(topics):
            log = folder / f"{topic}.jsonl"
            written = write_log(log, LINES[topic], shares=PLAIN)
            notes.append(f"{topic}, seed {SEED}: {written}")
            progress(f"{topic}: {written}; loading it")
            load_log(build_java(), bootstrap, topic, log)
            progress(f"{topic}: recounting it")
            expected[topic] = expected_members(log, RULESET)
            log.unlink()
    finally:
        stack.down(keep=True)
    return Ground(template, expected), notes


def _create_topics(bootstrap: str) -> None:
    """The job's topics, and one whose timestamps are the producer's, however old."""
    create_topics(bootstrap, PARTITIONS, replication=1)
    short = {"num_partitions": PARTITIONS, "replication_factor": 1}
    with open_admin(bootstrap) as admin:
        admin.create_topics({SHORT_EVENTS: {**short, "configs": {"retention.ms": "-1"}}})
        admin.wait_for_topics([SHORT_EVENTS])


def _run_once(work: Path, contestant: Contestant, ground: Ground) -> Result:
    """Run one job over its log, on servers of its own that start as all others do."""
    total = LINES[contestant.events]
    servers = work / "stack"
    shutil.copytree(ground.stack, servers)
    with (
        up(StackSpec(servers, parts=contestant.parts, task_managers=PARALLELISM)) as stack,
        contestant.start(stack, work) as watched,
    ):
        measure = steady(watch(watched, total), total)
        expected = ground.expected[contestant.events]
        differing = _users_differing(stack.kafka.bootstrap, expected)
    shutil.rmtree(work)
    return Result(measure, differing)


def _users_differing(bootstrap: str, expected: Expected) -> int:
    """How many users' folded changes are not the recount's.

    The last transaction commits a moment after the last offsets, hence the second looks.
    """
    until_s = time.monotonic() + VISIBLE_WITHIN_S
    while True:
        steps = changes_in(bootstrap, SEGMENT_CHANGES)
        differing = expected.differing(members_at(steps, expected.as_of_ms))
        if differing == 0 or time.monotonic() > until_s:
            return differing
        time.sleep(1)


def _tell(what: str, result: Result) -> None:
    measure = result.measure
    progress(
        f"{what}: {measure.events_per_s:,.0f} events/s over {measure.seconds:.0f} s,"
        f" {measure.events_per_cpu_s:,.0f} a CPU second, broker {measure.broker_cpus:.2f} CPUs,"
        f" {measure.peak_bytes / 2**20:,.0f} MiB, {result.users_differing} users differ"
    )


def _print(results: dict[str, list[Result]], notes: list[str]) -> None:
    rates = {name: median(r.measure.events_per_s for r in rs) for name, rs in results.items()}
    against = [name for name in FLOORS if name in rates]
    rows = [
        (
            name,
            f"{rates[name]:,.0f}",
            *(f"{rates[name] / rates[peer]:.2f}" for peer in against),
            f"{median(r.measure.events_per_cpu_s for r in runs):,.0f}",
            f"{median(r.measure.broker_cpus for r in runs):.2f}",
            f"{median(r.measure.peak_bytes for r in runs) / 2**20:,.0f}",
            f"{max(r.users_differing for r in runs)}",
        )
        for name, runs in results.items()
    ]
    print_table(
        "cluster: the whole machine, one share rule, Kafka to Kafka, exactly once",
        [
            *notes,
            f"medians of {ROUNDS} rounds, in turn, each on fresh servers and a loaded broker;"
            f" {PARALLELISM} TaskManagers of one slot, or {PARALLELISM} processes;"
            f" a commit every {COMMIT_S} s",
            "a rate is the slope of the offsets committed with checkpoints, from"
            f" {STEADY_FROM:.0%} of the log to {STEADY_TO:.0%} or the first end of a partition",
            "CPU seconds and memory (PSS) are the job's: JobManager, TaskManagers, Python workers;"
            " or the Quix processes",
        ],
        (
            "",
            "events/s",
            *(f"of {peer}" for peer in against),
            "events/CPU s",
            "broker's CPUs",
            "peak MiB",
            "users differ",
        ),
        rows,
    )
    if "segstream" in rates:
        _print_floors(rates)


def _print_floors(rates: dict[str, float]) -> None:
    for peer, floor in FLOORS.items():
        if peer in rates:
            ratio = rates["segstream"] / rates[peer]
            kept = "kept" if ratio >= floor else "MISSED"
            print(f"  floor: {floor:g} times {peer} - {kept} ({ratio:.2f})")
