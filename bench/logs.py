"""The logs that are measured: seeded, so that every run reads the same bytes."""

from itertools import islice
from pathlib import Path

from jobs.generate import Shares, generate_log

SEED = 1
DAYS = 30
START_MS = 1_767_571_200_000  # 2026-01-05T00:00Z
SHARES = Shares(duplicates=0.05, disorder=0.05, late=0.002, malformed=0.01)
PLAIN = Shares(duplicates=0.05, disorder=0.05, late=0, malformed=0)


def write_log(path: Path, lines: int, lines_per_user: int = 20, shares: Shares = SHARES) -> str:
    """Write a log of users who come back over a month; returns in words what it holds."""
    return generate_log(path, lines, lines // lines_per_user, DAYS, START_MS, SEED, shares)


def write_head(log: Path, lines: int) -> Path:
    """Write the first lines of a log to a file beside it."""
    head = log.with_name(f"{log.stem}-{lines}{log.suffix}")
    with log.open("rb") as whole, head.open("wb") as out:
        out.writelines(islice(whole, lines))
    return head
