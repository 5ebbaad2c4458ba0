"""Serving's commands: `serve`, `lookup`, `explain`, `sizes`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import msgspec
import typer

from schemas.durations import parse_duration
from schemas.errors import InvalidDocumentError
from schemas.locations import SqliteUrl, parse_store
from serving.lookup.answers import body_and_etag, head
from serving.lookup.explain import explain as explain_membership
from serving.lookup.settings import LookupSettings
from serving.lookup.sqlite_reader import SqliteReader
from serving.lookup.store import SegmentReader, StoreError
from serving.lookup.watch import JobWatch

ONE_SHOT_TIMEOUT_S = 2.0

app = typer.Typer()

StoreOption = Annotated[
    str, typer.Option(help="Where segments are: sqlite:///PATH or cassandra://HOST/KEYSPACE.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]

_Result = TypeVar("_Result")


@app.command()
def serve(
    store: StoreOption,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    deadline_ms: Annotated[int, typer.Option(min=1, help="The longest a lookup takes.")] = 50,
    fresh_ms: Annotated[int, typer.Option(min=0, help="How old an answer may be.")] = 250,
    job_dead_after: Annotated[
        str, typer.Option(help="How long a job reports no progress before answers are stale.")
    ] = "10s",
) -> None:
    """Answer lookups over HTTP."""
    try:
        import uvicorn  # noqa: PLC0415 - the other commands start without the web stack

        from serving.lookup.app import create_app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        _fail(f"serve needs the extra `serving`: pip install 'segstream[serving]' ({error})")
    try:
        dead_after_ms = parse_duration(job_dead_after)
    except ValueError as error:
        _fail(f"--job-dead-after: {error}")
    settings = LookupSettings(
        fresh_seconds=fresh_ms / 1000,
        deadline_seconds=deadline_ms / 1000,
        read_seconds=4 * deadline_ms / 1000,
        job_dead_after_seconds=dead_after_ms / 1000,
    )
    open_reader = _opener(store, settings.read_seconds)
    # A busy event loop would otherwise keep the store's thread waiting 5 ms for each of its turns.
    sys.setswitchinterval(0.0005)
    uvicorn.run(create_app(open_reader, settings), host=host, port=port, access_log=False)


@app.command()
def lookup(user: str, store: StoreOption) -> None:
    """Print the segments of one user, as the API answers."""

    async def ask(reader: SegmentReader) -> None:
        current = await reader.read(user)
        watch = JobWatch(reader, LookupSettings(progress_seconds=ONE_SHOT_TIMEOUT_S))
        await watch.ask()
        last = watch.fresh_tail
        body, _ = body_and_etag(head(user, current, last.as_of), last)
        typer.echo(msgspec.json.format(body, indent=2).decode())

    _with_reader(store, ask)


@app.command()
def explain(user: str, segment: str, store: StoreOption, as_json: JsonOption = False) -> None:
    """Say why a user is, or is not, in a segment."""

    async def ask(reader: SegmentReader) -> None:
        explanation = await explain_membership(reader, user, segment)
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode())
        else:
            typer.echo("\n".join(explanation.lines()))

    _with_reader(store, ask)


@app.command()
def sizes(store: StoreOption, as_json: JsonOption = False) -> None:
    """Print how many users are in each segment."""

    async def ask(reader: SegmentReader) -> None:
        found = await reader.sizes()
        if as_json:
            typer.echo(msgspec.json.encode(dict(sorted(found.items()))).decode())
            return
        width = max((len(segment) for segment in found), default=0)
        for segment, users in sorted(found.items(), key=lambda item: (-item[1], item[0])):
            typer.echo(f"{segment:<{width}}  {users:>9,}")
        if not found:
            typer.echo("no user is in any segment")

    _with_reader(store, ask)


def _with_reader(store: str, ask: Callable[[SegmentReader], Awaitable[_Result]]) -> None:
    async def run() -> None:
        reader = _opener(store)()
        try:
            await ask(reader)
        finally:
            await reader.close()

    try:
        asyncio.run(run())
    except (StoreError, InvalidDocumentError) as error:
        _fail(str(error))


def _opener(store: str, timeout_s: float = ONE_SHOT_TIMEOUT_S) -> Callable[[], SegmentReader]:
    try:
        location = parse_store(store)
    except ValueError as error:
        _fail(str(error))
    if isinstance(location, SqliteUrl):
        path = Path(location.path)
        if not path.is_file():
            _fail(f"--store {store}: there is no such file. `segstream run` makes one")
        return lambda: SqliteReader(path)
    try:
        from serving.lookup.cassandra_reader import (  # noqa: PLC0415 - SQLite needs no driver
            CassandraReader,
        )
    except ModuleNotFoundError as error:
        _fail(f"{store} needs the extra `serving`: pip install 'segstream[serving]' ({error})")
    return lambda: CassandraReader(location, timeout_s)


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)
