"""Counts in panes over a sliding window, with running totals.

An event at t belongs to pane floor(t / P). At time T the window is the W/P panes with an index
above floor(T / P) - W/P, so the pane of index p leaves at exactly (p + W/P) * P.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from schemas.state import Profile

FREE = ""


class Window(NamedTuple):
    """The window's shape: panes of `pane_ms` milliseconds, `panes` of them."""

    pane_ms: int
    panes: int

    def pane_of(self, at_ms: int) -> int:
        """The index of the pane that `at_ms` belongs to."""
        return at_ms // self.pane_ms

    def first_pane(self, at_ms: int) -> int:
        """The index of the oldest pane in the window at `at_ms`."""
        return at_ms // self.pane_ms - self.panes + 1

    def leaves_at(self, pane: int) -> int:
        """The boundary, in epoch ms, at which the pane leaves the window."""
        return (pane + self.panes) * self.pane_ms


def spread(user_id: str, over_ms: int) -> int:
    """A user's own delay in [0, over_ms), so that timers due at one moment do not fire at once."""
    return zlib.crc32(user_id.encode()) % over_ms


# A closed pane is its length in four bytes, then MessagePack of
# [index, cell, count, cell, count, ...]. The length lets the oldest be cut off unread.
_LENGTH_BYTES = 4
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[int]).decode


def next_boundary(profile: Profile, window: Window) -> int | None:
    """When the oldest pane leaves, in epoch ms; None when there is no pane."""
    return None if profile.oldest_pane < 0 else window.leaves_at(profile.oldest_pane)


def cell_index(profile: Profile, name: str) -> int:
    """The place of the cell called `name`, taking a free or a new one if there is none."""
    try:
        return profile.cells.index(name)
    except ValueError:
        pass
    try:
        index = profile.cells.index(FREE)
        profile.cells[index] = name
    except ValueError:
        index = len(profile.cells)
        profile.cells.append(name)
        profile.totals.append(0)
        profile.open_counts.append(0)
    return index


def add(profile: Profile, pane: int, names: list[str]) -> None:
    """Count one event of pane `pane`, which is inside the window, in every named cell."""
    indexes = [cell_index(profile, name) for name in names]
    for index in indexes:
        profile.totals[index] += 1
    if pane > profile.open_pane:
        _open(profile, pane)
    if pane == profile.open_pane:
        for index in indexes:
            profile.open_counts[index] += 1
    else:
        _add_closed(profile, pane, indexes)


def drop_oldest(profile: Profile) -> None:
    """Take the oldest pane out of the window and its counts out of the totals."""
    if profile.closed:
        length = int.from_bytes(profile.closed[:_LENGTH_BYTES], "big")
        counts = _decode(profile.closed[_LENGTH_BYTES : _LENGTH_BYTES + length])
        profile.closed = profile.closed[_LENGTH_BYTES + length :]
        for place in range(1, len(counts), 2):
            _subtract(profile, counts[place], counts[place + 1])
        following = next(_closed(profile.closed), None)
        profile.oldest_pane = profile.open_pane if following is None else following[0]
    else:
        for index, count in enumerate(profile.open_counts):
            if count:
                _subtract(profile, index, count)
                profile.open_counts[index] = 0
        profile.open_pane = profile.oldest_pane = -1


def panes(profile: Profile) -> Iterator[list[int]]:
    """Every pane, oldest first: [index, cell, count, cell, count, ...]."""
    yield from _closed(profile.closed)
    if profile.open_pane >= 0:
        yield _flat(profile.open_pane, enumerate(profile.open_counts))


def _open(profile: Profile, pane: int) -> None:
    """Close the open pane, if there is one, and open a later one."""
    if profile.open_pane < 0:
        profile.oldest_pane = pane
    else:
        profile.closed += _framed(_flat(profile.open_pane, enumerate(profile.open_counts)))
        profile.open_counts = [0] * len(profile.open_counts)
    profile.open_pane = pane


def _add_closed(profile: Profile, pane: int, indexes: list[int]) -> None:
    """Count an event that came out of order, in a pane already closed or one never opened."""
    every = {counts[0]: counts for counts in _closed(profile.closed)}
    counts = every.get(pane, [pane])
    found = dict(zip(counts[1::2], counts[2::2], strict=True))
    for index in indexes:
        found[index] = found.get(index, 0) + 1
    every[pane] = [pane, *(number for pair in found.items() for number in pair)]
    profile.closed = b"".join(_framed(every[index]) for index in sorted(every))
    profile.oldest_pane = min(every)


def _subtract(profile: Profile, index: int, count: int) -> None:
    profile.totals[index] -= count
    if profile.totals[index] == 0:
        profile.cells[index] = FREE


def _closed(packed: bytes) -> Iterator[list[int]]:
    start = 0
    while start < len(packed):
        body = start + _LENGTH_BYTES
        end = body + int.from_bytes(packed[start:body], "big")
        yield _decode(packed[body:end])
        start = end


def _flat(pane: int, counts: Iterable[tuple[int, int]]) -> list[int]:
    return [pane, *(number for pair in counts if pair[1] for number in pair)]


def _framed(counts: list[int]) -> bytes:
    body = _encode(counts)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body
