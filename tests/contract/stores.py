"""The stores that the contract suite runs over: how to make one, fill it and break it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from jobs.stores.sqlite_store import SqliteLocation, create_store, write_run
from serving.lookup.sqlite_reader import SqliteReader
from serving.lookup.store import SegmentReader
from udfs.outbox import SegmentWriter


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


STORES = [("sqlite", SqliteStore)]
