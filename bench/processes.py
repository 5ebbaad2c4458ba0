"""Commands run as processes of their own, none of which outlives the measurement."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TIMEOUT_S = 600
READY = re.compile(r"running on (http://\S+)")


def segstream(*arguments: object) -> list[str]:
    """The command line of the product."""
    return [sys.executable, "-m", "segstream", *map(str, arguments)]


def seconds_of(command: list[str], folder: Path) -> float:
    """Run a command to its end; how long it took. What it leaves behind lies in `folder`.

    Raises:
        RuntimeError: it failed.
    """
    said = folder / "output.txt"
    started = time.perf_counter()
    with said.open("wb") as out, process(command, folder, out.fileno()) as running:
        code = running.wait(TIMEOUT_S)
    if code:
        raise RuntimeError(f"{' '.join(command)}\n{said.read_text(errors='replace')[-3000:]}")
    return time.perf_counter() - started


@contextmanager
def server(command: list[str], folder: Path) -> Iterator[int]:
    """Start a server that says where it listens once it does; its port.

    Raises:
        RuntimeError: it ended before it listened.
    """
    said = folder / f"server-{time.monotonic_ns()}.txt"
    with said.open("wb") as out, process(command, folder, out.fileno()) as running:
        while (found := READY.search(said.read_text())) is None:
            if running.poll() is not None:
                raise RuntimeError(f"{' '.join(command)}\n{said.read_text()}")
            time.sleep(0.05)
        yield int(found[1].rpartition(":")[2])


@contextmanager
def process(command: list[str], folder: Path, out: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, so that what it starts ends with it.

    It says what it has to say to the file `out`.
    """
    root = str(Path(__file__).parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": root,
        "FLINK_LOG_DIR": str(folder),
        "TMPDIR": str(folder),
    }
    started = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield started
    finally:
        for ending in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(started.pid, ending)
            with suppress(subprocess.TimeoutExpired):
                started.wait(5)
