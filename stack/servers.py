"""The stack: its servers brought up, killed, stopped, started again and taken down."""

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from stack import process
from stack.cassandra import Cassandra
from stack.errors import ServerFailedError, StackError
from stack.flink import Flink, TaskManager
from stack.java import require_java
from stack.kafka import Kafka
from stack.process import Process
from stack.server import Server
from stack.state import PARTS, Part, Ports, State, choose_ports, read_state, write_state

DEFAULT_FOLDER = Path(".stack")
READY_WITHIN_S = 180.0
STOPPED_WITHIN_S = 30.0
_POLL_S = 0.2


class StackSpec(NamedTuple):
    """What to bring up. What is 0 or None is as it was in the folder, else free or the default."""

    folder: Path = DEFAULT_FOLDER
    parts: tuple[Part, ...] | None = None
    task_managers: int | None = None
    kafka_port: int = 0
    cassandra_port: int = 0
    flink_port: int = 0
    ready_within_s: float = READY_WITHIN_S


class Progress(NamedTuple):
    """How far `up` is: which server has become ready, `seconds` after the last was started."""

    ready: str | None
    seconds: float
    awaited: tuple[str, ...]


Watch = Callable[[Progress], None]


class Stack:
    """The stack in a folder. As a context manager it is taken down at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._state()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.folder.exists():
            self.down()

    @property
    def kafka(self) -> Kafka:
        ports = self._state().ports
        return Kafka(self.folder / "kafka", ports.kafka, ports.kafka_controller)

    @property
    def cassandra(self) -> Cassandra:
        ports = self._state().ports
        return Cassandra(self.folder / "cassandra", ports.cassandra, ports.cassandra_storage)

    @property
    def flink(self) -> Flink:
        ports = self._state().ports
        return Flink(self.folder / "flink", ports.flink, ports.flink_rpc)

    @property
    def task_managers(self) -> list[TaskManager]:
        return self.flink.task_managers(self._state().task_managers)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Which of Kafka, Cassandra and Flink this stack has."""
        return self._state().parts

    @property
    def servers(self) -> list[Server]:
        """Every server of the stack, running or not."""
        members: dict[Part, list[Server]] = {
            "cassandra": [self.cassandra],
            "flink": [self.flink.job_manager, *self.task_managers],
            "kafka": [self.kafka],
        }
        return [server for part, those in members.items() if part in self.parts for server in those]

    def log(self, server: Server) -> Path:
        """Everything that a server has printed, over all its starts."""
        return self.folder / "logs" / f"{server.name}.log"

    def process(self, server: Server) -> Process | None:
        """What a server runs as; None while it does not."""
        known = self._state().processes.get(server.name)
        return known if known is not None and known.found() is not None else None

    def kill(self, server: Server) -> None:
        """End a server as a failing machine would: SIGKILL, its children included."""
        self._end([server], signal.SIGKILL)

    def stop(self, server: Server) -> None:
        """End a server in good order: SIGTERM, and SIGKILL if it takes too long."""
        self._end([server], signal.SIGTERM)

    def start(self, *servers: Server, within_s: float = READY_WITHIN_S) -> None:
        """Start those servers that do not run, with their data, and wait until all are ready.

        Raises:
            ServerFailedError: one ended or was not ready in time; those started here are stopped.
            StackError: something that a server needs is missing.
        """
        with _locked(self.folder):
            self._start(servers, within_s, lambda _: None)

    def down(self, keep: bool = False) -> None:
        """Stop everything and remove the folder, unless it is to be kept."""
        with _locked(self.folder):
            self._end(self.servers, signal.SIGTERM)
            if not keep:
                shutil.rmtree(self.folder)

    def _start(self, servers: Sequence[Server], within_s: float, watch: Watch) -> None:
        started: list[Server] = []
        try:
            for server in servers:
                if self.process(server) is None:
                    started.append(server)
                    watch(Progress(None, 0, tuple(s.name for s in started)))
                    self._spawn(server)
            self._wait(servers, within_s, watch)
        except BaseException:
            self._end(started, signal.SIGTERM)
            raise

    def _spawn(self, server: Server) -> None:
        log = self.log(server)
        log.parent.mkdir(exist_ok=True)
        started = process.start(server.prepare(), log)
        state = self._state()
        processes = {**state.processes, server.name: started}
        write_state(self.folder, msgspec.structs.replace(state, processes=processes))

    def _wait(self, servers: Sequence[Server], within_s: float, watch: Watch) -> None:
        began = time.monotonic()
        awaited = [server.name for server in servers]
        while awaited:
            for server in servers:
                runs_as = self.process(server)
                if runs_as is None:
                    raise ServerFailedError(server.name, "ended", self.log(server))
                seconds = time.monotonic() - began
                if server.name not in awaited:
                    continue
                if server.is_ready(runs_as):
                    awaited.remove(server.name)
                    watch(Progress(server.name, seconds, tuple(awaited)))
                elif seconds > within_s:
                    what = f"was not ready within {within_s:.0f} s"
                    raise ServerFailedError(server.name, what, self.log(server))
            time.sleep(_POLL_S)

    def _end(self, servers: Sequence[Server], first: signal.Signals) -> None:
        processes = self._state().processes
        known = [processes[server.name] for server in servers if server.name in processes]
        process.end(known, first, STOPPED_WITHIN_S)

    def _state(self) -> State:
        # Read anew each time: a command may have changed it since.
        state = read_state(self.folder)
        if state is None:
            raise StackError(f"there is no stack in {self.folder}: `segstream stack up` makes one")
        return state


