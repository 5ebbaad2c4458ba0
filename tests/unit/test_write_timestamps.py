"""Write timestamps: a later write is never below an earlier one, whatever the clocks say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.stores.cassandra_timestamps import (
    AHEAD_US_MAX,
    TIMESTAMP_US_MAX,
    WriteTimestamps,
    is_far_ahead,
    next_timestamp,
)

pytestmark = pytest.mark.unit

NOW_US = 1_770_000_000_000_000
HOUR_US = 3_600_000_000

times_us = st.integers(0, TIMESTAMP_US_MAX - 1)


@given(times_us, times_us)
def test_the_next_is_above_the_last_and_not_behind_the_clock(last_us, now_us):
    timestamp_us = next_timestamp(last_us, now_us)
    assert timestamp_us > last_us
    assert timestamp_us >= now_us
    assert timestamp_us in (last_us + 1, now_us)


def test_there_is_no_timestamp_above_the_largest():
    assert next_timestamp(TIMESTAMP_US_MAX, NOW_US) == TIMESTAMP_US_MAX


@given(times_us, st.lists(times_us, min_size=1, max_size=20))
def test_a_writer_stays_above_what_is_stored_however_its_clock_jumps(stored_us, clock_us):
    timestamps = WriteTimestamps(10)
    timestamps.learn("u1", stored_us)
    taken = [timestamps.take("u1", now_us) for now_us in clock_us]
    assert stored_us < taken[0]
    assert taken == sorted(taken)
    assert len(set(taken)) == len(taken) or taken[-1] == TIMESTAMP_US_MAX


def test_a_writer_whose_clock_is_an_hour_slow_is_above_its_predecessor():
    before, after = WriteTimestamps(10), WriteTimestamps(10)
    before.learn("u1", 0)
    stored_us = before.take("u1", NOW_US)
    assert stored_us == NOW_US
    after.learn("u1", stored_us)
    assert after.take("u1", NOW_US - HOUR_US) == NOW_US + 1
    assert after.take("u1", NOW_US - HOUR_US) == NOW_US + 2
    assert after.take("u1", NOW_US + HOUR_US) == NOW_US + HOUR_US


def test_learning_again_does_not_go_back():
    timestamps = WriteTimestamps(10)
    timestamps.learn("u1", 0)
    taken_us = timestamps.take("u1", NOW_US)
    timestamps.learn("u1", 5)
    assert timestamps.take("u1", 0) == taken_us + 1


def test_rows_do_not_mix():
    timestamps = WriteTimestamps(10)
    timestamps.learn("u1", NOW_US)
    timestamps.learn("u2", 0)
    assert timestamps.take("u2", 5) == 5


def test_a_row_never_learnt_has_no_timestamp():
    timestamps = WriteTimestamps(10)
    assert not timestamps.knows("u1")
    with pytest.raises(KeyError):
        timestamps.take("u1", NOW_US)


def test_the_row_used_longest_ago_is_forgotten_and_has_to_be_learnt_again():
    timestamps = WriteTimestamps(2)
    timestamps.learn("u1", 0)
    timestamps.learn("u2", 0)
    timestamps.take("u1", NOW_US)
    timestamps.learn("u3", 0)
    assert [timestamps.knows(row) for row in ("u1", "u2", "u3")] == [True, False, True]


def test_only_a_timestamp_more_than_an_hour_ahead_is_far_ahead():
    assert not is_far_ahead(NOW_US, NOW_US)
    assert not is_far_ahead(NOW_US + AHEAD_US_MAX, NOW_US)
    assert is_far_ahead(NOW_US + AHEAD_US_MAX + 1, NOW_US)
