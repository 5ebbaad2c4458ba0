"""One look through a log before it is run: how many lines, and where event time ends."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from jobs.log_lines import LogError, LogLines
from schemas.events import Event
from udfs.intake import Intake, read_event, time_fault


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
    for line in LogLines(path):
        lines += 1
        event = read_event(line, intake)
        fault = time_fault(event.occurred_at, now_ms, intake) if isinstance(event, Event) else event
        if fault is not None:
            faults[f"{fault.reason} {fault.field}".strip() + f": {fault.detail}"] += 1
        elif isinstance(event, Event):
            events += 1
            first_ms = min(first_ms, event.occurred_at)
            last_ms = max(last_ms, event.occurred_at)
    if not events:
        raise LogError(_no_events(path, lines, faults))
    return Survey(lines, events, first_ms, last_ms)


def _no_events(path: Path, lines: int, faults: Counter[str]) -> str:
    if not lines:
        return f"{path}: the file is empty"
    shown = "\n".join(f"  {count:>8} x {fault}" for fault, count in faults.most_common(3))
    return (
        f"{path}: none of {lines} lines is an event. The commonest faults:\n{shown}\n"
        "A log with other field names is read with --map (ts=occurred_at,advert_id=item_id) and"
        " --default (type=view)."
    )