def up(spec: StackSpec, watch: Watch = lambda _: None) -> Stack:
    """Bring a stack up: start what does not run yet, and wait until every server does its work.

    On a folder that has a stack, the ports and the data stay.

    Raises:
        ServerFailedError: a server ended or was not ready in time; those started here are stopped.
        StackError: the folder cannot be used, or Java or Maven is missing.
    """
    require_java()
    spec.folder.mkdir(parents=True, exist_ok=True)
    with _locked(spec.folder):
        known = read_state(spec.folder)
        if known is None and any(spec.folder.iterdir()):
            raise StackError(f"{spec.folder} is no stack and not empty: name another folder")
        state = merged_state(spec, known)
        write_state(spec.folder, state)
        stack = Stack(spec.folder)
        stack._start(stack.servers, spec.ready_within_s, watch)
    return stack


def merged_state(spec: StackSpec, known: State | None) -> State:
    """The state that `spec` asks for, given what the folder has.

    Raises:
        StackError: the folder's stack has other ports, or more TaskManagers.
    """
    if known is None:
        ports = choose_ports(spec.kafka_port, spec.cassandra_port, spec.flink_port)
        return State(spec.parts or PARTS, ports, spec.task_managers or 2)
    _check_ports(spec, known.ports)
    if spec.task_managers is not None and spec.task_managers < known.task_managers:
        raise StackError(
            f"{spec.folder} has {known.task_managers} TaskManagers, and `up` stops none:"
            " take the stack down first, or name another folder"
        )
    parts = tuple(part for part in PARTS if part in known.parts or part in (spec.parts or ()))
    count = spec.task_managers or known.task_managers
    return msgspec.structs.replace(known, parts=parts, task_managers=count)


def _check_ports(spec: StackSpec, ports: Ports) -> None:
    for name, asked, has in (
        ("kafka", spec.kafka_port, ports.kafka),
        ("cassandra", spec.cassandra_port, ports.cassandra),
        ("flink", spec.flink_port, ports.flink),
    ):
        if asked not in (0, has):
            raise StackError(
                f"--{name}-port {asked}: {name} has port {has} in {spec.folder}."
                " Take the stack down first, or name another folder"
            )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One command at a time works on a folder; a second one waits."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
