"""The stack's commands: `up`, `status`, `down`."""

import logging
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from stack.errors import StackError
from stack.servers import DEFAULT_FOLDER, READY_WITHIN_S, Progress, Stack, StackSpec
from stack.servers import up as bring_up
from stack.state import PARTS, Part

app = typer.Typer(
    help="The real servers on this machine: Kafka, Cassandra and Flink, for trials and tests.",
    no_args_is_help=True,
    rich_markup_mode=None,
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
    timeout_s: Annotated[
        float, typer.Option(min=1, help="How long the servers may take.")
    ] = READY_WITHIN_S,
) -> None:
    """Start every server that does not run, and wait until all are ready.

    On a folder that has a stack already, the ports and the data stay.
    """
    # The clients that ask whether a server is ready would tell that it is not.
    logging.disable(logging.CRITICAL)
    try:
        ports = (kafka_port, cassandra_port, flink_port)
        spec = StackSpec(folder, _parts(only), task_managers, *ports, ready_within_s=timeout_s)
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
    """Print each server: state, pid, memory, address and log."""
    try:
        stack = Stack(folder)
    except StackError as error:
        _fail(str(error))
    rows = [("server", "state", "pid", "MiB", "address", "log")]
    for server in stack.servers:
        process = stack.process(server)
        state = ("dead", "-", "-")
        if process is not None:
            state = ("running", str(process.pid), f"{process.memory_bytes() / 2**20:.0f}")
        rows.append((server.name, *state, server.address, str(stack.log(server))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


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
    unknown = [part for part in named if part not in PARTS]
    if unknown:
        raise StackError(f"--only {only}: {unknown[0]!r} is none of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in named)


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
