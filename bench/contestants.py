"""The jobs that are measured on real servers, each as its own users would start it.

All read JSON keyed by user from a topic of four partitions, apply one share rule and write changes
exactly once, with two processes that do the work and a commit every five seconds, the default of
Quix Streams.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

from bench.meter import Watched
from bench.peers.build import flink_home
from bench.processes import process, segstream
from jobs.submit import connector_jar
from schemas.topics import SEGMENT_CHANGES, VIEW_EVENTS
from stack.servers import Stack
from stack.state import Part

PARALLELISM = 2
COMMIT_S = 5
PARTITIONS = 4
SHORT_EVENTS = "view-events-short"

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "bench" / "peers"
RULESET = PEERS / "fuel_type.json"
NAIVE_JOB = PEERS / "naive_cluster_job.py"
QUIX_JOB = PEERS / "quix_job.py"

HEAP = {"state.backend.type": "hashmap"}
ROCKSDB = {"state.backend.type": "rocksdb", "execution.checkpointing.incremental": "true"}


class Peers(NamedTuple):
    """What was built for the peers."""

    jar: Path
    quix_python: Path


class Contestant(NamedTuple):
    """A job: the parts of the stack that it needs, its topic of events, how it is started.

    `start` begins the job in a folder and ends it with the block.
    """

    parts: tuple[Part, ...]
    events: str
    start: Callable[[Stack, Path], AbstractContextManager[Watched]]


def contestants(peers: Peers) -> dict[str, Contestant]:
    """Every job that can be measured, by the name that `--only` takes."""
    on_flink: tuple[Part, ...] = ("kafka", "flink")
    return {
        "segstream": Contestant(on_flink, VIEW_EVENTS, _segstream),
        "java": Contestant(on_flink, VIEW_EVENTS, _java(peers.jar, "java", HEAP)),
        "java-rocksdb": Contestant(
            on_flink, VIEW_EVENTS, _java(peers.jar, "java-rocksdb", ROCKSDB)
        ),
        "quix": Contestant(("kafka",), VIEW_EVENTS, _quix(peers.quix_python)),
        "naive": Contestant(on_flink, SHORT_EVENTS, _naive),
    }


# The one place that knows how segstream is submitted. `group` is the consumer group whose offsets
# tell how far it is.
@contextmanager
def _segstream(stack: Stack, folder: Path) -> Iterator[Watched]:
    command = segstream(
        *("submit", "--flink", stack.flink.rest, "--bootstrap", stack.kafka.bootstrap),
        *("--store", "none", "--ruleset", RULESET, "--clock", "events"),
        *("--parallelism", PARALLELISM, "--checkpoint-interval", f"{COMMIT_S}s"),
    )
    yield _submitted(stack, command, folder, "segstream", VIEW_EVENTS)


def _java(
    jar: Path, group: str, settings: dict[str, str]
) -> Callable[[Stack, Path], AbstractContextManager[Watched]]:
    @contextmanager
    def start(stack: Stack, folder: Path) -> Iterator[Watched]:
        options = {"pipeline.object-reuse": "true", **settings}
        job = [str(jar), stack.kafka.bootstrap, VIEW_EVENTS, SEGMENT_CHANGES, group]
        command = [*_flink_run(stack, options), *job]
        yield _submitted(stack, command, folder, group, VIEW_EVENTS)

    return start


@contextmanager
def _naive(stack: Stack, folder: Path) -> Iterator[Watched]:
    options = {**HEAP, "python.pythonpath": str(ROOT)}
    command = [
        *_flink_run(stack, options),
        *("--pyClientExecutable", sys.executable, "--jarfile", str(connector_jar())),
        *("--python", str(NAIVE_JOB)),
        *(stack.kafka.bootstrap, SHORT_EVENTS, SEGMENT_CHANGES, "naive"),
    ]
    yield _submitted(stack, command, folder, "naive", SHORT_EVENTS)


def _quix(python: Path) -> Callable[[Stack, Path], AbstractContextManager[Watched]]:
    @contextmanager
    def start(stack: Stack, folder: Path) -> Iterator[Watched]:
        with ExitStack() as workers:
            started = []
            for number in range(PARALLELISM):
                job = [stack.kafka.bootstrap, VIEW_EVENTS, SEGMENT_CHANGES, "quix"]
                state = folder / f"state-{number}"
                command = [str(python), str(QUIX_JOB), *job, str(state), str(COMMIT_S)]
                out = workers.enter_context((folder / f"quix-{number}.txt").open("wb"))
                worker = process(command, folder, out.fileno())
                started.append(psutil.Process(workers.enter_context(worker).pid))

            def check() -> None:
                if not all(p.status() != psutil.STATUS_ZOMBIE for p in started):
                    said = [(folder / f"quix-{n}.txt").read_text() for n in range(PARALLELISM)]
                    raise RuntimeError("quix ended:\n" + "\n".join(text[-2000:] for text in said))

            yield _watched(stack, started, "quix", VIEW_EVENTS, check)

    return start


def _flink_run(stack: Stack, settings: dict[str, str]) -> list[str]:
    """`flink run` with the settings that all jobs share and a job's own."""
    address = urlsplit(stack.flink.rest)
    options = {
        "execution.target": "remote",
        "rest.address": str(address.hostname),
        "rest.port": str(address.port),
        "parallelism.default": str(PARALLELISM),
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.interval": f"{COMMIT_S} s",
        **settings,
    }
    flags = [f"-D{name}={value}" for name, value in options.items()]
    return [str(flink_home() / "bin" / "flink"), "run", "--detached", *flags]


def _submitted(stack: Stack, command: list[str], folder: Path, group: str, events: str) -> Watched:
    """Submit a job and name what it runs as: the JobManager and the TaskManagers.

    Raises:
        RuntimeError: it was not taken.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FLINK_LOG_DIR": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stdout + done.stderr
        raise RuntimeError(f"{' '.join(command)}\n{said[-3000:]}")

    def check() -> None:
        overview: Any = stack.flink.get("/jobs/overview") or {"jobs": []}
        for job in overview["jobs"]:
            if job["tasks"]["failed"] or job["state"] not in ("CREATED", "INITIALIZING", "RUNNING"):
                raise RuntimeError(f"{group}: {_failure(stack, job['jid'])}")

    servers = [stack.flink.job_manager, *stack.task_managers]
    return _watched(stack, [_found(stack, server) for server in servers], group, events, check)


def _failure(stack: Stack, job_id: str) -> str:
    answer: Any = stack.flink.get(f"/jobs/{job_id}/exceptions") or {}
    entries = answer.get("exceptionHistory", {}).get("entries", [])
    return str(entries[0]["stacktrace"])[-3000:] if entries else "failed, and does not say why"


def _watched(
    stack: Stack,
    job: list[psutil.Process],
    group: str,
    events: str,
    check: Callable[[], None],
) -> Watched:
    broker = _found(stack, stack.kafka)
    return Watched(job, broker, stack.kafka.bootstrap, group, events, check)


def _found(stack: Stack, server: Any) -> psutil.Process:
    runs_as = stack.process(server)
    found = None if runs_as is None else runs_as.found()
    if found is None:
        raise RuntimeError(f"{server.name} has ended: {stack.log(server)}")
    return found
