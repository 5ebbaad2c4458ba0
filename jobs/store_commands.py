"""The commands that look after the distributed store: `store migrate` and `store rebuild`."""

from typing import Annotated, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jobs.commands import console
from jobs.kafka_clients import DEFAULT_BOOTSTRAP, BrokerError
from jobs.rebuild import RebuildError
from jobs.rebuild import rebuild as rebuild_store
from jobs.stores.migrate import StoreSetupError, parse_replication
from jobs.stores.migrate import migrate as migrate_store
from schemas.locations import CassandraUrl, parse_store

app = typer.Typer(name="store", help="Look after the distributed store.", no_args_is_help=True)

BootstrapOption = Annotated[str, typer.Option(help="Kafka's address: HOST:PORT.")]
StoreOption = Annotated[str, typer.Option(help="Which store: cassandra://HOST[:PORT]/KEYSPACE.")]


@app.callback()
def store() -> None:
    """Look after the distributed store."""


@app.command()
def migrate(
    store: StoreOption,
    replication: Annotated[
        str | None,
        typer.Option(help="Replicas of a new keyspace: 3, or dc1:3,dc2:3. Default: up to 3."),
    ] = None,
) -> None:
    """Make the keyspace and its tables, or bring them up to date. Safe to run again."""
    try:
        url = _cassandra(store)
        replicas = None if replication is None else parse_replication(replication, url.datacenter)
        migrate_store(url, replicas, typer.echo)
    except (StoreSetupError, ValueError) as error:
        _fail(str(error))


@app.command()
def rebuild(
    store: StoreOption,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    rate: Annotated[float, typer.Option(min=1, help="Users a second, at most.")] = 1_000,
) -> None:
    """Have the running job write every user's set again: after the store was lost or restored."""
    columns = (TextColumn("rebuilding"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("users", total=None)
            users = rebuild_store(
                bootstrap,
                _cassandra(store),
                rate,
                lambda written, total: bar.update(task, completed=written, total=total),
            )
    except (BrokerError, RebuildError, ValueError) as error:
        _fail(str(error))
    typer.echo(f"{users:,} users written again")


def _cassandra(store: str) -> CassandraUrl:
    url = parse_store(store)
    if isinstance(url, CassandraUrl):
        return url
    raise ValueError(f"--store {store}: only a Cassandra store is migrated")


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)
