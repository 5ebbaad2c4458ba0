"""The real stack: every server does its work, comes back after a kill, and goes without a trace."""

import os
import signal
import socket
from itertools import islice
from pathlib import Path

import psutil
import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from stack.servers import Stack, StackSpec, up
from tests.e2e.comparison import segstream

pytestmark = pytest.mark.e2e

TOPIC = "tried"


def stack_command(*arguments, fails=False):
    """Call the command as a user does; its output, both streams."""
    return segstream("stack", *arguments, fails=fails)


@pytest.fixture
def folder(tmp_path):
    """Where a test may have a stack; whatever happens, none of its processes outlives the test."""
    place = tmp_path / "stack"
    yield place
    if place.exists():
        stack_command("down", "--folder", place)


def addresses(said):
    """What `up` prints for other commands: option to address."""
    return dict(line.split() for line in said.splitlines() if line.startswith("--"))


def pids(folder):
    """Each running server's pid, by name."""
    stack = Stack(folder)
    running = {server.name: stack.process(server) for server in stack.servers}
    return {name: process.pid for name, process in running.items() if process is not None}


def processes_of(folder):
    """Every process of this machine that was started for the folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(str(folder) in argument for argument in process.info["cmdline"] or ())
    ]


def create_topic(bootstrap):
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])


def produce(bootstrap, value):
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    try:
        producer.send(TOPIC, value).get(timeout=30)
    finally:
        producer.close()


def consume(bootstrap, count):
    """The first records of the topic; fewer if they do not come within half a minute."""
    consumer = KafkaConsumer(
        TOPIC,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=30_000,
    )
    try:
        return [record.value for record in islice(consumer, count)]
    finally:
        consumer.close()


def cql(store, *statements):
    """Run statements one after the other; the rows of the last."""
    host, _, port = store.removeprefix("cassandra://").partition("/")[0].partition(":")
    profile = ExecutionProfile(DCAwareRoundRobinPolicy("datacenter1"), request_timeout=30)
    cluster = Cluster(
        [host],
        port=int(port),
        protocol_version=5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    try:
        session = cluster.connect()
        rows = [list(session.execute(statement)) for statement in statements]
        return [tuple(row) for row in rows[-1]]
    finally:
        cluster.shutdown()


def test_servers_work_come_back_with_their_data_and_leave_nothing(folder):
    at = addresses(stack_command("up", "--folder", folder, "--task-managers", 2))
    create_topic(at["--bootstrap"])
    produce(at["--bootstrap"], b"before the kill")
    cql(
        at["--store"],
        "CREATE KEYSPACE tried WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}",
        "CREATE TABLE tried.users (user_id text PRIMARY KEY)",
        "INSERT INTO tried.users (user_id) VALUES ('u1')",
    )
    flink = Stack(folder).flink
    assert at["--flink"] == flink.rest
    assert flink.get("/overview")["slots-total"] == 2

    before = pids(folder)
    assert len(before) == 5
    for name in ("task-manager-2", "kafka"):
        os.kill(before[name], signal.SIGKILL)
    while pids(folder).keys() & {"task-manager-2", "kafka"}:
        pass
    shown = stack_command("status", "--folder", folder)
    states = {line.split()[0]: line.split()[1] for line in shown.splitlines()[1:]}
    assert {name for name, state in states.items() if state == "dead"} == {
        "task-manager-2",
        "kafka",
    }

    assert addresses(stack_command("up", "--folder", folder)) == at
    after = pids(folder)
    assert {name for name in before if before[name] != after[name]} == {"task-manager-2", "kafka"}
    produce(at["--bootstrap"], b"after it")
    assert consume(at["--bootstrap"], 2) == [b"before the kill", b"after it"]
    assert cql(at["--store"], "SELECT user_id FROM tried.users") == [("u1",)]
    registered = flink.get("/taskmanagers")["taskmanagers"]
    assert {one["id"]: one["slotsNumber"] for one in registered} == {
        "task-manager-1": 1,
        "task-manager-2": 1,
    }

    assert set(after.values()) <= set(processes_of(folder))
    stack_command("down", "--folder", folder)
    assert processes_of(folder) == []
    assert not folder.exists()


def test_stacks_stand_side_by_side_and_end_with_their_block(tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]

    def bring_up_both():
        specs = [StackSpec(folder, parts=("kafka",)) for folder in folders]
        with up(specs[0]) as one, up(specs[1]) as other:
            create_topic(one.kafka.bootstrap)
            with KafkaAdminClient(bootstrap_servers=other.kafka.bootstrap) as admin:
                assert TOPIC not in admin.list_topics()
            other.stop(other.kafka)
            assert other.process(other.kafka) is None
            produce(one.kafka.bootstrap, b"still here")
            other.start(other.kafka)
            create_topic(other.kafka.bootstrap)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring_up_both()
    assert [processes_of(folder) for folder in folders] == [[], []]
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_cannot_start_names_its_log_and_ends_the_others(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = stack_command(
            *("up", "--folder", folder, "--only", "kafka,cassandra", "--kafka-port", port),
            fails=True,
        )
    log = folder / "logs" / "kafka.log"
    assert f"kafka ended. Its log is {log}" in said
    assert "Address already in use" in said
    assert "Address already in use" in Path(log).read_text()
    assert processes_of(folder) == []


def test_a_server_that_is_not_ready_in_time_names_its_log_and_is_stopped(folder):
    said = stack_command(
        *("up", "--folder", folder, "--only", "cassandra", "--timeout-s", 1), fails=True
    )
    log = folder / "logs" / "cassandra.log"
    assert f"cassandra was not ready within 1 s. Its log is {log}" in said
    assert processes_of(folder) == []
