"""What came of a log on a cluster, read as users read it and held to the recount."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import httpx
import msgspec
from kafka import TopicPartition

from jobs.kafka_clients import open_consumer
from jobs.read_topic import read_to_end
from schemas.changes import Change, decode_change
from schemas.outputs import LateEvent, Reject
from schemas.segments import UserSegments, decode_user_segments
from schemas.topics import LATE_EVENTS, REJECTS, SEGMENT_CHANGES
from tests.e2e.cluster import RunningCluster, command
from tests.e2e.cluster_log import Expected, Held
from tests.e2e.cluster_waiting import wait_until

BATCH_USERS = 100


class Results(NamedTuple):
    """Everything that a job put out.

    `answers` are what lookups say of every user. `changes` are those committed, in the order of
    the log of record; `history` is what the store has of them.
    """

    answers: dict[str, dict[str, Any]]
    changes: list[Change]
    history: list[Change]
    rejects: list[Reject]
    late: list[LateEvent]


def settle(cluster: RunningCluster, job_id: str, end_ms: int) -> None:
    """Wait until everything has been read, decided and committed."""
    wait_until(lambda: cluster.event_time_ms() >= end_ms, "event time has reached the end")
    cluster.flink.checkpoint(job_id)
    for topic in (SEGMENT_CHANGES, REJECTS, LATE_EVENTS):
        wait_until(lambda t=topic: _is_committed(cluster, t), f"{topic} has no open transaction")


def results(cluster: RunningCluster, users: Iterable[str]) -> Results:
    """Read everything."""
    said = command("changes", "--bootstrap", cluster.bootstrap, "--json")
    history = cluster.rows(f"SELECT document FROM {cluster.keyspace}.segment_changes")
    return Results(
        _answers(cluster, list(users)),
        [decode_change(line.encode()) for line in said.splitlines()],
        [decode_change(row.document) for row in history],
        rejects(cluster),
        _decoded(cluster, LATE_EVENTS, LateEvent),
    )


def rejects(cluster: RunningCluster) -> list[Reject]:
    """Every committed reject."""
    return _decoded(cluster, REJECTS, Reject)


def stored_sets(cluster: RunningCluster) -> dict[str, UserSegments]:
    """Every user's row in the store."""
    rows = cluster.rows(f"SELECT document FROM {cluster.keyspace}.user_segments")
    return {stored.user_id: stored for stored in (decode_user_segments(r.document) for r in rows)}


def await_sets(cluster: RunningCluster, wanted: dict[str, Held]) -> None:
    """Wait until the store has these sets. What it then differs in, `differences` tells."""
    differ: set[str] = set()

    def equal() -> bool:
        nonlocal differ
        found = {user: held_of(stored) for user, stored in stored_sets(cluster).items()}
        differ = {user for user in wanted if found.get(user, {}) != wanted[user]}
        return not differ

    try:
        wait_until(equal, "every set is in the store")
    except AssertionError as error:
        user = min(differ)
        found = stored_sets(cluster).get(user)
        error.add_note(f"{len(differ)} differ, as {user}: {found} and not {wanted[user]}")
        raise


def held_of(stored: UserSegments) -> Held:
    """The segments of a stored set."""
    return {s.segment: (s.score, s.since, s.valid_until) for s in stored.segments}


def differences(found: Results, wanted: Expected) -> dict[str, object]:
    """What differs from the recount; empty where nothing does."""
    changes = Counter((c.user_id, c.segment, c.change, c.at) for c in found.changes)
    rejected = {(r.topic, r.partition, r.offset) for r in found.rejects}
    late = {(e.partition, e.offset) for e in found.late}
    compared = {
        "users": _some(u for u in wanted.sets if _held(found.answers[u]) != wanted.sets[u]),
        "as of": _some(u for u, a in found.answers.items() if a["as_of"] != wanted.end_ms),
        "stale": _some(u for u, a in found.answers.items() if a["stale"]),
        "changes missing": wanted.changes - changes,
        "changes extra": changes - wanted.changes,
        "rejects": len(found.rejects) - wanted.rejected,
        "rejects doubled": len(found.rejects) - len(rejected),
        "late": len(found.late) - wanted.late,
        "late doubled": len(found.late) - len(late),
    }
    return _told(compared) | inconsistencies(found)


