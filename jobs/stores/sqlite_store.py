"""The embedded store: one SQLite file."""

import queue
import sqlite3
import threading
from contextlib import closing
from importlib import resources
from pathlib import Path

import msgspec

from schemas.segments import Publication
from udfs.outbox import SegmentWriter, StoreWriteError

FLUSH_SECONDS_MAX = 60.0
BATCH_MAX = 2_000

_json = msgspec.json.Encoder().encode


class SqliteLocation(msgspec.Struct, frozen=True):
    """Where the store is. Calling it opens a writer there."""

    path: Path

    def __call__(self) -> SegmentWriter:
        """Open a writer."""
        return SqliteWriter(self.path)


def create_store(path: Path) -> None:
    """Make an empty store.

    Raises:
        OSError: the file cannot be made there.
    """
    script = resources.files("schemas").joinpath("sqlite.sql").read_text()
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
    except sqlite3.Error as error:
        raise OSError(f"cannot make a store at {path}: {error}") from error


def write_run(path: Path, as_of: int, rulesets: dict[int, bytes]) -> None:
    """Note how far a bounded run came (epoch ms of event time) and its rule sets."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO job_progress VALUES (0, ?)", (as_of,))
        connection.executemany("INSERT OR REPLACE INTO rulesets VALUES (?, ?)", rulesets.items())


class SqliteWriter(SegmentWriter):
    """Writes in a thread of its own, many users a transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[tuple[int, Publication] | threading.Event | None]
        self._queue = queue.SimpleQueue()
        self._stored: dict[str, int] = {}
        self._unwritten: list[tuple[int, Publication]] = []
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._write_all, name="segments", daemon=True)
        self._thread.start()

    def send(self, ticket: int, publication: Publication) -> None:
        """Queue one user's set."""
        self._queue.put((ticket, publication))

    def stored(self, user_id: str) -> int:
        """The user's latest stored ticket, forgotten once it has been told."""
        return self._stored.pop(user_id, 0)

    def flush(self) -> None:
        """Wait for all that was sent."""
        done = threading.Event()
        self._queue.put(done)
        if not done.wait(FLUSH_SECONDS_MAX):
            raise StoreWriteError(f"{self._path}: not written after {FLUSH_SECONDS_MAX:.0f} s")
        if self._failure is not None:
            raise StoreWriteError(f"{self._path}: {self._failure}") from self._failure

    def close(self) -> None:
        """End the thread after what is queued."""
        self._queue.put(None)
        self._thread.join(FLUSH_SECONDS_MAX)

    def _write_all(self) -> None:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            # One process writes and nobody reads until the run has ended, so that neither
            # durability at each commit nor a journal on disk buys anything.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = MEMORY")
            ended = False
            while not ended:
                batch, waiting, ended = self._take_batch()
                batch = self._unwritten + batch
                try:
                    self._write(connection, batch)
                except sqlite3.Error as error:
                    self._unwritten, self._failure = batch, error
                else:
                    self._unwritten, self._failure = [], None
                    self._stored.update((p.current.user_id, ticket) for ticket, p in batch)
                for event in waiting:
                    event.set()

    def _take_batch(self) -> tuple[list[tuple[int, Publication]], list[threading.Event], bool]:
        """Everything queued, up to the most a transaction takes; waits for the first."""
        batch: list[tuple[int, Publication]] = []
        waiting: list[threading.Event] = []
        item = self._queue.get()
        while True:
            if item is None:
                return batch, waiting, True
            if isinstance(item, threading.Event):
                waiting.append(item)
            else:
                batch.append(item)
            if len(batch) >= BATCH_MAX or self._queue.empty():
                return batch, waiting, False
            item = self._queue.get()

    def _write(
        self, connection: sqlite3.Connection, batch: list[tuple[int, Publication]]
    ) -> None:
        if not batch:
            return
        latest = {publication.current.user_id: publication.current for _, publication in batch}
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(
                "INSERT INTO user_segments VALUES (?, ?)"
                " ON CONFLICT (user_id) DO UPDATE SET document = excluded.document",
                [(user_id, _json(current)) for user_id, current in latest.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO segment_changes VALUES (?, ?, ?)",
                [
                    (change.user_id, change.version, _json(change))
                    for _, publication in batch
                    for change in publication.changes
                ],
            )
            connection.execute("COMMIT")
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            raise
