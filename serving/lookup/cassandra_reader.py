"""The distributed store, read through the driver's own thread without holding up the event loop."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from cassandra.query import BoundStatement

from schemas.changes import Change, decode_change
from schemas.errors import UnknownSchemaVersionError
from schemas.locations import CassandraUrl
from schemas.progress import Progress
from schemas.segments import decode_user_segments
from serving.lookup.cassandra_session import Opened, fault, open_session
from serving.lookup.handover import Handover
from serving.lookup.store import Found, JobProgress, SegmentReader, StoreError, job_progress

RETRY_AFTER_S = 1.0
SCAN_PAGE_TIMEOUT_S = 10.0

_Stored = TypeVar("_Stored")
_Decoded = TypeVar("_Decoded")
_Row = tuple[Any, ...]


class CassandraReader(SegmentReader):
    """Reads one keyspace. Connecting begins at once, and again when asked after it has failed.

    `timeout_s` is the longest that a question takes.
    """

    def __init__(self, url: CassandraUrl, timeout_s: float = 2.0) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cassandra")
        self._opened: Opened | None = None
        self._handover: Handover | None = None
        self._open()

    async def read_many(self, user_ids: Sequence[str]) -> Mapping[str, Found]:
        """Each user's latest whole set."""
        opened = self._opened or await self._opening_done()
        # The key of any of them finds the nodes of all.
        question = BoundStatement(opened.statements.users, routing_key=user_ids[0].encode())
        question.bind((user_ids,))
        documents: dict[str, bytes] = dict(await self._ask(opened, question))
        return {user_id: self._decoded_set(documents.get(user_id)) for user_id in user_ids}

    def together(self, user_id: str) -> Hashable:
        """The nodes that hold the user: what is asked together costs both sides far less."""
        if self._opened is None:
            return None
        return self._opened.nodes_of(self._url.keyspace, user_id.encode())

    async def progress(self) -> JobProgress:
        """How far the job has come."""
        opened = self._opened or await self._opening_done()
        rows = await self._ask(opened, opened.statements.progress.bind(()))
        names = Progress.__struct_fields__
        notes = [dict(zip(names, row, strict=True)) for row in rows]
        return job_progress(self._decoded(_notes, notes))

    async def changes(self, user_id: str) -> list[Change]:
        """The user's changes, oldest first."""
        opened = self._opened or await self._opening_done()
        rows = await self._ask(opened, opened.statements.changes.bind((user_id,)))
        return [self._decoded(decode_change, document) for (document,) in rows]

    async def ruleset(self, version: int) -> bytes | None:
        """The rule set document of a version."""
        opened = self._opened or await self._opening_done()
        rows = await self._ask(opened, opened.statements.ruleset.bind((version,)))
        return rows[0][0] if rows else None

    async def sizes(self) -> dict[str, int]:
        """How many users are in each segment at the store's as-of: every user is read."""
        as_of = (await self.progress()).as_of
        opened = self._opened or await self._opening_done()
        return await asyncio.to_thread(self._count, opened, as_of)

    async def close(self) -> None:
        """Let go of the cluster."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._shut)
        self._thread.shutdown()

    async def _ask(self, opened: Opened, question: BoundStatement) -> list[_Row]:
        handover = self._handover_here()
        place = handover.place()
        try:
            future = opened.session.execute_async(question)
        except Exception as error:  # Or whoever asked would wait on.
            handover.put(error, place)
        else:
            future.add_callbacks(handover.put, handover.put, (place,), None, (place,))
        try:
            rows: list[_Row] = await place
        except Exception as error:
            raise fault(self._url, error) from error
        return rows

    def _handover_here(self) -> Handover:
        loop = asyncio.get_running_loop()
        if self._handover is None or self._handover.loop is not loop:
            self._handover = Handover(loop)
        return self._handover

    async def _opening_done(self) -> Opened:
        """The session, once connecting has ended well; begun anew if it has failed a while ago."""
        failed = self._opening.done() and self._opening.exception() is not None
        if failed and time.monotonic() - self._began_at >= RETRY_AFTER_S:
            self._open()
        try:
            self._opened = await asyncio.shield(asyncio.wrap_future(self._opening))
        except Exception as error:
            raise fault(self._url, error) from error
        return self._opened

    def _open(self) -> None:
        self._began_at = time.monotonic()
        self._opening: Future[Opened] = self._thread.submit(
            open_session, self._url, self._timeout_s
        )

    def _shut(self) -> None:
        if self._opening.done() and self._opening.exception() is None:
            self._opening.result().cluster.shutdown()

    def _count(self, opened: Opened, as_of: int) -> dict[str, int]:
        sizes: Counter[str] = Counter()
        try:
            scan = opened.session.execute(opened.statements.scan, timeout=SCAN_PAGE_TIMEOUT_S)
            for (document,) in scan:
                current = self._decoded(decode_user_segments, document)
                sizes.update(s.segment for s in current.segments if s.valid_until > as_of)
        except Exception as error:
            raise fault(self._url, error) from error
        return dict(sizes)

    def _decoded_set(self, document: bytes | None) -> Found:
        try:
            return None if document is None else self._decoded(decode_user_segments, document)
        except StoreError as error:
            return error

    def _decoded(self, decode: Callable[[_Stored], _Decoded], document: _Stored) -> _Decoded:
        try:
            return decode(document)
        except (msgspec.DecodeError, UnknownSchemaVersionError) as error:
            raise StoreError(f"{self._url}: unreadable content: {error}") from error


def _notes(rows: list[dict[str, int]]) -> list[Progress]:
    return msgspec.convert(rows, list[Progress])
