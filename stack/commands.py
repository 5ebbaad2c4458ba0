"""The stack's commands: `up`, `status`, `down`."""

import logging
from pathlib import Path
from typing import Annotated, NoReturn, cast

import typer
from rich.console import Console
from rich.table import Table

from stack.errors import StackError
from stack.servers import DEFAULT_FOLDER, READY_WITHIN_S, Progress, Stack, StackSpec, up as bring_up
from stack.state import PARTS, Part

app = typer.Typer(
    help="The real servers on this machine: Kafka, Cassandra and Flink, for trials and tests.",
    no_args_is_help=True,
)
console = Console(stderr=True, highlight=False, soft_wrap=True)

FolderOption = Annotated[Path, typer.Option(help="Where the stack has its data and its logs.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


@app.command()
def up(
    folder: FolderOption = DEFAULT_FOLDER,
    task_managers: Annotated[
        int | None, typer.Option(min=1, help="TaskManagers of one slot each.", show_default="2")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Some of them: kafka,cassandra,flink.", show_default="all")
    ] = None,
    kafka_port: PortOption = 0,
    cassandra_port: PortOption = 0,
    flink_port: PortOption = 0,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for the servers.")
    ] = READY_WITHIN_S,
) -> None:
    """Start what does not run yet, with the data that it has, and wait until all is ready."""
    # The clients that ask whether a server is ready would tell that it is not.
    logging.disable(logging.CRITICAL)
    try:
        spec = StackSpec(
            *(folder, _parts(only), task_managers),
            *(kafka_port, cassandra_port, flink_port, timeout),
        )
        with console.status("starting") as status:

            def watch(progress: Progress) -> None:
                if progress.ready is not None:
                    console.print(f"{progress.ready} is ready ({progress.seconds:.0f} s)")
                status.update(f"waiting for {', '.join(progress.awaited)}")

            stack = bring_up(spec, watch)
    except (StackError, OSError) as error:
        _fail(str(error))
    _print_addresses(stack)


@app.command()
def status(folder: FolderOption = DEFAULT_FOLDER) -> None:
    """Print each server: whether it runs, as what, where, its log and its memory."""
    try:
        stack = Stack(folder)
    except StackError as error:
        _fail(str(error))
    table = Table("server", "state", "pid", "memory", "address", "log", box=None)
    for server in stack.servers:
        process = stack.process(server)
        table.add_row(
            server.name,
            "dead" if process is None else "running",
            "" if process is None else str(process.pid),
            "" if process is None else f"{process.memory_bytes() / 2**20:,.0f} MiB",
            server.address,
            str(stack.log(server)),
        )
    Console(highlight=False, soft_wrap=True).print(table)


@app.command()
def down(
    folder: FolderOption = DEFAULT_FOLDER,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder and its data.")] = False,
) -> None:
    """Stop every server and remove the folder."""
    try:
        Stack(folder).down(keep)
    except (StackError, OSError) as error:
        _fail(str(error))
    console.print(f"{folder}: stopped" + ("" if keep else " and removed"))


def _parts(only: str | None) -> tuple[Part, ...] | None:
    if only is None:
        return None
    named = [part.strip() for part in only.split(",")]
    for part in named:
        if part not in PARTS:
            raise StackError(f"--only {only}: {part!r} is none of {', '.join(PARTS)}")
    return cast(tuple[Part, ...], tuple(named))


def _print_addresses(stack: Stack) -> None:
    options: dict[Part, str] = {
        "kafka": f"--bootstrap {stack.kafka.bootstrap}",
        "cassandra": f"--store {stack.cassandra.store()}",
        "flink": f"--flink {stack.flink.rest}",
    }
    for part in stack.parts:
        typer.echo(options[part])


def _fail(message: str) -> NoReturn:
    console.print("error: ", style="bold red", end="")
    console.print(message, markup=False)
    raise typer.Exit(1)
