"""The outbox: what has to reach the store, until the store says that it has."""

import pytest

from tests.unit.builders import change, publication
from udfs import outbox
from udfs.outbox import (
    CHANGES_MAX,
    LOOK_EVERY_MS,
    RESEND_AFTER_MS,
    RESEND_AFTER_MS_MAX,
    decode_outbox,
    encode_outbox,
    look,
    put,
)

pytestmark = pytest.mark.unit

NOW_MS = 1_770_000_000_000


def pending(ticket=7, now_ms=NOW_MS, **fields):
    return put(None, publication(**fields), ticket, now_ms).outbox


def test_a_new_set_is_sent_at_once_and_looked_after():
    step = put(None, publication(), 7, NOW_MS)
    assert step.send
    assert step.outbox.current == publication().current
    assert step.outbox.changes == publication().changes
    assert (step.outbox.ticket, step.outbox.attempt, step.outbox.sent_at_ms) == (7, 1, NOW_MS)
    assert NOW_MS < step.wake_at_ms <= NOW_MS + 2 * LOOK_EVERY_MS


def test_a_later_set_replaces_the_pending_one_and_keeps_its_changes():
    first = pending(version=1)
    step = put(first, publication(version=2), 8, NOW_MS + 5)
    assert step.send
    assert step.outbox.current == publication(version=2).current
    assert [c.version for c in step.outbox.changes] == [1, 2]
    assert (step.outbox.ticket, step.outbox.sent_at_ms) == (8, NOW_MS + 5)


def test_a_set_without_changes_keeps_those_that_wait():
    step = put(pending(version=3), publication(version=3, changes=()), 8, NOW_MS)
    assert [c.version for c in step.outbox.changes] == [3]


def test_a_new_set_starts_the_back_off_anew():
    tried = look(pending(), 0, NOW_MS + RESEND_AFTER_MS).outbox
    assert tried.attempt == 2
    assert put(tried, publication(version=2), 8, NOW_MS).outbox.attempt == 1


def test_the_changes_that_wait_are_bounded_and_the_latest_are_kept():
    many = [change(version=version) for version in range(1, CHANGES_MAX + 1)]
    full = pending(version=CHANGES_MAX, changes=many)
    step = put(full, publication(version=CHANGES_MAX + 1), 8, NOW_MS)
    assert [c.version for c in step.outbox.changes] == list(range(2, CHANGES_MAX + 2))


def test_a_stored_set_is_cleared():
    assert look(pending(ticket=7), 7, NOW_MS) == (None, False, None)
    assert look(pending(ticket=7), 9, NOW_MS) == (None, False, None)


@pytest.mark.parametrize("stored", [0, 6])
def test_a_set_whose_ticket_is_not_stored_waits_until_it_is_overdue(stored):
    waiting = look(pending(ticket=7), stored, NOW_MS + RESEND_AFTER_MS - 1)
    assert not waiting.send
    assert waiting.outbox == pending(ticket=7)
    assert waiting.wake_at_ms > NOW_MS + RESEND_AFTER_MS - 1
    again = look(pending(ticket=7), stored, NOW_MS + RESEND_AFTER_MS)
    assert again.send
    assert (again.outbox.attempt, again.outbox.sent_at_ms) == (2, NOW_MS + RESEND_AFTER_MS)


def test_each_resend_waits_twice_as_long_up_to_a_bound():
    entry, now_ms, waits = pending(), NOW_MS, []
    for _ in range(8):
        wait = next(ms for ms in range(0, 200_000, 1_000) if look_only(entry, now_ms + ms))
        waits.append(wait)
        now_ms += wait
        entry = look(entry, 0, now_ms).outbox
    assert waits == [10_000, 20_000, 40_000, 80_000] + [RESEND_AFTER_MS_MAX] * 4


def look_only(entry, now_ms):
    """Whether a look would send, without its effect on the entry."""
    return look(decode_outbox(encode_outbox(entry)), 0, now_ms).send


def test_many_attempts_do_not_overflow_the_wait():
    entry = pending()
    entry.attempt = 5_000
    assert look(entry, 0, NOW_MS + RESEND_AFTER_MS_MAX).send


def test_what_a_savepoint_brought_back_is_sent_again():
    restored = decode_outbox(encode_outbox(pending(ticket=NOW_MS * 1_000)))
    # The writer of the new run has stored nothing of this user: it reports no ticket.
    step = look(restored, 0, NOW_MS + 3_600_000)
    assert step.send
    assert step.outbox.current == publication().current
    assert step.outbox.changes == publication().changes
    assert look(step.outbox, NOW_MS * 1_000, NOW_MS + 3_600_001).outbox is None


def test_puts_of_one_user_share_their_next_look_and_users_do_not():
    period = NOW_MS - NOW_MS % LOOK_EVERY_MS
    looks = {put(None, publication(), 1, period + ms).wake_at_ms for ms in (0, 1, 5_000, 9_999)}
    assert len(looks) == 1
    users = {put(None, publication(f"u{n}"), 1, period).wake_at_ms for n in range(200)}
    assert len(users) > 150
    assert min(users) >= period + LOOK_EVERY_MS
    assert max(users) < period + 2 * LOOK_EVERY_MS


def test_an_outbox_survives_being_written_and_read():
    entry = pending()
    assert decode_outbox(encode_outbox(entry)) == entry
    assert encode_outbox(entry)[0] == outbox.OUTBOX_LAYOUT
