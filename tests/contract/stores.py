"""The stores that the contract suite runs over: how to make one, fill it and break it."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Queue

from cassandra.cluster import Session
from msgspec.structs import replace

from jobs.stores.cassandra_messages import (
    Flush,
    Flushed,
    FromStore,
    UserSet,
    WriterCounts,
    WriterJob,
    WriterSettings,
)
from jobs.stores.cassandra_sender import Inbox, Sender
from jobs.stores.cassandra_session import make_cluster
from jobs.stores.cassandra_store import CassandraLocation
from jobs.stores.migrate import migrate
from jobs.stores.sqlite_store import SqliteLocation, create_store, write_run
from schemas.locations import CassandraUrl, parse_store
from schemas.progress import Progress
from serving.lookup.cassandra_reader import CassandraReader
from serving.lookup.sqlite_reader import SqliteReader
from serving.lookup.store import SegmentReader
from stack.servers import Stack
from udfs.outbox import SegmentWriter, StoreWriteError

STORED_WITHIN_S = 60.0
TABLES = ("user_segments", "segment_changes", "job_progress", "rulesets")
# Timeouts short enough for a test in which the store does not answer.
SETTINGS = WriterSettings(
    gather_s=0.005, request_timeout_s=0.5, reconnect_after_s=2.0, flush_wait_s=STORED_WITHIN_S
)
IMPATIENT = replace(SETTINGS, flush_wait_s=1.0)


def flush_at_last(writer: SegmentWriter) -> None:
    """Flush until it succeeds, as a store does that has been away."""
    until_s = time.monotonic() + STORED_WITHIN_S
    while True:
        try:
            writer.flush()
        except StoreWriteError:
            if time.monotonic() > until_s:
                raise
        else:
            return


class SqliteStore:
    """The embedded store in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "segments.db"
        create_store(self.path)

    def writer(self) -> SegmentWriter:
        writer = SqliteLocation(self.path)()
        # Or each failed write of these tests would wait for the lock for SQLite's five seconds.
        writer._connection.execute("PRAGMA busy_timeout = 20")
        return writer

    impatient_writer = writer

    def reader(self) -> SegmentReader:
        return SqliteReader(self.path)

    def note_run(self, as_of: int, rulesets: dict[int, bytes] | None = None) -> None:
        """How far the job has come, and its rule sets."""
        write_run(self.path, as_of, rulesets or {})

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        """No writer can write while this lasts."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")


class CassandraStore:
    """A keyspace of a running node, emptied before each use."""

    def __init__(self, stack: Stack, keyspace: str = "contract") -> None:
        self.stack = stack
        url = parse_store(stack.cassandra.store(keyspace))
        assert isinstance(url, CassandraUrl)
        self.url = url
        migrate(url, None, print)

    def clear(self) -> None:
        with self.session() as session:
            for table in TABLES:
                session.execute(f"TRUNCATE {table}")

    def writer(self) -> SegmentWriter:
        return CassandraLocation(self.url, SETTINGS)()

    def impatient_writer(self) -> SegmentWriter:
        """One whose flush gives up soon."""
        return CassandraLocation(self.url, IMPATIENT)()

    def write_at(self, ahead_s: float, *sets: UserSet) -> WriterCounts:
        """Write as a writer does whose clock is before or (below 0) behind; what it counted."""
        answers: Queue[FromStore] = Queue()
        inbox = Inbox()
        ahead_us = int(ahead_s * 1_000_000)
        sender = Sender(
            WriterJob(self.url, SETTINGS),
            inbox,
            answers.put,
            lambda: time.time_ns() // 1_000 + ahead_us,
        )
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(sender.run)
            for message in (*sets, Flush(1, STORED_WITHIN_S)):
                inbox.put(message)
            while not isinstance(answer := answers.get(timeout=2 * STORED_WITHIN_S), Flushed):
                pass
            inbox.close()
            running.result()
        assert not answer.fault
        return answer.counts

    def reader(self) -> SegmentReader:
        return CassandraReader(self.url)

    def note_run(self, as_of: int, rulesets: dict[int, bytes] | None = None) -> None:
        """How far the job has come, and its rule sets."""
        now_ms = time.time_ns() // 1_000_000
        with closing(self.writer()) as writer:
            writer.note_progress(
                Progress(
                    subtask=0, parallelism=1, watermark=as_of, ruleset_version=1, written_at=now_ms
                )
            )
            for version, document in (rulesets or {}).items():
                writer.note_ruleset(version, document)
            writer.flush()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """The keyspace as anyone may use it."""
        cluster = make_cluster(self.url, 30.0, 30.0)
        try:
            yield cluster.connect(self.url.keyspace)
        finally:
            cluster.shutdown()

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        """The node hangs while this lasts: connections stay, and nothing is answered."""
        process = self.stack.process(self.stack.cassandra)
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process.pid, signal.SIGCONT)
