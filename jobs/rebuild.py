"""Rebuilding the store from the job's state: every known user's set is published again.

The job answers a `republish` command for a user with that user's whole set, whatever the store
holds. The users are those of the change log and those that the store has rows of.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from cassandra.cluster import Session

from jobs.produce import Outgoing, produce
from jobs.read_topic import read_to_end
from jobs.stores.cassandra_session import fault_text, make_cluster
from schemas.commands import Republish
from schemas.locations import CassandraUrl
from schemas.topics import SEGMENT_CHANGES, USER_COMMANDS

REQUEST_TIMEOUT_S = 10.0
LOOK_EVERY_S = 1.0
STALLED_S = 120.0

Watch = Callable[[int, int], None]


class RebuildError(RuntimeError):
    """The store was not rebuilt, or not wholly; the message says how far it came."""


def rebuild(bootstrap: str, store: CassandraUrl, rate: float, watch: Watch) -> int:
    """Have every user's set written again, at most `rate` a second; how many there were.

    `watch` is told how many are written of how many. The job must be running.

    Raises:
        BrokerError: Kafka does not answer.
        RebuildError: the store does not answer, or the job has written nothing for two minutes.
    """
    with _session(store) as session:
        users = {r.key.decode() for r in read_to_end(bootstrap, SEGMENT_CHANGES) if r.key}
        users.update(_written_since(session, store.keyspace, 0))
        # The store's own clock would do as well: what counts is that no earlier write passes.
        started_us = time.time_ns() // 1_000
        delivery = produce(_commands(users), bootstrap, USER_COMMANDS, rate)
        if delivery.failed:
            raise RebuildError(f"Kafka took {delivery.acknowledged} of {len(users)} commands")
        _await_written(session, store, users, started_us, watch)
    return len(users)


def _commands(users: set[str]) -> Iterator[Outgoing]:
    issued_at = time.time_ns() // 1_000_000
    for user_id in users:
        command = Republish(command_id=str(uuid.uuid4()), user_id=user_id, issued_at=issued_at)
        yield Outgoing(user_id.encode(), msgspec.json.encode(command))


def _await_written(
    session: Session, store: CassandraUrl, users: set[str], started_us: int, watch: Watch
) -> None:
    left, moved_at = set(users), time.monotonic()
    while left:
        found = left.intersection(_written_since(session, store.keyspace, started_us))
        if found:
            left -= found
            moved_at = time.monotonic()
        watch(len(users) - len(left), len(users))
        if time.monotonic() - moved_at > STALLED_S:
            raise RebuildError(
                f"{store}: {len(left)} of {len(users)} users were not written again, and none in"
                f" the last {STALLED_S:.0f} s. Is the job running? Run `store rebuild` once it is"
            )
        if left:
            time.sleep(LOOK_EVERY_S)


def _written_since(session: Session, keyspace: str, since_us: int) -> Iterator[str]:
    """The users whose row was written at or after a time (µs), read page by page."""
    question = f"SELECT user_id, WRITETIME(document) FROM {keyspace}.user_segments"
    for user_id, written_us in session.execute(question, timeout=REQUEST_TIMEOUT_S):
        if written_us >= since_us:
            yield user_id


@contextmanager
def _session(store: CassandraUrl) -> Iterator[Session]:
    cluster = make_cluster(store, REQUEST_TIMEOUT_S)
    try:
        yield cluster.connect()
    except RebuildError:
        raise
    except Exception as error:
        if type(error).__module__.startswith("cassandra"):
            raise RebuildError(fault_text(store, error)) from error
        raise
    finally:
        cluster.shutdown()
