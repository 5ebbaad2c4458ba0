"""A store that was emptied, or is ahead of the job's state, is made right by one command."""

import time

import msgspec
import pytest

from schemas.segments import Segment, UserSegments
from tests.e2e.cluster import REPLAY, command
from tests.e2e.cluster_log import PARTITIONS, Part, closing, expected
from tests.e2e.cluster_results import await_sets, differences, results, settle, stored_sets
from tests.e2e.cluster_waiting import wait_until
from tests.e2e.test_cluster_equals_recount import USED_CARS

pytestmark = pytest.mark.e2e

HOUR_US = 3_600_000_000
NOBODY = "nobody-the-job-knows"


def test_the_store_is_rebuilt_from_the_jobs_state(cluster):
    now_ms = int(time.time() * 1000)
    log = Part(cluster.folder / "log.jsonl")
    command("generate", "--out", log.path, "--events", 10_000, "--users", 600, "--days", 30)
    last, end_ms = closing(cluster.folder, [log], now_ms)
    wanted = expected(USED_CARS, (log, last), end_ms, now_ms)
    job_id = cluster.submit(USED_CARS, *REPLAY)
    for part in (log, last):
        cluster.produce(part)
    settle(cluster, job_id, end_ms)
    await_sets(cluster, wanted.sets)

    for table in ("user_segments", "segment_changes"):
        cluster.rows(f"TRUNCATE {cluster.keyspace}.{table}")
    rebuild(cluster)
    assert differences(results(cluster, wanted.sets), wanted) == {}

    savepoint = cluster.flink.stop_with_savepoint(job_id, cluster.folder)
    told_ms = cluster.told_at_ms()
    ahead = [user for user, held in wanted.sets.items() if held][:3]
    for user in (*ahead, NOBODY):
        write_ahead(cluster, user)
    cluster.submit(USED_CARS, *REPLAY, "--savepoint", savepoint)
    rebuild(cluster)
    # A savepoint does not hold how far event time had come: events do, and here they are copies.
    cluster.produce(ending(last))
    wait_until(lambda: cluster.told_at_ms() > told_ms, "the job tells its progress")
    assert differences(results(cluster, wanted.sets), wanted) == {}
    assert stored_sets(cluster)[NOBODY].segments == ()


def ending(last):
    """The events that ended the log, one a partition, once more."""
    path = last.path.with_name("ending.jsonl")
    path.write_bytes(b"".join(last.path.read_bytes().splitlines(keepends=True)[-PARTITIONS:]))
    return Part(path)


def rebuild(cluster):
    command("store", "rebuild", "--store", cluster.store, "--bootstrap", cluster.bootstrap)


def write_ahead(cluster, user):
    """Put a set into the store that is not the job's, an hour ahead of every clock."""
    wrong = Segment(
        segment="fuel_type=steam", score=1.0, since=1, valid_until=2**62, matching=1, views=1
    )
    stored = UserSegments(
        user_id=user, version=99, ruleset_version=1, as_of=2**61, segments=(wrong,)
    )
    cluster.rows(
        f"INSERT INTO {cluster.keyspace}.user_segments (user_id, document) VALUES (%s, %s)"
        " USING TIMESTAMP %s",
        user,
        msgspec.json.encode(stored),
        time.time_ns() // 1_000 + HOUR_US,
    )
