"""Servers die, a release is replaced: nothing is lost or doubled, and lookups are answered."""

import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from tests.e2e.cluster import READY_WITHIN_S, REPLAY, RunningCluster, command
from tests.e2e.cluster_log import Part, closing, expected, sliced
from tests.e2e.cluster_poller import Poller
from tests.e2e.cluster_results import (
    Results,
    await_sets,
    differences,
    rejects,
    results,
    settle,
)
from tests.e2e.cluster_waiting import wait_until
from tests.e2e.cluster_wheel import Edit, changed_wheel
from tests.e2e.test_cluster_equals_recount import USED_CARS

pytestmark = pytest.mark.e2e

SLICE_S = 15
POLLED_USERS = 20


class Scene(NamedTuple):
    """A job while a log is produced and lookups are asked."""

    cluster: RunningCluster
    job_id: str
    poller: Poller


# What happens in a scene; the id of the job that goes on.
Event = Callable[[Scene], str]


def kill_a_task_manager(scene: Scene) -> str:
    stack, flink = scene.cluster.stack, scene.cluster.flink
    before = flink.restarted_at(scene.job_id)
    stack.kill(stack.task_managers[0])
    stack.start(stack.task_managers[0], within_s=READY_WITHIN_S)
    wait_until(lambda: flink.restarted_at(scene.job_id) > before, "the loss is noticed")
    return scene.job_id


def stop_kafka(seconds: float) -> Event:
    def happen(scene: Scene) -> str:
        stack = scene.cluster.stack
        stack.stop(stack.kafka)
        stay_away(scene, seconds)
        stack.start(stack.kafka, within_s=READY_WITHIN_S)
        return scene.job_id

    return happen


def kill_cassandra(seconds: float) -> Event:
    def happen(scene: Scene) -> str:
        stack, stale = scene.cluster.stack, scene.poller.answers["store"]
        stack.kill(stack.cassandra)
        stay_away(scene, seconds)
        assert scene.poller.answers["store"] > stale
        stack.start(stack.cassandra, within_s=READY_WITHIN_S)
        return scene.job_id

    return happen


def stay_away(scene: Scene, seconds: float) -> None:
    """A server is away for so long, and longer until every user was asked for meanwhile."""
    until, answers = time.monotonic() + seconds, scene.poller.answers.total()
    wait_until(
        lambda: time.monotonic() > until and scene.poller.has_asked_since(answers),
        f"{seconds} s and all lookups without a server",
    )


def next_release(number: int) -> Event:
    """Stop with a savepoint, and go on from it with other code and another query."""

    def happen(scene: Scene) -> str:
        cluster = scene.cluster
        folder = cluster.folder / f"release-{number}"
        column = f"column_{number}"
        wheel = changed_wheel(
            folder,
            Edit(
                "jobs/kafka.py",
                "    appended ",
                f"    {column} STRING METADATA FROM 'timestamp-type' VIRTUAL,\n    appended ",
            ),
            Edit("jobs/kafka.py", "FROM {table})", f"FROM {{table}} WHERE {column} <> '')"),
            Edit("udfs/intake.py", "is before the year 2000", f"is absurd to release {number}"),
            # A module that is compiled where there is a compiler.
            Edit("udfs/canonical.py", "is not a number", f"is no number to release {number}"),
        )
        savepoint = cluster.flink.stop_with_savepoint(scene.job_id, folder)
        job_id = cluster.submit(USED_CARS, *REPLAY, "--savepoint", savepoint, "--wheel", wheel)
        assert column in cluster.flink.plan(job_id)
        return job_id

    return happen


def play(cluster: RunningCluster, log: Part, events: Sequence[Event]) -> Results:
    """Let each happen while its slice of a log is produced, and hold the end to the recount."""
    now_ms = int(time.time() * 1000)
    last, end_ms = closing(cluster.folder, [log], now_ms)
    wanted = expected(USED_CARS, (log, last), end_ms, now_ms)
    users = [user for user, held in wanted.sets.items() if held][:POLLED_USERS]
    job_id = cluster.submit(USED_CARS, *REPLAY)
    with cluster.serving() as url, Poller(url, users) as poller:
        *parts, rest = sliced(log, cluster.folder, len(events) + 1)
        for part, happen in zip(parts, events, strict=True):
            come_ms = cluster.event_time_ms()
            with cluster.producing(part, SLICE_S):
                wait_until(lambda c=come_ms: cluster.event_time_ms() > c, "events are decided")
                job_id = happen(Scene(cluster, job_id, poller))
            wait_until(lambda j=job_id: cluster.flink.runs(j), "the job runs")
        cluster.produce(rest)
        cluster.produce(last)
        settle(cluster, job_id, end_ms)
        await_sets(cluster, wanted.sets)
    print(f"{poller.answers.total()} lookups, {poller.stale_share:.0%} stale: {poller.answers}")
    assert poller.failures == []
    found = results(cluster, wanted.sets)
    assert differences(found, wanted) == {}
    assert len(found.changes) > 1_000
    return found


@pytest.fixture
def log(cluster):
    path = cluster.folder / "log.jsonl"
    command("generate", "--out", path, "--events", 40_000, "--users", 2_000, "--days", 30)
    return Part(path)


def test_one_server_after_another_fails_and_the_release_changes(cluster, log):
    found = play(
        cluster, log, (kill_a_task_manager, stop_kafka(8), kill_cassandra(10), next_release(2))
    )
    assert told_by_release(found, 2)
    await_word_of(cluster, 2)


@pytest.mark.full
@pytest.mark.parametrize(
    "happen",
    [kill_a_task_manager, stop_kafka(30), kill_cassandra(60)],
    ids=["TaskManager killed", "Kafka stopped 30 s", "Cassandra killed 60 s"],
)
def test_one_failure(cluster, log, happen):
    play(cluster, log, (happen,))


@pytest.mark.full
def test_releases_that_follow_each_other(cluster, log):
    found = play(cluster, log, (next_release(2), next_release(3)))
    assert told_by_release(found, 2)
    assert told_by_release(found, 3)
    await_word_of(cluster, 3)


def told_by_release(found: Results, number: int) -> bool:
    """Whether a release's own code has judged anything of the log."""
    return any(f"absurd to release {number}" in reject.detail for reject in found.rejects)


def await_word_of(cluster: RunningCluster, number: int) -> None:
    """Have the running job judge something that a compiled module does."""
    price = Part(cluster.folder / f"price-{number}.jsonl")
    event = {
        "event_id": "price",
        "user_id": "u1",
        "type": "view",
        "occurred_at": 1_767_571_200_000,
        "attributes": {"price": "cheap"},
    }
    price.path.write_text(json.dumps(event) + "\n")
    cluster.produce(price)
    told = f"no number to release {number}"
    wait_until(lambda: any(told in r.detail for r in rejects(cluster)), "its own code runs")
