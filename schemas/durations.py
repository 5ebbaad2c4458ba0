"""Durations as people write them (`10d`, `1h`, `30s`), as whole milliseconds."""

import re

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
