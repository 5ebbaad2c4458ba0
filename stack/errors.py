"""What can go wrong with the stack, each with a message for the person at the terminal."""

from pathlib import Path

TAIL_LINES = 25


class StackError(RuntimeError):
    """The stack cannot do what was asked; the message says why and what to do."""


class ServerFailedError(StackError):
    """A server ended, or was not ready in time. The message names its log and ends with its tail."""

    def __init__(self, server: str, what: str, log: Path) -> None:
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        tail = "\n".join(f"  | {line}" for line in lines[-TAIL_LINES:])
        super().__init__(
            f"{server} {what}. Its log is {log}" + (f"; its end:\n{tail}" if tail else "")
        )
        self.server = server
        self.log = log
