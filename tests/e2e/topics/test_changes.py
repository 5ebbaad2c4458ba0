"""The log of record read from a real broker: what is committed, and nothing else."""

import json
import select
import signal
import subprocess

import msgspec
import pytest
from kafka import KafkaProducer, TopicPartition

from jobs.produce import partition_of
from jobs.read_topic import read_to_end
from schemas.topics import SEGMENT_CHANGES, VIEW_EVENTS
from tests.e2e.topics.calling import COMMAND, segstream
from tests.unit.builders import change

pytestmark = pytest.mark.e2e


class Transactions:
    """A transactional producer of changes."""

    def __init__(self, bootstrap, name):
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=name)
        self._producer.init_transactions()

    def send(self, *values):
        self._producer.begin_transaction()
        for value in values:
            self._producer.send(SEGMENT_CHANGES, value, b"u1").get(30)

    def commit(self, *values):
        self.send(*values)
        self._producer.commit_transaction()

    def abort(self, *values):
        self.send(*values)
        self._producer.abort_transaction()

    def commit_open(self):
        self._producer.commit_transaction()

    def close(self):
        self._producer.close()


@pytest.fixture
def transactions(topics, bootstrap):
    opened = []

    def open_one(name):
        opened.append(Transactions(bootstrap, name))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def encoded(*versions):
    return [msgspec.json.encode(change(version=version)) for version in versions]


def test_aborted_and_open_transactions_are_not_read(transactions, bootstrap):
    assert list(read_to_end(bootstrap, SEGMENT_CHANGES)) == [], "an empty topic has an end"
    first, second = transactions("first"), transactions("second")
    first.abort(*encoded(101, 102))
    first.commit(*encoded(1, 2))
    first.abort(*encoded(103))

    def values(isolation="read_committed"):
        return [record.value for record in read_to_end(bootstrap, SEGMENT_CHANGES, isolation)]

    assert values() == encoded(1, 2), "the topic ends with an aborted record and a marker"
    second.send(*encoded(3))
    first.commit(*encoded(4))
    assert values() == encoded(1, 2), "what follows an open transaction is not committed yet"
    assert values("read_uncommitted") == encoded(101, 102, 1, 2, 103, 3, 4)
    second.commit_open()
    assert values() == encoded(1, 2, 3, 4)


def test_a_topic_whose_beginning_is_gone_is_read_from_where_it_begins(admin, topics, bootstrap):
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        for number in range(10):
            producer.send(VIEW_EVENTS, b"%d" % number, partition=1).get(30)
    admin.delete_records({TopicPartition(VIEW_EVENTS, 1): 7})
    assert [r.value for r in read_to_end(bootstrap, VIEW_EVENTS)] == [b"7", b"8", b"9"]


def test_changes_are_printed_to_the_end_as_it_was(transactions, bootstrap):
    producer = transactions("first")
    other = msgspec.json.encode(change("u2", 1, segment="make=volvo"))
    producer.commit(*encoded(1), b"no change", other, *encoded(2))
    producer.abort(*encoded(3))

    said = segstream("changes", "--bootstrap", bootstrap)
    assert [line for line in said.splitlines() if " change " in line and "enter" in line] == [
        "2026-02-02 02:40:00 UTC  enter  u1  fuel_type=electric  0.625 (5 of 8)  rules 1  change 1",
        "2026-02-02 02:40:00 UTC  enter  u2  make=volvo  0.625 (5 of 8)  rules 1  change 1",
        "2026-02-02 02:40:00 UTC  enter  u1  fuel_type=electric  0.625 (5 of 8)  rules 1  change 2",
    ]
    assert f"unreadable: segment-changes partition {partition_of(b'u1', 3)} offset 1: " in said

    one_user = segstream("changes", "--bootstrap", bootstrap, "--user", "u2", "--json")
    assert other.decode() + "\n" in one_user
    assert '"u1"' not in one_user
    one_segment = segstream("changes", "--bootstrap", bootstrap, "--segment", "make=volvo")
    assert "u2  make=volvo" in one_segment
    assert "electric" not in one_segment
    assert "nothing to print" in segstream("changes", "--from", "end", status=1)


def test_changes_are_followed_through_a_restart_of_the_broker(stack, transactions, bootstrap):
    producer = transactions("first")
    producer.commit(*encoded(1))
    following = subprocess.Popen(
        [*COMMAND, "changes", "--bootstrap", bootstrap, "--follow", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert following.stdout.readline() == encoded(1)[0] + b"\n"
        producer.abort(*encoded(2))
        producer.commit(*encoded(3))
        assert following.stdout.readline() == encoded(3)[0] + b"\n"
        stack.stop(stack.kafka)
        stack.start(stack.kafka)
        producer.commit(*encoded(4))
        assert following.stdout.readline() == encoded(4)[0] + b"\n"
        following.send_signal(signal.SIGINT)
        rest, said = following.communicate(timeout=60)
    finally:
        following.kill()
    assert (rest, said, following.returncode) == (b"", b"", 0)


def test_from_the_end_only_what_comes_is_printed(transactions, bootstrap):
    producer = transactions("first")
    producer.commit(*encoded(1))
    following = subprocess.Popen(
        [*COMMAND, "changes", "--bootstrap", bootstrap, "--follow", "--json", "--from", "end"],
        stdout=subprocess.PIPE,
    )
    try:
        version = 1
        # It does not say when it has found the end, so changes are sent until one is printed.
        while not select.select([following.stdout], [], [], 0.05)[0]:
            version += 1
            producer.commit(*encoded(version))
        printed = json.loads(following.stdout.readline())["version"]
    finally:
        following.kill()
        following.communicate()
    assert 1 < printed <= version
