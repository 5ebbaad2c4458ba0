"""What every server of the stack is: a name, an address, a way to start it and a true readiness."""

from pathlib import Path
from string import Template
from typing import Protocol

from stack.java import CONF
from stack.process import Command, Process

HOST = "127.0.0.1"


class Server(Protocol):
    """One process of the stack. Servers are values: two of the same name are the same server."""

    @property
    def name(self) -> str:
        """What it is called in commands, in the state file and in the name of its log."""

    @property
    def address(self) -> str:
        """Where it listens, as people write it."""

    def prepare(self) -> Command:
        """Write the files that it needs; the command that starts it.

        Raises:
            StackError: something that it needs is missing.
        """

    def is_ready(self, process: Process) -> bool:
        """Whether it does its work now, asked as its clients would.

        `process` is what it runs as: an answer on its port may come from another server.
        """


def write_configuration(name: str, target: Path, **values: object) -> None:
    """Fill `stack/conf/NAME` in and write it to `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(Template((CONF / name).read_text()).substitute(values))
