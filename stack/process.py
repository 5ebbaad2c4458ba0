"""Processes that outlive the command that started them, and are found again by a later one."""

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil


class Command(NamedTuple):
    """What to run, where, with which environment on top of this process's own."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = {}


class Process(msgspec.Struct, frozen=True):
    """A process of this machine. A pid may be given away again, hence the start, in s since boot."""

    pid: int
    started_s: float

    def found(self) -> psutil.Process | None:
        """The process while it runs; None when it has ended, even if its pid is in use again."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            same = abs(_since_boot_s(found) - self.started_s) < 0.05
            if same and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None

    def memory_bytes(self) -> int:
        """Resident memory, its children's too; 0 when it has ended."""
        sizes = 0
        for process in _tree(self):
            with suppress(psutil.NoSuchProcess):
                sizes += process.memory_info().rss
        return sizes


def start(command: Command, log: Path) -> Process:
    """Start a process in a session of its own, so that neither Ctrl-C nor our end ends it.

    What it prints is added to `log`.
    """
    with log.open("ab") as out:
        started = subprocess.Popen(
            command.arguments,
            cwd=command.folder,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Process(started.pid, _since_boot_s(psutil.Process(started.pid)))


def end(processes: Iterable[Process], first: signal.Signals, wait_s: float) -> None:
    """Signal processes and their children, then kill what still runs after `wait_s`; wait for all.

    Raises:
        psutil.TimeoutExpired: a killed process did not end.
    """
    running = [one for process in processes for one in _tree(process)]
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(first)
    _, stubborn = psutil.wait_procs(running, timeout=wait_s)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for process in stubborn:
        process.wait(wait_s)


def _tree(process: Process) -> list[psutil.Process]:
    found = process.found()
    if found is None:
        return []
    with suppress(psutil.NoSuchProcess):
        return [found, *found.children(recursive=True)]
    return []


def _since_boot_s(process: psutil.Process) -> float:
    """Unlike the time of day, this does not move when the clock is set."""
    return float(process.create_time() - psutil.boot_time())
