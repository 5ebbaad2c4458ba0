"""A TaskManager dies before what it wrote was kept, and the replay decides otherwise."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.changes import Change
from schemas.segments import UserSegments
from stack.servers import Stack
from tests.e2e.cluster import READY_WITHIN_S, REPLAY, command
from tests.e2e.cluster_log import Held, Part, closing, event_time_after, expected, sliced
from tests.e2e.cluster_results import held_of, inconsistencies, results, settle, stored_sets
from tests.e2e.cluster_waiting import wait_until
from tests.e2e.test_cluster_equals_recount import USED_CARS

pytestmark = pytest.mark.e2e


def thresholds(version, share):
    """The demo's rules without hysteresis: what they decide does not depend on the way there."""
    rules = [{**rule, "enter": share, "leave": share} for rule in USED_CARS["rules"]]
    return {**USED_CARS, "version": version, "rules": rules}


FIRST, SECOND = thresholds(1, 0.4), thresholds(2, 0.7)


@contextmanager
def frozen_cassandra(stack: Stack) -> Iterator[None]:
    """Cassandra takes what is sent and answers nothing."""
    pid = stack.process(stack.cassandra).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_rows_of_an_attempt_that_was_lost_are_written_over(cluster):
    now_ms = int(time.time() * 1000)
    path = cluster.folder / "log.jsonl"
    command("generate", "--out", path, "--events", 30_000, "--users", 2_000, "--days", 30)
    log = Part(path)
    last, end_ms = closing(cluster.folder, [log], now_ms)
    kept, lost, unacknowledged, after = sliced(log, cluster.folder, 4)
    stack, flink = cluster.stack, cluster.flink

    job_id = cluster.submit(FIRST, *REPLAY, "--checkpoint-interval", "1h")
    cluster.produce(kept)
    await_event_time(cluster, [kept], now_ms)
    flink.checkpoint(job_id)
    cluster.produce(lost)
    await_event_time(cluster, [kept, lost], now_ms)
    written = stored_sets(cluster)
    with frozen_cassandra(stack):
        read = flink.tracked(job_id)
        cluster.produce(unacknowledged)
        wait_until(lambda: flink.tracked(job_id) > read + 3_000, "sets wait for the store")
        cluster.publish(SECOND)
        stack.kill(stack.task_managers[0])
    stack.start(stack.task_managers[0], within_s=READY_WITHIN_S)
    wait_until(lambda: flink.restarted_at(job_id) > 0, "the loss is noticed")
    wait_until(lambda: {n.ruleset_version for n in cluster.progress()} == {2}, "rules 2 decide")
    cluster.produce(after)
    cluster.produce(last)
    settle(cluster, job_id, end_ms)

    wanted = expected(SECOND, (log, last), end_ms, now_ms)
    wait_until(lambda: differing(cluster, wanted.sets) == [], "every set is by rules 2")
    found = results(cluster, wanted.sets)
    dirty = never_committed(written, found.changes)
    print(f"{len(dirty)} of {len(written)} rows of the lost attempt never were")
    assert dirty
    assert inconsistencies(found) == {}


def await_event_time(cluster, parts, now_ms):
    """Wait until these parts have been decided and their sets are in the store."""
    read_ms = event_time_after(parts, now_ms)
    wait_until(lambda: cluster.event_time_ms() >= read_ms, "the parts are decided")


def differing(cluster, wanted: dict[str, Held]) -> list[str]:
    """Users whose set is not the one wanted, whenever it began."""
    stored = stored_sets(cluster)
    return [
        user
        for user, held in wanted.items()
        if without_since(held_of(stored[user])) != without_since(held)
    ]


def without_since(held: Held) -> dict[str, tuple[float, int]]:
    return {segment: (score, until_ms) for segment, (score, _, until_ms) in held.items()}


def never_committed(written: dict[str, UserSegments], changes: list[Change]) -> list[str]:
    """Users who had a membership in the store that the log of record knows nothing of."""
    entered = {(c.user_id, c.segment, c.at) for c in changes if c.change == "enter"}
    return [
        user
        for user, stored in written.items()
        if any((user, one.segment, one.since) not in entered for one in stored.segments)
    ]
