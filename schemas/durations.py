"""Durations and times as people read and write them, and as whole milliseconds."""

import re
from datetime import UTC, datetime

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_UNIT_MS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)


def parse_duration(text: str) -> int:
    """Return the milliseconds that `text` names, such as `10d`, `1h`, `15m` or `30s`.

    Raises:
        ValueError: the text is not a positive whole number followed by s, m, h or d.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration: write a whole number and s, m, h or d (`10d`)"
        )
    return int(match[1]) * _UNIT_MS[match[2]]


def iso_time(at_ms: int) -> str:
    """Epoch milliseconds as people read them, in UTC and to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
