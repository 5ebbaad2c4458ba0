"""What is true of the writer of the distributed store: clocks, outages, refusals."""

import asyncio
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from contextlib import closing

import msgspec
import psutil
import pytest

from jobs.stores import cassandra_store as cassandra_store_module
from jobs.stores.cassandra_messages import UserSet, WriterSettings
from jobs.stores.cassandra_store import CassandraLocation
from jobs.stores.migrate import migrate
from schemas.locations import CassandraUrl
from schemas.segments import Publication
from tests.contract.stores import SETTINGS, flush_at_last
from tests.unit.builders import publication, user_segments
from udfs.outbox import StoreWriteError

pytestmark = pytest.mark.contract

HOUR_S = 3_600
NOBODY = CassandraUrl(("127.0.0.1",), 1, "contract")


def stored_set(store, user_id="u1"):
    reader = store.reader()
    try:
        return asyncio.run(reader.read(user_id))
    finally:
        asyncio.run(reader.close())


def stored_versions(store, user_id="u1"):
    with store.session() as session:
        rows = session.execute(
            "SELECT version FROM segment_changes WHERE user_id = %s ORDER BY version ASC",
            (user_id,),
        )
        return [version for (version,) in rows]


def user_set(version, change=None):
    """What the writer makes of a publication."""
    current = msgspec.json.encode(user_segments(version=version))
    change = change or publication(version=version).changes[0]
    return UserSet("u1", version, version, current, ((version, msgspec.json.encode(change)),))


# Clocks


def test_a_writer_whose_clock_is_an_hour_slow_still_wins(cassandra_store):
    cassandra_store.write_at(0, user_set(1))
    cassandra_store.write_at(-HOUR_S, user_set(2))
    assert stored_set(cassandra_store) == user_segments(version=2)
    cassandra_store.write_at(-2 * HOUR_S, user_set(3))
    assert stored_set(cassandra_store) == user_segments(version=3)


def test_by_its_slow_clock_alone_it_would_have_lost_unnoticed(cassandra_store):
    cassandra_store.write_at(0, user_set(1))
    slow_us = time.time_ns() // 1_000 - HOUR_S * 1_000_000
    with cassandra_store.session() as session:
        session.execute(
            "INSERT INTO user_segments (user_id, document) VALUES (%s, %s) USING TIMESTAMP %s",
            ("u1", user_set(2).document, slow_us),
        )
    assert stored_set(cassandra_store) == user_segments(version=1)


def test_changes_that_a_replay_decides_otherwise_are_replaced(cassandra_store):
    cassandra_store.write_at(0, user_set(1))
    other = msgspec.structs.replace(publication(version=1).changes[0], segment="fuel_type=diesel")
    cassandra_store.write_at(-HOUR_S, user_set(1, other))
    reader = cassandra_store.reader()
    assert asyncio.run(reader.changes("u1")) == [other]
    asyncio.run(reader.close())


def test_changes_that_a_replay_does_not_decide_at_all_go(cassandra_store):
    cassandra_store.write_at(0, user_set(1), user_set(2), user_set(3))
    assert stored_versions(cassandra_store) == [1, 2, 3]
    cassandra_store.write_at(-HOUR_S, user_set(1), user_set(2))
    assert stored_versions(cassandra_store) == [1, 2]


