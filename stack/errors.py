"""What can go wrong with the stack, each with a message for the person at the terminal."""

import os
import re
from pathlib import Path

# A start's first line in a log: the command, as `set -x` of a shell shows it.
STARTED = "+ "
_SHOWN_LINES = 15
_READ_BYTES = 256 * 1024
_FRAME = re.compile(r"\s+(at |\.\.\. \d+ more)")
_ROUTINE = re.compile(r" (INFO|DEBUG) ")


class StackError(RuntimeError):
    """The stack cannot do what was asked; the message says why and what to do."""


class ServerFailedError(StackError):
    """A server ended, or was not ready in time. The message names its log and shows its end."""

    def __init__(self, server: str, what: str, log: Path) -> None:
        shown = "".join(f"\n  | {line}" for line in telling_lines(log))
        super().__init__(
            f"{server} {what}. Its log is {log}" + (f"; it says:{shown}" if shown else "")
        )
        self.server = server
        self.log = log


def telling_lines(log: Path) -> list[str]:
    """The last lines that a server wrote since its last start.

    Without stack frames, and without routine lines where there are others: a Java server that ends
    buries its reason under both.
    """
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(STARTED)]
    written = lines[starts[-1] + 1 :] if starts else lines
    plain = [line for line in written if not _FRAME.match(line)]
    telling = [line for line in plain if not _ROUTINE.search(line)]
    return (telling or plain)[-_SHOWN_LINES:]
