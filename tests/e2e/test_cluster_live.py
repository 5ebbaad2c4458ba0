"""A job that goes by the wall clock: people leave on time although nothing comes any more."""

import json

import httpx
import msgspec
import pytest

from jobs.read_topic import read_to_end
from schemas.changes import decode_change
from schemas.events import Event
from schemas.topics import VIEW_EVENTS
from tests.e2e.cluster import command
from tests.e2e.cluster_log import Part
from tests.e2e.cluster_waiting import wait_until

pytestmark = pytest.mark.e2e

PANE_MS = 1_000
PANES = 60


def rules(version, min_views):
    """A minute's window in panes of a second."""
    rule = {
        "id": "fuel",
        "kind": "share",
        "for_each": "fuel",
        "event_types": ["view"],
        "enter": 0.5,
        "leave": 0.5,
        "min_views": min_views,
    }
    return {
        "version": version,
        "window": f"{PANES}s",
        "pane": "1s",
        "attributes": {"fuel": {"type": "category"}},
        "rules": [rule],
    }


@pytest.fixture
def live(cluster):
    """The job, and lookups that notice within seconds when it ends."""
    job_id = cluster.submit(
        rules(1, min_views=3),
        *("--disorder", "5s", "--idle", "5s", "--checkpoint-interval", "1s"),
    )
    with cluster.serving("--job-dead-after", "10s") as url, httpx.Client(base_url=url) as client:

        def look_up(user):
            answer = client.get(f"/v1/users/{user}/segments", timeout=30)
            assert answer.status_code == 200, answer.text
            return answer.json()

        wait_until(lambda: knows(client, "u1"), "lookups answer")
        yield cluster, job_id, look_up


def knows(client, user):
    return client.get(f"/v1/users/{user}/segments", timeout=30).status_code == 200


def test_time_goes_on_rules_change_and_a_dead_job_is_told(live):
    cluster, job_id, look_up = live
    view(cluster, "u1", 3)
    wait_until(lambda: segments(look_up("u1")) == ["fuel=electric"], "u1 is in")

    # From here on nothing comes, and event time goes on all the same.
    seen = []
    wait_until(lambda: moved(cluster, seen), "progress moves")
    wait_until(lambda: segments(look_up("u1")) == [], "u1 has left")
    enter, leave = wait_until(lambda: committed(cluster, 2), "both changes are committed")
    first = min(event.occurred_at for event in sent(cluster))
    assert (enter.change, leave.change) == ("enter", "leave")
    assert leave.at == (first // PANE_MS + PANES) * PANE_MS
    assert look_up("u1")["version"] == 2

    cluster.publish(rules(2, min_views=1))
    wait_until(lambda: {n.ruleset_version for n in cluster.progress()} == {2}, "rules 2 decide")
    view(cluster, "u2", 1)
    wait_until(lambda: segments(look_up("u2")) == ["fuel=electric"], "one view is enough for u2")
    change = wait_until(lambda: committed(cluster, 3), "the change is committed")[-1]
    assert (change.user_id, change.ruleset_version) == ("u2", 2)
    assert cluster.flink.restarted_at(job_id) == 0

    assert look_up("u2")["stale_reason"] is None
    cluster.flink.cancel(job_id)
    wait_until(lambda: look_up("u1")["stale_reason"] == "job", "the job's end is told")
    assert look_up("u2")["stale"] is True


def view(cluster, user, times):
    """Have a user look at electric cars just now."""
    events = [
        {
            "event_id": f"{user}-{number}",
            "user_id": user,
            "type": "view",
            "occurred_at": 1_700_000_000_000 + number,
            "attributes": {"fuel": "electric"},
        }
        for number in range(times)
    ]
    path = cluster.folder / f"{user}.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    cluster.produce(Part(path, ("--time-shift", "now")))


def sent(cluster):
    """The events as they were produced."""
    records = read_to_end(cluster.bootstrap, VIEW_EVENTS)
    return [msgspec.json.decode(record.value, type=Event) for record in records]


def segments(answer):
    return [one["segment"] for one in answer["segments"]]


def moved(cluster, seen):
    """Whether event time was seen to move on five times in every subtask."""
    watermarks = {note.subtask: note.watermark for note in cluster.progress()}
    if len(watermarks) == 2 and (not seen or all(watermarks[s] > seen[-1][s] for s in watermarks)):
        seen.append(watermarks)
    return len(seen) == 5


def committed(cluster, count):
    """All changes, once there are so many."""
    said = command("changes", "--bootstrap", cluster.bootstrap, "--json")
    changes = [decode_change(line.encode()) for line in said.splitlines()]
    return changes if len(changes) >= count else []
