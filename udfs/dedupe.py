"""Event ids already counted for a user, packed: twelve bytes an id, oldest first.

Each entry is the 64-bit xxHash of the id and, in four bytes, the user clock in whole seconds when
it was counted. An id is remembered while the clock is less than the horizon past that second.
"""

from typing import NamedTuple

import xxhash

_HASH_BYTES = 8
_ENTRY_BYTES = 12


class Dedupe(NamedTuple):
    """How long and how many ids are remembered for one user."""

    horizon_s: int
    ids_max: int


def expired(seen: bytes, clock_ms: int, dedupe: Dedupe) -> bytes:
    """`seen` without the entries that the horizon has passed at `clock_ms`."""
    oldest_s = clock_ms // 1000 - dedupe.horizon_s
    start = 0
    while start < len(seen) and _seconds(seen, start) <= oldest_s:
        start += _ENTRY_BYTES
    return seen[start:] if start else seen


def hash_of(event_id: str) -> bytes:
    """The eight bytes that stand for an id."""
    return xxhash.xxh64_digest(event_id.encode())


def contains(seen: bytes, digest: bytes) -> bool:
    """Whether the id of this hash is among those remembered."""
    at = seen.find(digest)
    while at >= 0 and at % _ENTRY_BYTES:
        at = seen.find(digest, at + 1)
    return at >= 0


def remember(seen: bytes, digest: bytes, clock_ms: int, dedupe: Dedupe) -> tuple[bytes, bool]:
    """Add an id. Returns the entries and whether the oldest had to be forgotten for room."""
    entry = digest + (clock_ms // 1000).to_bytes(4, "big")
    full = len(seen) >= dedupe.ids_max * _ENTRY_BYTES
    return (seen[_ENTRY_BYTES:] if full else seen) + entry, full


def ends_at(seen: bytes, dedupe: Dedupe) -> int | None:
    """When the last id will be forgotten, in epoch ms; None when none is remembered."""
    if not seen:
        return None
    return (_seconds(seen, len(seen) - _ENTRY_BYTES) + dedupe.horizon_s) * 1000


def _seconds(seen: bytes, start: int) -> int:
    return int.from_bytes(seen[start + _HASH_BYTES : start + _ENTRY_BYTES], "big")
