"""The distributed store, read through the driver's own thread without holding up the event loop."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import msgspec
from cassandra.query import BoundStatement, PreparedStatement

from schemas.changes import Change, decode_change
from schemas.errors import UnknownSchemaVersionError
from schemas.locations import CassandraUrl
from schemas.progress import Progress
from schemas.segments import UserSegments, decode_user_segments
from serving.lookup.cassandra_session import Opened, fault, open_session
from serving.lookup.handover import Handover
from serving.lookup.store import JobProgress, SegmentReader, StoreError, job_progress

RETRY_AFTER_S = 1.0
SCAN_PAGE_TIMEOUT_S = 10.0
USERS_TOGETHER_MAX = 32

_Document = TypeVar("_Document")
_Row = tuple[Any, ...]


class _Asked(NamedTuple):
    user_id: str
    key: bytes
    place: asyncio.Future[bytes | None]


class CassandraReader(SegmentReader):
    """Reads one keyspace. Connecting begins at once, and again when asked after it has failed.

    Users that are asked for at the same time and live on the same nodes are one question, which
    costs both sides a tenth of a question each. `timeout_s` is the longest that one takes.
    """

    def __init__(self, url: CassandraUrl, timeout_s: float = 2.0) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cassandra")
        self._opened: Opened | None = None
        self._handover: Handover | None = None
        self._asked: list[_Asked] = []
        self._open()

    async def read(self, user_id: str) -> UserSegments | None:
        """The user's latest whole set."""
        key = user_id.encode()
        opened = self._opened or await self._opening_done()
        handover = self._handover_here()
        place = handover.place()
        if not self._asked:
            # At the end of this turn of the event loop: who else asks in it comes along.
            handover.loop.call_soon(self._ask_for_users, opened, handover)
        self._asked.append(_Asked(user_id, key, place))
        try:
            document: bytes | None = await place
        except Exception as error:
            raise fault(self._url, error) from error
        return None if document is None else self._decoded(decode_user_segments, document)

    async def progress(self) -> JobProgress:
        """How far the job has come."""
        opened = self._opened or await self._opening_done()
        rows = await self._ask(opened, opened.statements.progress)
        names = Progress.__struct_fields__
        return job_progress([Progress(**dict(zip(names, row, strict=True))) for row in rows])

    async def changes(self, user_id: str) -> list[Change]:
        """The user's changes, oldest first."""
        opened = self._opened or await self._opening_done()
        rows = await self._ask(opened, opened.statements.changes, user_id)
        return [self._decoded(decode_change, document) for (document,) in rows]

    async def ruleset(self, version: int) -> bytes | None:
        """The rule set document of a version."""
        opened = self._opened or await self._opening_done()
        rows = await self._ask(opened, opened.statements.ruleset, version)
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

    def _ask_for_users(self, opened: Opened, handover: Handover) -> None:
        asked, self._asked = self._asked, []
        try:
            neighbours = self._neighbours(opened, asked)
        except Exception as error:  # Or whoever asked would wait on.
            _Question(asked, handover).fail(error)
            return
        for together in neighbours:
            for start in range(0, len(together), USERS_TOGETHER_MAX):
                _Question(together[start : start + USERS_TOGETHER_MAX], handover).ask(opened)

    def _neighbours(self, opened: Opened, asked: list[_Asked]) -> Iterable[list[_Asked]]:
        """Who lives on the same nodes."""
        neighbours: defaultdict[frozenset[object], list[_Asked]] = defaultdict(list)
        for one in asked:
            neighbours[opened.nodes_of(self._url.keyspace, one.key)].append(one)
        return neighbours.values()

    async def _ask(
        self, opened: Opened, statement: PreparedStatement, *values: object
    ) -> list[_Row]:
        handover = self._handover_here()
        place = handover.place()
        try:
            future = opened.session.execute_async(statement, values)
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
            self._handover, self._asked = Handover(loop), []
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

    def _decoded(self, decode: Callable[[bytes], _Document], document: bytes) -> _Document:
        try:
            return decode(document)
        except (msgspec.DecodeError, UnknownSchemaVersionError) as error:
            raise StoreError(f"{self._url}: unreadable content: {error}") from error


class _Question(NamedTuple):
    """One question about several users, and where the answers go."""

    asked: Sequence[_Asked]
    handover: Handover

    def ask(self, opened: Opened) -> None:
        """Ask, without waiting for the answer."""
        try:
            # The key of any of them finds the nodes of all.
            statement = BoundStatement(opened.statements.users, routing_key=self.asked[0].key)
            statement.bind(([one.user_id for one in self.asked],))
            future = opened.session.execute_async(statement)
            future.add_callbacks(self._answer, self.fail)
        except Exception as error:  # Or whoever asked would wait on.
            self.fail(error)

    def _answer(self, rows: Sequence[_Row]) -> None:
        documents: dict[str, bytes] = dict(rows)
        for one in self.asked:
            self.handover.put(documents.get(one.user_id), one.place)

    def fail(self, error: Exception) -> None:
        """Tell whoever asked that there is no answer."""
        for one in self.asked:
            self.handover.put(error, one.place)
