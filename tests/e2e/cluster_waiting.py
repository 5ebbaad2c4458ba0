"""Waiting for what must happen in the end: conditions, never lengths of time."""

import time
from collections.abc import Callable
from typing import TypeVar

# The machine may have other work; what takes longer than this is taken for never.
WITHIN_S = 300.0
POLL_S = 0.25

Found = TypeVar("Found")


def wait_until(found: Callable[[], Found], what: str, within_s: float = WITHIN_S) -> Found:
    """Ask until the answer is true, and return it; fail when it is not in time."""
    until = time.monotonic() + within_s
    while not (answer := found()):
        assert time.monotonic() < until, f"not within {within_s:.0f} s: {what}"
        time.sleep(POLL_S)
    return answer
