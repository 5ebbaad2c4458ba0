"""Write timestamps under which no later write is ever discarded.

Of two writes to a row Cassandra keeps the one with the larger timestamp, and acknowledges the other
all the same. A writer whose clock is behind its predecessor's would lose every write unnoticed, so
it starts from the timestamp that is stored. Pure: the clock is passed in.
"""

from collections import OrderedDict

AHEAD_US_MAX = 3_600_000_000
TIMESTAMP_US_MAX = 2**63 - 1


def next_timestamp(last_us: int, now_us: int) -> int:
    """The timestamp of a write over one at `last_us`, by a clock that says `now_us`."""
    return min(max(last_us + 1, now_us), TIMESTAMP_US_MAX)


def is_far_ahead(stored_us: int, now_us: int) -> bool:
    """Whether a stored timestamp lies so far in the future that some clock must be wrong."""
    return stored_us > now_us + AHEAD_US_MAX


class WriteTimestamps:
    """The last timestamp of each row that this writer knows of, in microseconds.

    Of more than `rows_max` rows the one used longest ago is forgotten, and has to be read again.
    """

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._last_us: OrderedDict[str, int] = OrderedDict()

    def knows(self, row: str) -> bool:
        """Whether the row may be written; if not, `learn` what is stored first."""
        return row in self._last_us

    def learn(self, row: str, stored_us: int) -> None:
        """Take the timestamp of the row in the store, 0 if it is not there."""
        self._last_us[row] = max(stored_us, self._last_us.get(row, 0))
        self._last_us.move_to_end(row)
        if len(self._last_us) > self._rows_max:
            self._last_us.popitem(last=False)

    def take(self, row: str, now_us: int) -> int:
        """The timestamp for the next write of a known row.

        Raises:
            KeyError: the row is not known.
        """
        timestamp_us = next_timestamp(self._last_us[row], now_us)
        self._last_us[row] = timestamp_us
        self._last_us.move_to_end(row)
        return timestamp_us
