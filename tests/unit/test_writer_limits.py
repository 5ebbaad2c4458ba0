"""What keeps a writer from pressing on a store that is down, or on the job that it runs beside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.stores.cassandra_limits import (
    BURST_S,
    FAILURES_MAX,
    PROBE_AFTER_S,
    PROBE_AFTER_S_MAX,
    Breaker,
    RateCap,
)

pytestmark = pytest.mark.unit


def breaker(chance=1.0):
    return Breaker(lambda: chance)


def opened(chance=1.0, now_s=0.0):
    made = breaker(chance)
    for _ in range(FAILURES_MAX):
        made.sent()
        made.failed(now_s)
    return made


def failed_probe(tried, now_s):
    assert tried.allows(now_s)
    tried.sent()
    tried.failed(now_s)


def test_it_is_closed_until_enough_failed_in_a_row():
    tried = breaker()
    for _ in range(FAILURES_MAX - 1):
        tried.failed(0.0)
    tried.succeeded()
    for _ in range(FAILURES_MAX - 1):
        tried.failed(0.0)
    assert not tried.is_open
    assert tried.allows(0.0)
    tried.failed(0.0)
    assert tried.is_open
    assert not tried.allows(0.0)


def test_open_it_lets_one_probe_through_when_it_is_time():
    tried = opened()
    assert not tried.allows(PROBE_AFTER_S - 0.01)
    assert tried.allows(PROBE_AFTER_S)
    tried.sent()
    assert not tried.allows(PROBE_AFTER_S + 60)


def test_a_probe_that_succeeds_closes_it():
    tried = opened()
    tried.sent()
    tried.succeeded()
    assert not tried.is_open
    tried.sent()
    assert tried.allows(0.0)


def test_probes_come_ever_more_rarely_up_to_a_limit():
    tried, now_s, waits_s = opened(), 0.0, []
    for _ in range(8):
        before_s = now_s
        while not tried.allows(now_s):
            now_s += 0.01
        waits_s.append(round(now_s - before_s, 1))
        failed_probe(tried, now_s)
    assert waits_s == sorted(waits_s)
    assert waits_s[0] == PROBE_AFTER_S
    assert waits_s[-1] == PROBE_AFTER_S_MAX


def test_after_a_recovery_it_starts_with_short_waits_again():
    tried = opened()
    for now_s in (10.0, 20.0, 30.0):
        failed_probe(tried, now_s)
    tried.sent()
    tried.succeeded()
    for _ in range(FAILURES_MAX):
        tried.failed(40.0)
    assert tried.allows(40.0 + PROBE_AFTER_S)


def test_failures_of_requests_from_before_do_not_put_the_probe_off():
    tried = opened()
    for _ in range(50):
        tried.failed(0.1)
    assert tried.allows(PROBE_AFTER_S)


@given(st.floats(0, 1))
def test_chance_moves_a_probe_by_no_more_than_half_its_wait(chance):
    tried = opened(chance)
    assert not tried.allows(PROBE_AFTER_S * 0.49)
    assert tried.allows(PROBE_AFTER_S)


def test_a_rate_is_kept_over_time():
    cap, spent = RateCap(100.0, 0.0), 0
    for step in range(1_001):
        left = cap.left(step * 0.01)
        cap.spend(left)
        spent += left
    assert spent == pytest.approx(10 * 100 + 100 * BURST_S, abs=1)


def test_after_a_rest_no_more_than_a_burst_goes_at_once():
    cap = RateCap(1_000.0, 0.0)
    assert cap.left(3_600.0) == 1_000 * BURST_S
    cap.spend(100)
    assert cap.left(3_600.0) == 0
    assert cap.left(3_600.01) == 10