def inconsistencies(found: Results) -> dict[str, object]:
    """Where the log of record, the sets and the history contradict each other or themselves; empty
    where they do not."""
    versions, folded, broken = fold(found.changes)
    history = Counter(map(msgspec.json.encode, found.history))
    logged = Counter(map(msgspec.json.encode, found.changes))
    since = {
        user: {s["segment"]: s["since"] for s in answer["segments"]}
        for user, answer in found.answers.items()
    }
    compared = {
        "changes that do not follow": broken[:5],
        "sets not folded": _some(u for u, held in since.items() if held != folded.get(u, {})),
        "versions": _some(
            u for u, a in found.answers.items() if a["version"] != versions.get(u, 0)
        ),
        "history missing": _first(logged - history),
        "history extra": _first(history - logged),
    }
    return _told(compared)


def fold(
    changes: Sequence[Change],
) -> tuple[dict[str, int], dict[str, dict[str, int]], list[Change]]:
    """Each user's last version, and since when they are in what, after all changes in order.

    Also the changes that cannot follow those before them: one that enters twice, leaves twice, or
    whose version is not one above the user's last.
    """
    versions: dict[str, int] = {}
    folded: dict[str, dict[str, int]] = {}
    broken = []
    for change in changes:
        held = folded.setdefault(change.user_id, {})
        enters = change.change == "enter"
        follows = change.version == versions.get(change.user_id, 0) + 1
        if not follows or enters == (change.segment in held):
            broken.append(change)
        versions[change.user_id] = change.version
        if enters:
            held[change.segment] = change.at
        else:
            held.pop(change.segment, None)
    return versions, folded, broken


def _answers(cluster: RunningCluster, users: Sequence[str]) -> dict[str, dict[str, Any]]:
    answers: dict[str, dict[str, Any]] = {}
    left = iter(users)
    patient = ("--deadline-ms", 20_000, "--job-dead-after", "60s")
    with cluster.serving(*patient) as url, httpx.Client(base_url=url, timeout=60) as client:
        while batch := list(islice(left, BATCH_USERS)):
            answer = client.post("/v1/segments:batchGet", json={"user_ids": batch})
            assert answer.status_code == 200, answer.text
            answers.update((one["user_id"], one) for one in answer.json()["users"])
    return answers


def _is_committed(cluster: RunningCluster, topic: str) -> bool:
    """Whether readers of what is committed see as much of a topic as there is."""
    ends = []
    for isolation in ("read_committed", "read_uncommitted"):
        with open_consumer(cluster.bootstrap, isolation) as consumer:
            numbers = consumer.partitions_for_topic(topic)
            ends.append(consumer.end_offsets([TopicPartition(topic, n) for n in sorted(numbers)]))
    return ends[0] == ends[1]


def _decoded(cluster: RunningCluster, topic: str, kind: type[Any]) -> list[Any]:
    decode = msgspec.json.Decoder(kind).decode
    return [decode(record.value or b"") for record in read_to_end(cluster.bootstrap, topic)]


def _held(answer: dict[str, Any]) -> Held:
    return {s["segment"]: (s["score"], s["since"], s["valid_until"]) for s in answer["segments"]}


def _told(compared: dict[str, object]) -> dict[str, object]:
    return {name: found for name, found in compared.items() if found}


def _some(users: Iterable[str]) -> list[str]:
    found = list(users)
    return [f"{len(found)} of them", *found[:5]] if found else []


def _first(counted: Counter[bytes]) -> list[str]:
    return [one.decode() for one in counted][:5]
