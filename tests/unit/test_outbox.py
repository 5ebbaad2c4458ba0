"""The outbox: what has to reach the store, until the store says that it has."""

import pytest

from schemas.state import Membership, Outbox, Profile, decode_profile, encode_profile
from tests.unit.builders import START, change, publication
from udfs.membership import is_empty, published_set
from udfs.outbox import (
    CHANGES_MAX,
    LOOK_EVERY_MS,
    RESEND_AFTER_MS,
    RESEND_AFTER_MS_MAX,
    look,
    put,
)

pytestmark = pytest.mark.unit

NOW_MS = 1_770_000_000_000


def pending(ticket=7, now_ms=NOW_MS, **fields):
    """The profile of a user whose set waits for the store."""
    profile = Profile(START, version=1)
    put(profile, publication(**fields), ticket, now_ms)
    return profile


def versions(profile):
    return [change.version for change in profile.outbox.changes]


def test_a_new_set_is_sent_at_once_and_looked_after():
    profile = Profile(START)
    step = put(profile, publication(), 7, NOW_MS)
    assert (step.send, step.dirty) == (True, True)
    assert NOW_MS < step.wake_at_ms <= NOW_MS + 2 * LOOK_EVERY_MS
    assert profile.outbox == Outbox(7, 1, NOW_MS, [change()])


def test_a_later_set_replaces_the_pending_one_and_keeps_its_changes():
    profile = pending(version=1)
    assert put(profile, publication(version=2), 8, NOW_MS + 5).send
    assert versions(profile) == [1, 2]
    assert (profile.outbox.ticket, profile.outbox.sent_at_ms) == (8, NOW_MS + 5)


def test_a_set_without_changes_keeps_those_that_wait():
    profile = pending(version=3)
    put(profile, publication(version=3, changes=()), 8, NOW_MS)
    assert versions(profile) == [3]


def test_a_new_set_starts_the_back_off_anew():
    profile = pending()
    look("u1", profile, 0, NOW_MS + RESEND_AFTER_MS)
    assert profile.outbox.attempt == 2
    put(profile, publication(version=2), 8, NOW_MS)
    assert profile.outbox.attempt == 1


def test_the_changes_that_wait_are_bounded_and_the_latest_are_kept():
    many = [change(version=version) for version in range(1, CHANGES_MAX + 1)]
    full = pending(version=CHANGES_MAX, changes=many)
    put(full, publication(version=CHANGES_MAX + 1), 8, NOW_MS)
    assert versions(full) == list(range(2, CHANGES_MAX + 2))


@pytest.mark.parametrize("stored", [7, 9])
def test_a_stored_set_is_cleared(stored):
    profile = pending(ticket=7)
    assert look("u1", profile, stored, NOW_MS) == (False, None, True)
    assert profile.outbox is None


def test_a_user_with_nothing_pending_is_left_alone():
    assert look("u1", Profile(START), 0, NOW_MS) == (False, None, False)


@pytest.mark.parametrize("stored", [0, 6])
def test_a_set_whose_ticket_is_not_stored_waits_until_it_is_overdue(stored):
    profile = pending(ticket=7)
    waiting = look("u1", profile, stored, NOW_MS + RESEND_AFTER_MS - 1)
    assert (waiting.send, waiting.dirty) == (False, False)
    assert profile == pending(ticket=7)
    assert waiting.wake_at_ms > NOW_MS + RESEND_AFTER_MS - 1
    again = look("u1", profile, stored, NOW_MS + RESEND_AFTER_MS)
    assert (again.send, again.dirty) == (True, True)
    assert (profile.outbox.attempt, profile.outbox.sent_at_ms) == (2, NOW_MS + RESEND_AFTER_MS)


def test_each_resend_waits_twice_as_long_up_to_a_bound():
    profile, now_ms, waits = pending(), NOW_MS, []
    for _ in range(8):
        wait = next(ms for ms in range(0, 200_000, 1_000) if would_send(profile, now_ms + ms))
        waits.append(wait)
        now_ms += wait
        look("u1", profile, 0, now_ms)
    assert waits == [10_000, 20_000, 40_000, 80_000] + [RESEND_AFTER_MS_MAX] * 4


def would_send(profile, now_ms):
    """Whether a look would send, without its effect on the profile."""
    return look("u1", decode_profile(encode_profile(profile)), 0, now_ms).send


def test_many_attempts_do_not_overflow_the_wait():
    profile = pending()
    profile.outbox.attempt = 5_000
    assert look("u1", profile, 0, NOW_MS + RESEND_AFTER_MS_MAX).send


def test_what_a_savepoint_brought_back_is_sent_again_as_it_was_published():
    profile = pending(ticket=NOW_MS * 1_000)
    profile.memberships = [Membership("fuel=electric", START, 0.625, START + 5, 5, 8)]
    profile.published_ms, profile.ruleset_version = START + 1, 3
    restored = decode_profile(encode_profile(profile))
    # The writer of the new run has stored nothing of this user: it reports no ticket.
    assert look("u1", restored, 0, NOW_MS + 3_600_000).send
    assert versions(restored) == [1]
    again = published_set("u1", restored)
    assert (again.version, again.ruleset_version, again.as_of) == (1, 3, START + 1)
    (held,) = again.segments
    assert (held.segment, held.score, held.since) == ("fuel=electric", 0.625, START)
    assert (held.valid_until, held.matching, held.views) == (START + 5, 5, 8)
    assert look("u1", restored, NOW_MS * 1_000, NOW_MS + 3_600_001) == (False, None, True)


def test_nothing_is_left_of_an_unknown_user_once_the_store_has_their_empty_set():
    profile = pending(changes=())
    profile.version = 0
    assert not is_empty(profile)
    look("u1", profile, 7, NOW_MS)
    assert is_empty(profile)


def test_puts_of_one_user_share_their_next_look_and_users_do_not():
    period = NOW_MS - NOW_MS % LOOK_EVERY_MS
    looks = {wake_of("u1", period + ms) for ms in (0, 1, 5_000, 9_999)}
    assert len(looks) == 1
    users = {wake_of(f"u{n}", period) for n in range(200)}
    assert len(users) > 150
    assert min(users) >= period + LOOK_EVERY_MS
    assert max(users) < period + 2 * LOOK_EVERY_MS


def wake_of(user_id, now_ms):
    return put(Profile(START), publication(user_id), 1, now_ms).wake_at_ms
