"""The embedded store, read without holding up the event loop."""

import asyncio
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from schemas.changes import Change, decode_change
from schemas.errors import UnknownSchemaVersionError
from schemas.segments import decode_user_segments
from serving.lookup.handover import Handover
from serving.lookup.store import Found, JobProgress, SegmentReader, StoreError

STORE_VERSION = 1

_Result = TypeVar("_Result")


class SqliteReader(SegmentReader):
    """Reads one file, in one thread of its own. A file put in its place is noticed at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = -1
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._handover: Handover | None = None

    async def read_many(self, user_ids: Sequence[str]) -> Mapping[str, Found]:
        """Each user's latest whole set."""
        # One query: at each of its own SQLite lets go of the interpreter, and a busy event loop
        # takes it.
        marks = ",".join("?" * len(user_ids))
        query = f"SELECT user_id, document FROM user_segments WHERE user_id IN ({marks})"
        documents: dict[str, bytes] = dict(await self._rows(query, *user_ids))
        return {user_id: self._decoded(documents.get(user_id)) for user_id in user_ids}

    def together(self, user_id: str) -> None:
        """All users are in one file."""

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

    async def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._call(lambda connection: connection.execute(query, values).fetchall())

    async def _call(self, ask: Callable[[sqlite3.Connection], _Result]) -> _Result:
        loop = asyncio.get_running_loop()
        if self._handover is None or self._handover.loop is not loop:
            self._handover = Handover(loop)
        handover, place = self._handover, self._handover.place()
        self._thread.submit(self._answer, ask, handover, place)
        answer: _Result = await place
        return answer

    def _answer(
        self,
        ask: Callable[[sqlite3.Connection], object],
        handover: Handover,
        place: asyncio.Future[Any],
    ) -> None:
        """Answer one question, in the thread."""
        try:
            answer = self._ask(ask)
        except Exception as error:  # Or whoever asked would wait on.
            handover.put(error, place)
        else:
            handover.put(answer, place)

    def _decoded(self, document: bytes | None) -> Found:
        try:
            return None if document is None else decode_user_segments(document)
        except (msgspec.DecodeError, UnknownSchemaVersionError) as error:
            return StoreError(f"{self._path}: unreadable content: {error}")

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
