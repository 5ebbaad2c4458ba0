"""Processes that outlive the command that started them, and are found again by a later one."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from stack.errors import STARTED, StackError

_POLL_S = 0.05
# The clock that starts are told by has steps of 10 ms.
_SAME_START_S = 0.05


class Command(NamedTuple):
    """What to run, where, with which environment on top of this process's own."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = {}


class Process(msgspec.Struct, frozen=True):
    """A process of this machine. A pid may be in use again, hence its start, in s since boot."""

    pid: int
    started_s: float

    def found(self) -> psutil.Process | None:
        """The process while it runs; None when it has ended, even if its pid is in use again."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            same = abs(_since_boot_s(found) - self.started_s) < _SAME_START_S
            if same and _runs(found):
                return found
        return None

    def listening_ports(self) -> frozenset[int]:
        """The TCP ports that it, and no other process, accepts connections on."""
        found = self.found()
        with suppress(psutil.NoSuchProcess):
            sockets = found.net_connections("tcp") if found is not None else []
            return frozenset(s.laddr.port for s in sockets if s.status == psutil.CONN_LISTEN)
        return frozenset()

    def memory_bytes(self) -> int:
        """Resident memory, its children's too; 0 when it has ended."""
        total = 0
        for process in _tree(self):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total


def start(command: Command, log: Path) -> Process:
    """Start a process in a session of its own, so that neither Ctrl-C nor our end ends it.

    Its command line, then what it prints, is added to `log`.
    """
    with log.open("ab") as out:
        out.write(f"{STARTED}{shlex.join(command.arguments)}\n".encode())
        out.flush()
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
        StackError: a killed process did not end.
    """
    running = [one for process in processes for one in _tree(process)]
    _signal(running, first)
    _signal(_still_running(running, wait_s), signal.SIGKILL)
    left = _still_running(running, wait_s)
    if left:
        raise StackError(f"killed, but not ended: process {', '.join(str(p.pid) for p in left)}")


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _still_running(processes: Iterable[psutil.Process], wait_s: float) -> list[psutil.Process]:
    """Those that have not ended after `wait_s`; comes back earlier when all have."""
    until = time.monotonic() + wait_s
    while (left := [one for one in processes if _runs(one)]) and time.monotonic() < until:
        time.sleep(_POLL_S)
    return left


def _runs(process: psutil.Process) -> bool:
    """A zombie has ended, whether or not its parent ever asks for it."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


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
