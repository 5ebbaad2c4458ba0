"""The embedded store, read without holding up the event loop."""

import asyncio
import os
import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from schemas.changes import Change, decode_change
from schemas.errors import UnknownSchemaVersionError
from schemas.segments import UserSegments, decode_user_segments
from serving.lookup.handover import Handover
from serving.lookup.store import JobProgress, SegmentReader, StoreError

STORE_VERSION = 1
USERS_TOGETHER_MAX = 100

_Result = TypeVar("_Result")


class SqliteReader(SegmentReader):
    """Reads one file, in one thread of its own. A file put in its place is noticed at once.

    All users that wait are read in one visit to the thread, many by one query: at each row SQLite
    lets go of the interpreter, and a busy event loop takes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = -1
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._handover: Handover | None = None
        self._asked: deque[tuple[str, Handover, asyncio.Future[bytes | None]]] = deque()
        self._visiting = False

    async def read(self, user_id: str) -> UserSegments | None:
        """The user's latest whole set."""
        loop = asyncio.get_running_loop()
        if self._handover is None or self._handover.loop is not loop:
            self._handover = Handover(loop)
        place = self._handover.place()
        self._asked.append((user_id, self._handover, place))
        if not self._visiting:
            self._visiting = True
            self._thread.submit(self._read_all)
        document: bytes | None = await place
        try:
            return None if document is None else decode_user_segments(document)
        except (msgspec.DecodeError, UnknownSchemaVersionError) as error:
            raise StoreError(f"{self._path}: unreadable content: {error}") from error

    async def progress(self) -> JobProgress:
        """How far the run came. It has ended: nothing reads before."""
        rows = await self._rows("SELECT MIN(as_of) FROM job_progress")
        return JobProgress(rows[0][0] or 0, None)

    async def changes(self, user_id: str) -> list[Change]:
        """The user's changes, oldest first."""
        query = "SELECT document FROM segment_changes WHERE user_id = ? ORDER BY version"
        return await self._call(
            lambda connection: [
                decode_change(row[0]) for row in connection.execute(query, (user_id,))
            ]
        )

    async def ruleset(self, version: int) -> bytes | None:
        """The rule set document of a version."""
        rows = await self._rows("SELECT document FROM rulesets WHERE version = ?", version)
        return rows[0][0] if rows else None

    async def sizes(self) -> dict[str, int]:
        """How many users are in each segment at the store's as-of."""
        as_of = (await self.progress()).as_of

        def count(connection: sqlite3.Connection) -> dict[str, int]:
            sizes: Counter[str] = Counter()
            for (document,) in connection.execute("SELECT document FROM user_segments"):
                current = decode_user_segments(document)
                sizes.update(s.segment for s in current.segments if s.valid_until > as_of)
            return dict(sizes)

        return await self._call(count)

    async def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._thread.submit(self._connection.close)
        self._thread.shutdown()

    def _read_all(self) -> None:
        """Answer whoever waits, in the thread."""
        self._visiting = False
        while self._asked:
            asked = [
                self._asked.popleft() for _ in range(min(len(self._asked), USERS_TOGETHER_MAX))
            ]
            user_ids = [user_id for user_id, _, _ in asked]
            try:
                documents = self._ask(partial(_documents, user_ids))
            except Exception as error:  # Or whoever asked would wait on.
                for _, handover, place in asked:
                    handover.put(error, place)
            else:
                for user_id, handover, place in asked:
                    handover.put(documents.get(user_id), place)

    async def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._call(lambda connection: connection.execute(query, values).fetchall())

    async def _call(self, ask: Callable[[sqlite3.Connection], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, ask)

    def _ask(self, ask: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            return ask(self._open())
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path}: {error}") from error
        except (msgspec.DecodeError, UnknownSchemaVersionError) as error:
            raise StoreError(f"{self._path}: unreadable content: {error}") from error

    def _open(self) -> sqlite3.Connection:
        """The connection to the file that is there now."""
        inode = os.stat(self._path).st_ino
        if self._connection is None or inode != self._inode:
            if self._connection is not None:
                self._connection.close()
            uri = f"{self._path.resolve().as_uri()}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != STORE_VERSION:
                connection.close()
                raise StoreError(f"{self._path}: not a segstream store of version {STORE_VERSION}")
            self._connection, self._inode = connection, inode
        return self._connection


def _documents(user_ids: list[str], connection: sqlite3.Connection) -> dict[str, bytes]:
    marks = ",".join("?" * len(user_ids))
    query = f"SELECT user_id, document FROM user_segments WHERE user_id IN ({marks})"
    return dict(connection.execute(query, user_ids).fetchall())
