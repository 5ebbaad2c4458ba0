"""Rebuilding the store: sets from the job's state, their history from the log of record.

The job answers a `republish` command for a user with that user's whole set, whatever the store
holds. The users are those of the change log and those that the store has rows of.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import msgspec
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args

from jobs.follow_changes import read_change
from jobs.produce import Outgoing, produce
from jobs.read_topic import Record, read_to_end
from jobs.stores.cassandra_session import fault_text, make_cluster
from schemas.changes import Change
from schemas.commands import Republish
from schemas.durations import DAY_MS
from schemas.locations import CassandraUrl
from schemas.topics import SEGMENT_CHANGES, USER_COMMANDS

REQUEST_TIMEOUT_S = 10.0
LOOK_EVERY_S = 1.0
STALLED_S = 120.0
# As long as the store keeps a change (default_time_to_live of segment_changes).
HISTORY_MS = 90 * DAY_MS
HISTORY_ROWS_MAX = 1_000

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
        users = _write_history(session, store, read_to_end(bootstrap, SEGMENT_CHANGES))
        before_us = _write_times(session, store)
        users.update(before_us)
        delivery = produce(_commands(users), bootstrap, USER_COMMANDS, rate)
        if delivery.failed:
            raise RebuildError(f"Kafka took {delivery.acknowledged} of {len(users)} commands")
        _await_written(session, store, users, before_us, watch)
    return len(users)


def _write_history(session: Session, store: CassandraUrl, log: Iterable[Record]) -> set[str]:
    """Write the changes that are not too old to be kept; all users that the log tells of."""
    users: set[str] = set()
    insert = session.prepare(
        f"INSERT INTO {store.keyspace}.segment_changes (user_id, version, document)"
        " VALUES (?, ?, ?)"
    )
    insert.is_idempotent = True
    oldest_ms = time.time_ns() // 1_000_000 - HISTORY_MS

    def rows() -> Iterator[tuple[str, int, bytes | None]]:
        for record in log:
            change = read_change(record)
            if isinstance(change, Change):
                users.add(change.user_id)
                if record.timestamp_ms >= oldest_ms:
                    yield change.user_id, change.version, record.value

    left = rows()
    while some := list(islice(left, HISTORY_ROWS_MAX)):
        execute_concurrent_with_args(session, insert, some)
    return users


def _commands(users: set[str]) -> Iterator[Outgoing]:
    issued_at = time.time_ns() // 1_000_000
    for user_id in users:
        command = Republish(command_id=str(uuid.uuid4()), user_id=user_id, issued_at=issued_at)
        yield Outgoing(user_id.encode(), msgspec.json.encode(command))


def _await_written(
    session: Session, store: CassandraUrl, users: set[str], before_us: dict[str, int], watch: Watch
) -> None:
    """Wait until every user's row was written after it was looked at.

    Compared with the row's own time and not with a clock: the job's may be behind, and a row that
    is to be written over may be ahead of both.
    """
    left, moved_at = set(users), time.monotonic()
    while left:
        now_us = _write_times(session, store)
        found = {user for user in left if now_us.get(user, 0) > before_us.get(user, 0)}
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


def _write_times(session: Session, store: CassandraUrl) -> dict[str, int]:
    """When each user's row was last written, in µs, read page by page."""
    question = f"SELECT user_id, WRITETIME(document) FROM {store.keyspace}.user_segments"
    return dict(session.execute(question, timeout=REQUEST_TIMEOUT_S))


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
