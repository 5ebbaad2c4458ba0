"""A job on real servers as the end-to-end tests use it: commands called as a user calls them."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy
from kafka import KafkaAdminClient

from schemas.topics import TOPICS
from stack.servers import Stack
from tests.e2e.cluster_flink import FlinkCluster
from tests.e2e.cluster_log import PARTITIONS, Part
from tests.e2e.cluster_waiting import wait_until

PARALLELISM = 2
READY_WITHIN_S = 400.0
# How a job is submitted that replays history.
REPLAY = ("--clock", "events")

_JOB_ID = re.compile(r"^[0-9a-f]{32}$", re.MULTILINE)
_SERVES = re.compile(r"running on (http://[\d.]+:\d+)")


def arguments_of(*arguments: object) -> list[str]:
    """How a command is called."""
    return [sys.executable, "-m", "segstream", *map(str, arguments)]


def command(*arguments: object) -> str:
    """Call a command; what it prints to its output."""
    done = subprocess.run(
        arguments_of(*arguments), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class RunningCluster:
    """A stack with empty topics and an empty keyspace, and what is asked of a job there."""

    def __init__(self, stack: Stack, folder: Path, keyspace: str) -> None:
        self.stack = stack
        self.folder = folder
        self.keyspace = keyspace
        self.bootstrap = stack.kafka.bootstrap
        self.store = stack.cassandra.store(keyspace)
        self.flink = FlinkCluster(stack.flink.rest)
        self._driver = _driver(stack.cassandra.port)
        self._session: Session = self._driver.connect()

    def prepare(self) -> None:
        """Empty the topics and make the keyspace."""
        names = [topic.name for topic in TOPICS]
        with KafkaAdminClient(bootstrap_servers=self.bootstrap) as admin:
            old = set(names) & set(admin.list_topics())
            if old:
                admin.delete_topics(sorted(old))
            wait_until(lambda: not set(names) & set(admin.list_topics()), "the topics are gone")
        at = ("--bootstrap", self.bootstrap, "--partitions", PARTITIONS)
        command("topics", "create", *at)
        self.rows(f"DROP KEYSPACE IF EXISTS {self.keyspace}")
        command("store", "migrate", "--store", self.store)

    def close(self) -> None:
        """Cancel what still runs and let go of the store."""
        for job_id in self.flink.jobs():
            self.flink.cancel(job_id)
        self._driver.shutdown()

    def rows(self, question: str, *values: object) -> list[Any]:
        """What the store answers; each `%s` in the question stands for a value."""
        return list(self._session.execute(question, values or None, timeout=30))

    def submit(self, ruleset: dict[str, Any], *options: object) -> str:
        """Submit the job; its id."""
        rules = self._written(ruleset)
        said = command(
            *("submit", "--ruleset", rules, "--store", self.store),
            *("--flink", self.stack.flink.rest, "--bootstrap", self.bootstrap),
            *("--parallelism", PARALLELISM, *options),
        )
        return str(_JOB_ID.findall(said)[-1])

    def publish(self, ruleset: dict[str, Any]) -> None:
        """Publish a rule set."""
        command("rules", "publish", self._written(ruleset), "--bootstrap", self.bootstrap)

    def produce(self, part: Part) -> None:
        """Produce a part of the log to its end."""
        command(*self._produces(part))

    @contextmanager
    def producing(self, part: Part, seconds: float) -> Iterator[None]:
        """Produce a part of the log meanwhile, over so many seconds; then wait for its end."""
        with part.path.open("rb") as log:
            rate = sum(1 for _ in log) / seconds
        with self._beside(*self._produces(part), "--rate", rate) as (producer, said):
            yield
            assert producer.wait(timeout=900) == 0, said.read_text()

    @contextmanager
    def serving(self, *options: object) -> Iterator[str]:
        """Serve lookups meanwhile; the server's URL."""
        wanted = ("serve", "--store", self.store, "--port", 0, *options)
        with self._beside(*wanted) as (server, said):
            serves = wait_until(lambda: _SERVES.search(said.read_text()), "lookups are served")
            yield serves[1]
            assert server.poll() is None, said.read_text()

    def progress(self) -> list[Any]:
        """What each subtask last said of how far it has come."""
        return self.rows(
            "SELECT subtask, watermark, ruleset_version, written_at"
            f" FROM {self.keyspace}.job_progress WHERE job = 'segstream'"
        )

    def event_time_ms(self) -> int:
        """How far event time has come in all subtasks; 0 before all have said so."""
        notes = self.progress()
        return min(n.watermark for n in notes) if len(notes) == PARALLELISM else 0

    def told_at_ms(self) -> int:
        """When all subtasks had last told their progress, by their clocks."""
        return min((n.written_at for n in self.progress()), default=0)

    @contextmanager
    def _beside(self, *wanted: object) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """Run a command beside the test: its process, and the file with what it prints."""
        said = self.folder / f"{wanted[0]}-{time.monotonic_ns()}.log"
        with said.open("wb") as out:
            process = subprocess.Popen(arguments_of(*wanted), stdout=out, stderr=subprocess.STDOUT)
        try:
            yield process, said
        finally:
            process.terminate()
            process.wait(timeout=60)

    def _produces(self, part: Part) -> tuple[object, ...]:
        return ("produce", "--events", part.path, "--bootstrap", self.bootstrap, *part.options)

    def _written(self, ruleset: dict[str, Any]) -> Path:
        file = self.folder / f"ruleset-{ruleset['version']}.json"
        file.write_text(json.dumps(ruleset))
        return file


def _driver(port: int) -> Cluster:
    profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy("datacenter1"))
    return Cluster(
        ["127.0.0.1"],
        port=port,
        protocol_version=4,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(1.0, None),
    )
