"""The embedded store: one SQLite file."""

import sqlite3
from contextlib import closing, suppress
from importlib import resources
from pathlib import Path

import msgspec

from schemas.changes import Change
from schemas.progress import Progress
from schemas.segments import Publication
from udfs.outbox import SegmentWriter, StoreWriteError

BATCH_USERS = 500

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
    """Writes many users a transaction, in the caller's thread.

    A thread of its own would be slower: it and the operator would wait for each other's turn in
    the interpreter at every event.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: dict[str, tuple[int, Publication]] = {}
        self._changes: list[Change] = []
        self._stored: dict[str, int] = {}
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # One process writes and nobody reads until the run has ended: neither durability at each
        # commit nor a journal on disk buys anything.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("PRAGMA journal_mode = MEMORY")

    def send(self, ticket: int, publication: Publication) -> None:
        """Keep one user's set for the next transaction; write when there are enough of them."""
        self._waiting[publication.current.user_id] = (ticket, publication)
        self._changes.extend(publication.changes)
        if len(self._waiting) >= BATCH_USERS:
            with suppress(StoreWriteError):
                self.flush()

    def stored(self, user_id: str) -> int:
        """The user's latest stored ticket, forgotten once it has been told."""
        if user_id in self._waiting:
            with suppress(StoreWriteError):
                self.flush()
        return self._stored.pop(user_id, 0)

    def note_progress(self, progress: Progress) -> None:
        """Nothing: a bounded run notes how far it came when it ends, and nobody reads before."""

    def note_ruleset(self, version: int, document: bytes) -> None:
        """Nothing: a bounded run notes its rule sets when it ends."""

    def flush(self) -> None:
        """Write everything that waits. What cannot be written goes on waiting."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(
                    "INSERT INTO user_segments VALUES (?, ?)"
                    " ON CONFLICT (user_id) DO UPDATE SET document = excluded.document",
                    [(user, _json(sent.current)) for user, (_, sent) in self._waiting.items()],
                )
                connection.executemany(
                    "INSERT OR REPLACE INTO segment_changes VALUES (?, ?, ?)",
                    [(change.user_id, change.version, _json(change)) for change in self._changes],
                )
                connection.execute("COMMIT")
            except sqlite3.Error:
                connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreWriteError(f"{self._path}: {error}") from error
        self._stored.update((user, ticket) for user, (ticket, _) in self._waiting.items())
        self._waiting.clear()
        self._changes.clear()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
