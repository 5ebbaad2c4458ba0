"""The lookup app as a client meets it, over a real store or a reader made for one question."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx

from jobs.stores.sqlite_store import SqliteWriter, create_store, write_run
from schemas.changes import Change
from schemas.segments import Publication, UserSegments
from serving.lookup.app import create_app
from serving.lookup.settings import LookupSettings
from serving.lookup.sqlite_reader import SqliteReader
from serving.lookup.store import Found, JobProgress, SegmentReader, StoreError
from tests.unit.builders import user_segments

# No test but those about it may depend on how quick the machine is.
PATIENT = LookupSettings(
    fresh_seconds=3_600.0, deadline_seconds=30.0, read_seconds=60.0, progress_seconds=3_600.0
)
NEVER_FRESH = PATIENT._replace(fresh_seconds=0.0)
IMPATIENT = NEVER_FRESH._replace(deadline_seconds=0.01)


def fill_store(path: Path, *publications: Publication, as_of: int) -> None:
    """Make a store that holds these, written by the job's own writer."""
    create_store(path)
    writer = SqliteWriter(path)
    for publication in publications:
        writer.send(1, publication)
    writer.flush()
    writer.close()
    write_run(path, as_of, {})


@asynccontextmanager
async def app_client(
    open_reader: Callable[[], SegmentReader], settings: LookupSettings = PATIENT
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that has started, in the test's own event loop."""
    app = create_app(open_reader, settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://lookup") as client,
    ):
        yield client


def store_client(
    path: Path, settings: LookupSettings = PATIENT
) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """A client of an app over the embedded store at `path`."""
    return app_client(lambda: SqliteReader(path), settings)


def get(path: Path, *addresses: str, **headers: str) -> list[httpx.Response]:
    """What a fresh app over a store answers, one request after the other."""

    async def run():
        async with store_client(path) as client:
            return [await client.get(address, headers=headers) for address in addresses]

    return asyncio.run(run())


class GatedReader(SegmentReader):
    """Answers once its gate is open, counts what it is asked, and fails when told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked: list[str] = []
        self.questions = 0
        self.neighbours: Callable[[str], Hashable] = lambda _: None
        self.answered = asyncio.Event()
        self.given_up = asyncio.Event()
        self.broken = False
        self.closed = False
        self.current: UserSegments | None = None
        self.job: JobProgress | StoreError | None = JobProgress(7, None)

    async def read_many(self, user_ids: Sequence[str]) -> dict[str, Found]:
        self.asked += user_ids
        self.questions += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        if self.broken:
            raise StoreError("broken for this test")
        self.answered.set()
        return {user_id: self.current or user_segments(user_id) for user_id in user_ids}

    def together(self, user_id: str) -> Hashable:
        return self.neighbours(user_id)

    async def progress(self) -> JobProgress:
        while self.job is None:
            await asyncio.sleep(3_600)
        if isinstance(self.job, StoreError):
            raise self.job
        return self.job

    async def changes(self, user_id: str) -> list[Change]:
        raise NotImplementedError(user_id)

    async def ruleset(self, version: int) -> bytes | None:
        raise NotImplementedError(version)

    async def sizes(self) -> dict[str, int]:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True
