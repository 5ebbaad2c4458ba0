"""What a stack's folder remembers between commands."""

import os
import random
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import msgspec

from stack.errors import StackError
from stack.process import Process
from stack.server import HOST

Part = Literal["kafka", "cassandra", "flink"]
PARTS: tuple[Part, ...] = ("kafka", "cassandra", "flink")
_FILE = "stack.json"
# Below the ports that the system gives to outgoing connections: a client that keeps calling a
# stopped server on one of those can end up connected to itself, and then holds the port.
_PORTS = range(10_000, 32_000)


class Ports(msgspec.Struct, frozen=True):
    """The ports that stay the same as long as the folder exists."""

    kafka: int
    kafka_controller: int
    cassandra: int
    cassandra_storage: int
    flink: int
    flink_rpc: int


class State(msgspec.Struct, frozen=True):
    """Which servers there are, where they listen, and what they last ran as, by name."""

    parts: tuple[Part, ...]
    ports: Ports
    task_managers: int
    processes: dict[str, Process] = {}


def read_state(folder: Path) -> State | None:
    """The state of the stack in `folder`; None where there is none.

    Raises:
        StackError: the file is damaged.
    """
    file = folder / _FILE
    if not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=State)
    except msgspec.DecodeError as error:
        raise StackError(f"{file} is damaged: {error}") from None


def write_state(folder: Path, state: State) -> None:
    """Replace the state, whole."""
    beside = folder / f".{_FILE}"
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
    os.replace(beside, folder / _FILE)


def choose_ports(kafka: int, cassandra: int, flink: int) -> Ports:
    """Ports for a new stack; a free one stands in for each 0, and is free at this moment only."""
    with ExitStack() as held:
        return Ports(
            kafka=kafka or _free_port(held),
            kafka_controller=_free_port(held),
            cassandra=cassandra or _free_port(held),
            cassandra_storage=_free_port(held),
            flink=flink or _free_port(held),
            flink_rpc=_free_port(held),
        )


def _free_port(held: ExitStack) -> int:
    """A port that nobody listens on, held until the others are chosen too."""
    for port in random.sample(_PORTS, 1_000):
        probe = held.enter_context(socket.socket())
        try:
            probe.bind((HOST, port))
        except OSError:
            continue
        return port
    raise StackError(f"no port from {_PORTS.start} to {_PORTS.stop} is free")
