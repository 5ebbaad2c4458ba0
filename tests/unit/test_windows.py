"""Pane arithmetic, and counts in panes against counting by hand."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.state import Profile
from udfs import windows
from udfs.windows import Window, spread

pytestmark = pytest.mark.unit

HOUR = 3_600_000
TEN_DAYS = Window(HOUR, 240)


def test_an_event_on_a_boundary_belongs_to_the_pane_that_starts_there():
    assert TEN_DAYS.pane_of(5 * HOUR - 1) == 4
    assert TEN_DAYS.pane_of(5 * HOUR) == 5
    assert TEN_DAYS.pane_of(6 * HOUR - 1) == 5


def test_a_pane_leaves_exactly_when_it_is_no_longer_the_first():
    leaves = TEN_DAYS.leaves_at(7)
    assert leaves == (7 + 240) * HOUR
    assert TEN_DAYS.first_pane(leaves - 1) == 7
    assert TEN_DAYS.first_pane(leaves) == 8


def test_a_window_of_one_pane_holds_the_present_pane_only():
    window = Window(1_000, 1)
    assert window.first_pane(5_999) == window.pane_of(5_999) == 5
    assert window.leaves_at(5) == 6_000


@given(
    pane_ms=st.integers(1_000, 86_400_000),
    panes=st.integers(1, 10_000),
    at_ms=st.integers(946_684_800_000, 4_000_000_000_000),
)
def test_the_window_is_always_its_number_of_panes_long(pane_ms, panes, at_ms):
    window = Window(pane_ms, panes)
    first, last = window.first_pane(at_ms), window.pane_of(at_ms)
    assert last - first + 1 == panes
    assert last * pane_ms <= at_ms < (last + 1) * pane_ms
    assert window.leaves_at(first - 1) <= at_ms < window.leaves_at(first)


@given(st.text(max_size=30), st.integers(1, 1_000_000))
def test_the_spread_of_a_user_is_in_range_and_their_own(user_id, over_ms):
    assert 0 <= spread(user_id, over_ms) < over_ms
    assert spread(user_id, over_ms) == spread(user_id, over_ms)


def test_users_are_spread_over_the_whole_range():
    delays = [spread(f"u{number}", 1_000) for number in range(2_000)]
    assert max(Counter(delay // 100 for delay in delays).values()) < 400
    assert len({delay // 100 for delay in delays}) == 10


def shown(profile):
    return {
        pane: {
            profile.cells[cell]: count
            for cell, count in zip(counts[::2], counts[1::2], strict=True)
        }
        for pane, *counts in windows.panes(profile)
    }


def totals(profile):
    return {name: n for name, n in zip(profile.cells, profile.totals, strict=True) if n}


def test_an_empty_profile_has_no_boundary():
    profile = Profile(0)
    assert windows.next_boundary(profile, TEN_DAYS) is None
    assert shown(profile) == {}


def test_panes_close_in_order_and_leave_oldest_first():
    profile = Profile(0)
    for pane, names in ((10, ["view", "a"]), (10, ["view"]), (12, ["view", "b"]), (15, ["b"])):
        windows.add(profile, pane, names)
    assert shown(profile) == {10: {"view": 2, "a": 1}, 12: {"view": 1, "b": 1}, 15: {"b": 1}}
    assert totals(profile) == {"view": 3, "a": 1, "b": 2}
    assert windows.next_boundary(profile, TEN_DAYS) == 250 * HOUR
    windows.drop_oldest(profile)
    assert shown(profile) == {12: {"view": 1, "b": 1}, 15: {"b": 1}}
    assert totals(profile) == {"view": 1, "b": 2}
    windows.drop_oldest(profile)
    windows.drop_oldest(profile)
    assert shown(profile) == totals(profile) == {}
    assert windows.next_boundary(profile, TEN_DAYS) is None


def test_an_event_out_of_order_counts_in_its_own_pane():
    profile = Profile(0)
    windows.add(profile, 20, ["view"])
    windows.add(profile, 18, ["view", "a"])
    windows.add(profile, 19, ["view"])
    windows.add(profile, 18, ["a"])
    assert shown(profile) == {18: {"view": 1, "a": 2}, 19: {"view": 1}, 20: {"view": 1}}
    assert profile.oldest_pane == 18


def test_a_free_cell_is_taken_again():
    profile = Profile(0)
    windows.add(profile, 1, ["a", "b"])
    windows.add(profile, 2, ["b"])
    windows.drop_oldest(profile)
    assert profile.cells == [windows.FREE, "b"]
    windows.add(profile, 3, ["c"])
    assert profile.cells == ["c", "b"]
    assert shown(profile) == {2: {"b": 1}, 3: {"c": 1}}


STEPS = st.lists(
    st.tuples(st.integers(0, 30), st.lists(st.sampled_from("abcd"), unique=True, min_size=1))
    | st.none(),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_counts_are_those_of_counting_by_hand(steps):
    profile, naive = Profile(0), {}
    for step in steps:
        if step is None:
            if naive:
                windows.drop_oldest(profile)
                del naive[min(naive)]
        else:
            pane, names = step
            windows.add(profile, pane, names)
            naive.setdefault(pane, Counter()).update(names)
        assert shown(profile) == {pane: dict(counts) for pane, counts in sorted(naive.items())}
        assert totals(profile) == dict(sum(naive.values(), Counter()))
        assert profile.oldest_pane == min(naive, default=-1)
