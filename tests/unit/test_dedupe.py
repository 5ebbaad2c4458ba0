"""Remembered event ids against a naive dict."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs import dedupe
from udfs.dedupe import Dedupe, ends_at, expired, hash_of

pytestmark = pytest.mark.unit

AT_MS = 1_770_000_000_000
DAY = Dedupe(86_400, 1_000)


def contains(seen, event_id):
    return dedupe.contains(seen, hash_of(event_id))


def remember(seen, event_id, clock_ms, limits):
    return dedupe.remember(seen, hash_of(event_id), clock_ms, limits)


def test_an_id_is_known_once_remembered():
    seen, forgotten = remember(b"", "e1", AT_MS, DAY)
    assert contains(seen, "e1")
    assert not contains(seen, "e2")
    assert not forgotten
    assert not contains(b"", "e1")


def test_an_id_takes_twelve_bytes_however_long_it_is():
    seen, _ = remember(b"", "e" * 128, AT_MS, DAY)
    seen, _ = remember(seen, "ü" * 128, AT_MS, DAY)
    assert len(seen) == 24
    assert contains(seen, "ü" * 128)


def test_an_id_is_remembered_for_the_whole_horizon_and_no_longer():
    seen, _ = remember(b"", "e1", AT_MS, DAY)
    gone_ms = AT_MS + 86_400_000
    assert contains(expired(seen, gone_ms - 1, DAY), "e1")
    assert expired(seen, gone_ms, DAY) == b""
    assert ends_at(seen, DAY) == gone_ms


def test_only_the_oldest_are_forgotten():
    seen = b""
    for second in range(5):
        seen, _ = remember(seen, f"e{second}", AT_MS + second * 1_000, DAY)
    left = expired(seen, AT_MS + 86_400_000 + 2_000, DAY)
    assert [contains(left, f"e{second}") for second in range(5)] == [False] * 3 + [True] * 2
    assert ends_at(left, DAY) == AT_MS + 4_000 + 86_400_000


def test_nothing_remembered_ends_never():
    assert ends_at(b"", DAY) is None
    assert expired(b"", AT_MS, DAY) == b""


def test_the_oldest_makes_room_when_there_are_too_many():
    few = Dedupe(86_400, 2)
    seen, _ = remember(b"", "e1", AT_MS, few)
    seen, forgotten = remember(seen, "e2", AT_MS, few)
    assert not forgotten
    seen, forgotten = remember(seen, "e3", AT_MS, few)
    assert forgotten
    assert [contains(seen, name) for name in ("e1", "e2", "e3")] == [False, True, True]


def test_an_id_is_looked_for_at_whole_entries_only():
    seen, _ = remember(b"", "e1", AT_MS, DAY)
    digest = seen[:8]
    shifted = b"\x00" * 4 + digest
    assert not contains(shifted, "e1"), "the same bytes across two entries are another id"
    assert contains(shifted + digest + b"\x00" * 4, "e1")


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4_000)), max_size=60),
    horizon_s=st.integers(1, 10),
    ids_max=st.integers(1, 6),
)
def test_what_is_remembered_is_what_a_dict_remembers(steps, horizon_s, ids_max):
    dedupe = Dedupe(horizon_s, ids_max)
    clock_ms, seen, naive = AT_MS, b"", {}
    for number, step_ms in steps:
        clock_ms += step_ms
        seen = expired(seen, clock_ms, dedupe)
        naive = {n: s for n, s in naive.items() if clock_ms // 1000 - s < horizon_s}
        for known in range(13):
            assert contains(seen, f"e{known}") == (known in naive)
        if number not in naive:
            seen, forgotten = remember(seen, f"e{number}", clock_ms, dedupe)
            assert forgotten == (len(naive) == ids_max)
            if forgotten:
                del naive[next(iter(naive))]
            naive[number] = clock_ms // 1000
        assert len(seen) == 12 * len(naive)
        last = max(naive.values(), default=None)
        assert ends_at(seen, dedupe) == (None if last is None else (last + horizon_s) * 1000)