def test_progress_of_a_slow_clock_is_seen_too(cassandra_store):
    cassandra_store.note_run(1_000)
    with cassandra_store.session() as session:
        session.execute(
            "UPDATE job_progress USING TIMESTAMP %s SET watermark = 2000"
            " WHERE job = 'segstream' AND subtask = 0",
            (time.time_ns() // 1_000 + HOUR_S * 1_000_000,),
        )
    cassandra_store.note_run(3_000)
    reader = cassandra_store.reader()
    assert asyncio.run(reader.progress()).as_of == 3_000
    asyncio.run(reader.close())


def test_a_stored_time_far_in_the_future_is_told_and_counted(cassandra_store, caplog):
    with caplog.at_level(logging.WARNING):
        assert cassandra_store.write_at(HOUR_S + 90, user_set(1)).far_ahead == 0
        assert not caplog.messages
        assert cassandra_store.write_at(0, user_set(2)).far_ahead == 1
    assert re.search("6[01] minutes ahead of this clock", caplog.text)
    assert stored_set(cassandra_store) == user_segments(version=2)


# Outages


def test_a_location_travels_to_where_the_writer_is_opened(cassandra_store):
    location = pickle.loads(pickle.dumps(CassandraLocation(cassandra_store.url, SETTINGS)))
    with closing(location()) as writer:
        writer.send(1, publication())
        writer.flush()
    assert stored_set(cassandra_store) == user_segments()


def test_a_killed_store_loses_nothing_that_its_writers_were_given(cassandra_store):
    stack = cassandra_store.stack
    with closing(cassandra_store.writer()) as writer:
        for number in range(300):
            writer.send(1, publication(f"u{number}"))
        stack.kill(stack.cassandra)
        for number in range(300, 600):
            writer.send(1, publication(f"u{number}"))
        for version in range(2, 5):
            writer.send(version, publication("u7", version=version))
        writer.note_ruleset(9, b"{}")
        with closing(cassandra_store.writer()) as opened_meanwhile:
            opened_meanwhile.send(1, publication("u600"))
            assert opened_meanwhile.stored("u600") == 0
            stack.start(stack.cassandra)
            flush_at_last(opened_meanwhile)
            assert opened_meanwhile.stored("u600") == 1
        flush_at_last(writer)
        tickets = [writer.stored(f"u{number}") for number in range(600)]
    assert tickets[7] == 4
    assert set(tickets) == {1, 4}
    reader = cassandra_store.reader()
    assert asyncio.run(reader.sizes()) == {"fuel_type=electric": 601}
    assert asyncio.run(reader.ruleset(9)) == b"{}"
    asyncio.run(reader.close())
    assert stored_versions(cassandra_store, "u7") == [1, 2, 3, 4]


def test_a_store_that_was_dropped_is_written_again_once_it_is_migrated(cassandra_store):
    with closing(cassandra_store.impatient_writer()) as writer:
        writer.send(1, publication())
        flush_at_last(writer)
        with cassandra_store.session() as session:
            session.execute(f"DROP KEYSPACE {cassandra_store.url.keyspace}")
        for number in range(2, 50):
            writer.send(2, publication(f"u{number}"))
        with pytest.raises(StoreWriteError, match="store migrate"):
            writer.flush()
        migrate(cassandra_store.url, None, print)
        writer.send(3, publication("u1", version=2))
        flush_until_stored(writer, "u1", 3)
    assert stored_set(cassandra_store) == user_segments(version=2)


def flush_until_stored(writer, user_id, ticket):
    until_s = time.monotonic() + 60
    while writer.stored(user_id) != ticket:
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_what_finds_no_room_is_left_to_the_outbox():
    settings = WriterSettings(users_waiting_max=10, flush_wait_s=0.5)
    with closing(CassandraLocation(NOBODY, settings)()) as writer:
        for number in range(25):
            writer.send(1, publication(f"u{number}"))
        with pytest.raises(StoreWriteError, match=r"127\.0\.0\.1:1/contract.*refused"):
            writer.flush()
        assert writer.counts.dropped == 15


def test_a_closed_writer_takes_nothing(cassandra_store):
    writer = cassandra_store.writer()
    writer.close()
    for use in (lambda: writer.send(1, publication()), writer.flush):
        with pytest.raises(StoreWriteError, match="closed"):
            use()


# Refusals


@pytest.mark.parametrize("odd_id", ["", "u" * 70_000])
def test_a_user_whom_the_store_refuses_holds_nobody_up(cassandra_store, odd_id):
    with closing(cassandra_store.writer()) as writer:
        for user_id in ("u1", odd_id, "u2"):
            writer.send(1, publication(user_id))
        with pytest.raises(StoreWriteError, match="1 sets were given up"):
            writer.flush()
        assert [writer.stored(user_id) for user_id in ("u1", odd_id, "u2")] == [1, 0, 1]
        writer.send(2, publication("u1", version=2))
        flush_until_stored(writer, "u1", 2)
    assert stored_set(cassandra_store) == user_segments(version=2)


def test_a_user_with_very_many_changes_is_stored_whole(cassandra_store):
    changes = [c for n in range(1, 1_001) for c in publication(version=n).changes]
    with closing(cassandra_store.writer()) as writer:
        writer.send(1, publication("u2"))
        writer.send(1, Publication(user_segments(version=1_000), tuple(changes)))
        writer.flush()
        assert writer.counts.failures == 0
    assert stored_versions(cassandra_store) == list(range(1, 1_001))


# The process


def test_a_process_that_ends_by_itself_fails_the_operator():
    with closing(CassandraLocation(NOBODY)()) as writer:
        os.kill(writer.pid, signal.SIGKILL)
        psutil.Process(writer.pid).wait(60)
        for use in (lambda: writer.send(1, publication()), lambda: writer.stored("u1")):
            with pytest.raises(StoreWriteError, match="the store process ended"):
                use()


OPEN_AND_WAIT = """
import sys
from tests.contract.test_cassandra_writer import NOBODY, CassandraLocation
print(CassandraLocation(NOBODY)().pid, flush=True)
sys.stdin.read()
"""


def test_no_process_outlives_an_operator_that_was_killed():
    with subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as operator:
        process = psutil.Process(int(operator.stdout.readline()))
        operator.kill()
        process.wait(60)


def test_what_the_process_cannot_take_in_is_left_to_the_outbox_without_waiting(monkeypatch):
    monkeypatch.setattr(cassandra_store_module, "KEPT_BYTES_MAX", 100_000)
    with closing(CassandraLocation(NOBODY)()) as writer:
        os.kill(writer.pid, signal.SIGSTOP)
        for number in range(10_000):
            writer.send(1, publication(f"u{number}"))
        assert writer.stored("u1") == 0
        os.kill(writer.pid, signal.SIGKILL)
