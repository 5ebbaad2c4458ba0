"""What keeps a writer from pressing on a store: a circuit breaker and a cap on the rate.

Pure: the clock, in seconds from any start, and chance are passed in.
"""

from collections.abc import Callable

FAILURES_MAX = 3
PROBE_AFTER_S = 0.2
PROBE_AFTER_S_MAX = 5.0
BURST_S = 0.1


class Breaker:
    """Opens after failures in a row; then lets one probe through at a time, ever more rarely.

    `chance` gives numbers from 0 to 1: probes of several writers shall not come together.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._failures = 0
        self._probes = 0
        self._probe_at_s: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the store is taken to be down."""
        return self._probe_at_s is not None

    def allows(self, now_s: float) -> bool:
        """Whether a request may be sent now; whoever sends it says so by `sent`."""
        return self._probe_at_s is None or (not self._probing and now_s >= self._probe_at_s)

    def sent(self) -> None:
        """A request is on its way: the probe, if the breaker is open."""
        self._probing = self.is_open

    def succeeded(self) -> None:
        """The store did what it was asked."""
        self._failures = self._probes = 0
        self._probe_at_s = None
        self._probing = False

    def failed(self, now_s: float) -> None:
        """The store did not. What fails besides the probe while the breaker is open is old."""
        self._failures += 1
        if self._probing or (not self.is_open and self._failures >= FAILURES_MAX):
            wait_s = min(PROBE_AFTER_S * 2**self._probes, PROBE_AFTER_S_MAX)
            self._probe_at_s = now_s + wait_s * (0.5 + self._chance() / 2)
            self._probes += 1
            self._probing = False


class RateCap:
    """Lets so many through a second, and after a rest a tenth of that at once."""

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = per_s
        self._left = per_s * BURST_S
        self._at_s = now_s

    def left(self, now_s: float) -> int:
        """How many may go now."""
        refilled = self._left + (now_s - self._at_s) * self._per_s
        self._left = min(refilled, self._per_s * BURST_S)
        self._at_s = now_s
        return int(self._left)

    def spend(self, count: int) -> None:
        """So many went."""
        self._left -= count
