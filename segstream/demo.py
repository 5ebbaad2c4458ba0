"""`segstream demo`: the whole path on a small generated log, with no server to install."""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import nullcontext
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

READY = re.compile(r"running on (http://\S+)")


class DemoError(RuntimeError):
    """A step of the demo failed; it has said why."""


def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Keep the demo's files here; a temporary folder if absent.")
    ] = None,
    events: Annotated[int, typer.Option(min=100, help="How many lines to generate.")] = 20_000,
) -> None:
    """Generate a log, segment it with the PyFlink job, and answer lookups over HTTP."""
    started = time.monotonic()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with nullcontext(str(folder)) if folder else tempfile.TemporaryDirectory() as name:
        try:
            _steps(Path(name), events)
        except DemoError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
    typer.echo(f"\nFrom a log to an answered lookup in {time.monotonic() - started:.0f} s.")


def _steps(folder: Path, events: int) -> None:
    ruleset = folder / "ruleset.json"
    ruleset.write_bytes(resources.files("segstream").joinpath("used_cars.json").read_bytes())
    log, database, changes = (
        folder / n for n in ("events.jsonl.gz", "segments.db", "changes.jsonl")
    )
    store = f"sqlite:///{database}"
    _run("generate", "--out", log, "--events", events)
    _run(
        *("run", "--events", log, "--ruleset", ruleset, "--store", store, "--changes", changes),
        *("--rejects", folder / "rejects.jsonl", "--late", folder / "late.jsonl"),
    )
    _run("sizes", "--store", store)
    user, segment = _newest_member(changes)
    _run("explain", user, segment, "--store", store)
    _serve_and_ask(store, user)


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "segstream", *map(str, arguments)]


def _run(*arguments: object) -> None:
    typer.echo(f"\n$ segstream {' '.join(map(str, arguments))}")
    if subprocess.run(_command(*arguments), check=False).returncode:
        raise DemoError(f"`segstream {arguments[0]}` failed")


def _newest_member(changes: Path) -> tuple[str, str]:
    """A user and a segment they have entered and not left again."""
    held: dict[tuple[str, str], None] = {}
    for line in changes.read_bytes().splitlines():
        change = json.loads(line)
        key = (change["user_id"], change["segment"])
        held.pop(key, None)
        if change["change"] == "enter":
            held[key] = None
    if not held:
        raise DemoError("nobody is in any segment: generate more events")
    return list(held)[-1]


def _serve_and_ask(store: str, user: str) -> None:
    typer.echo(f"\n$ segstream serve --store {store} --port 0 &")
    command = _command("serve", "--store", store, "--port", 0)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = _address(server)
            url = f"{address}/v1/users/{user}/segments"
            typer.echo(f"$ curl {url}")
            with urllib.request.urlopen(url, timeout=5) as response:
                typer.echo(json.dumps(json.load(response), indent=2))
        finally:
            server.terminate()


def _address(server: subprocess.Popen[str]) -> str:
    """Where the server listens, as it says once it does."""
    said = []
    for line in server.stderr or ():
        said.append(line)
        found = READY.search(line)
        if found:
            return found[1]
    raise DemoError(f"the server did not start:\n{''.join(said)}")
