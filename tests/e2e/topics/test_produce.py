"""Logs produced to a real broker: every line there, once and in order, whatever happens to it."""

import gzip
import json
import signal
import subprocess
import time
from collections import Counter, defaultdict

import pytest
from kafka import KafkaConsumer, TopicPartition

from jobs.generate import Shares, generate_log
from jobs.produce import partition_of
from jobs.read_topic import read_to_end
from schemas.topics import VIEW_EVENTS
from tests.e2e.topics.calling import (
    COMMAND,
    NOW_MS,
    by_user,
    event_line,
    segstream,
    wait_until,
    write_log,
)

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_every_line_becomes_a_record_byte_for_byte_keyed_by_its_user(
    tmp_path, topics, bootstrap, name
):
    path = tmp_path / name
    generate_log(path, 3_000, 200, 5, NOW_MS, 7, Shares(0.05, 0.1, 0.01, 0.05))
    content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    lines = [*content.split(b"\n")[:-1], b"", b"\xff\xfe\x00", event_line(1) + b"\r"]
    write_log(path, lines)
    before_ms = int(time.time() * 1000)

    said = segstream("produce", "--bootstrap", bootstrap, "--events", path)

    assert f"{len(lines):,} sent, {len(lines):,} acknowledged" in said
    records = list(read_to_end(bootstrap, VIEW_EVENTS))
    assert Counter(record.value for record in records) == Counter(lines)
    expected = defaultdict(list)
    for line in lines:
        try:
            user_id = json.loads(line)["user_id"]
        except (ValueError, TypeError, KeyError):
            user_id = None
        usable = isinstance(user_id, str) and user_id
        expected[user_id.encode() if usable else None].append(line)
    keyless = expected.pop(None)
    sent = by_user(records)
    assert Counter(sent.pop(None)) == Counter(keyless)
    assert sent == expected, "each user's lines are in the order of the log"
    assert all(r.partition == partition_of(r.key, 3) for r in records if r.key is not None)
    assert {r.partition for r in records} == {0, 1, 2}
    assert all(r.timestamp_ms >= before_ms for r in records), "the time is the broker's"


def test_a_foreign_log_is_mapped_limited_and_moved_to_now(tmp_path, topics, bootstrap):
    foreign = [
        b'{"event_id":"e1","user_id":"u1","ts":1200000000000,"fuel":"ev"}',
        b"not an event",
        b'{"event_id":"e2","user_id":"u2","ts":1200000090000,"fuel":"ev"}',
        b'{"event_id":"e3","user_id":"u3","ts":1200000060000,"fuel":"ev"}',
    ]
    path = write_log(tmp_path / "foreign.jsonl", foreign)
    began_ms = int(time.time() * 1000)
    segstream(
        *("produce", "--bootstrap", bootstrap, "--events", path, "--limit", 3),
        *("--map", "ts=occurred_at,fuel=attributes.fuel", "--default", "type=view"),
        *("--time-shift", "now"),
    )
    sent = by_user(read_to_end(bootstrap, VIEW_EVENTS))
    assert sent.pop(None) == [b"not an event"]
    assert sent.keys() == {b"u1", b"u2"}
    first, last = (json.loads(sent[user][0]) for user in (b"u1", b"u2"))
    assert began_ms <= last["occurred_at"] <= int(time.time() * 1000)
    assert last["occurred_at"] - first["occurred_at"] == 90_000
    assert (first["type"], first["attributes"]) == ("view", {"fuel": "ev"})


def test_nothing_is_lost_doubled_or_reordered_when_the_broker_dies(
    tmp_path, stack, topics, bootstrap
):
    lines = [event_line(number, f"u{number % 50}") for number in range(20_000)]
    path = write_log(tmp_path / "log.jsonl", lines)
    producing = subprocess.Popen(
        [*COMMAND, "produce", "--bootstrap", bootstrap, "--events", path, "--rate", "2000"],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: record_count(bootstrap) > 2_000)
    stack.kill(stack.kafka)
    stack.start(stack.kafka)
    _, said = producing.communicate(timeout=300)

    assert "20,000 sent, 20,000 acknowledged" in said
    assert producing.returncode == 0, said
    expected = defaultdict(list)
    for number, line in enumerate(lines):
        expected[f"u{number % 50}".encode()].append(line)
    assert by_user(read_to_end(bootstrap, VIEW_EVENTS)) == expected


def record_count(bootstrap):
    with KafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        partitions = [TopicPartition(VIEW_EVENTS, number) for number in range(3)]
        return sum(consumer.end_offsets(partitions).values())


def test_ctrl_c_ends_the_sending_once_what_was_sent_is_acknowledged(tmp_path, topics, bootstrap):
    path = write_log(tmp_path / "log.jsonl", [event_line(number) for number in range(100_000)])
    producing = subprocess.Popen(
        [*COMMAND, "produce", "--bootstrap", bootstrap, "--events", path, "--rate", "1000"],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: record_count(bootstrap) > 500)
    producing.send_signal(signal.SIGINT)
    _, said = producing.communicate(timeout=60)
    assert producing.returncode == 1
    count = record_count(bootstrap)
    assert f"{count:,} sent, {count:,} acknowledged" in said
    assert f"stopped after {count:,} lines of the log" in said


def test_what_precedes_damage_in_a_log_is_acknowledged_before_it_is_told(
    tmp_path, topics, bootstrap
):
    path = write_log(tmp_path / "log.gz", [event_line(number) for number in range(20_000)])
    path.write_bytes(path.read_bytes()[:-100])
    said = segstream("produce", "--bootstrap", bootstrap, "--events", path, status=1)
    assert "log.gz: Compressed file ended" in said
    count = record_count(bootstrap)
    assert count > 15_000
    assert f"{count:,} lines before it, {count:,} acknowledged" in said


def test_a_line_that_no_record_can_hold_is_told(tmp_path, topics, bootstrap):
    lines = [event_line(1), event_line(2, note="x" * 2_000_000), event_line(3)]
    path = write_log(tmp_path / "log.jsonl", lines)
    said = segstream("produce", "--bootstrap", bootstrap, "--events", path, status=1)
    assert "2 sent, 2 acknowledged" in said
    assert "1 lines are larger than a record may be: not sent" in said
    sent = by_user(read_to_end(bootstrap, VIEW_EVENTS))
    assert sent == {b"u1": [lines[0], lines[2]]}
