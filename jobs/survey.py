"""One look through a log before it is run: how many lines, and where event time ends."""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from schemas.events import Event
from udfs.intake import Intake, read_event, time_fault

GZIP_MAGIC = b"\x1f\x8b"


class LogError(ValueError):
    """A log that cannot be run; the message says why and what to do."""


class Survey(NamedTuple):
    """What a log holds. Times are epoch ms of the events among its lines."""

    lines: int
    events: int
    first_ms: int
    last_ms: int


def survey_log(path: Path, intake: Intake, now_ms: int) -> Survey:
    """Read a log through once.

    Raises:
        LogError: there is no such file, it is damaged, or not one line of it is an event.
    """
    lines = events = 0
    first_ms, last_ms = 2**62, 0
    faults: Counter[str] = Counter()
    try:
        for line in _lines(path):
            lines += 1
            event = read_event(line, intake)
            fault = (
                time_fault(event.occurred_at, now_ms, intake) if isinstance(event, Event) else event
            )
            if fault is not None:
                faults[f"{fault.reason} {fault.field}".strip() + f": {fault.detail}"] += 1
            elif isinstance(event, Event):
                events += 1
                first_ms = min(first_ms, event.occurred_at)
                last_ms = max(last_ms, event.occurred_at)
    except (OSError, EOFError, zlib.error) as error:
        raise LogError(f"{path}: {error}") from error
    if not events:
        raise LogError(_no_events(path, lines, faults))
    return Survey(lines, events, first_ms, last_ms)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines as Flink's raw format splits them: at line feeds, without them."""
    with path.open("rb") as probe:
        zipped = probe.read(2) == GZIP_MAGIC
    if zipped != (path.suffix == ".gz"):
        kind = "gzip" if zipped else "not gzip"
        raise LogError(f"{path}: the content is {kind}: name gzip files .gz, and no others")
    with gzip.open(path) if zipped else path.open("rb") as log:
        for line in log:
            yield line.removesuffix(b"\n")


def _no_events(path: Path, lines: int, faults: Counter[str]) -> str:
    if not lines:
        return f"{path}: the file is empty"
    shown = "\n".join(f"  {count:>8} x {fault}" for fault, count in faults.most_common(3))
    return (
        f"{path}: none of {lines} lines is an event. The commonest faults:\n{shown}\n"
        "A log with other field names is read with --map (ts=occurred_at,advert_id=item_id) and"
        " --default (type=view)."
    )
