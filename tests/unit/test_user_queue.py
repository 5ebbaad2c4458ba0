"""The queue before the store: each user once, the latest set, every change."""

import pytest

from jobs.stores.cassandra_messages import UserSet
from jobs.stores.cassandra_queue import UserQueue
from udfs.outbox import CHANGES_MAX

pytestmark = pytest.mark.unit

USERS, BYTES = 8, 4_096


def user_set(user_id="u1", ticket=1, document=b"{}"):
    """The set that came of the change of the same number."""
    return UserSet(user_id, ticket, ticket, document, ((ticket, b"change %d" % ticket),))


def queue_of(*sets, users_max=100):
    queue = UserQueue(users_max)
    for one in sets:
        assert queue.put(one)
    return queue


def users(group):
    return [one.user_id for one in group]


def versions(one):
    return [version for version, _ in one.changes]


def test_users_are_taken_in_the_order_of_their_coming():
    queue = queue_of(user_set("u2"), user_set("u1"), user_set("u3"))
    assert users(queue.take_group(2, BYTES)) == ["u2", "u1"]
    assert users(queue.take_group(2, BYTES)) == ["u3"]
    assert queue.take_group(2, BYTES) == []
    assert not queue.is_empty


def test_the_latest_set_of_a_user_goes_with_the_changes_of_all():
    queue = queue_of(user_set(ticket=1), user_set(ticket=2, document=b"two"))
    (taken,) = queue.take_group(USERS, BYTES)
    assert (taken.ticket, taken.document, versions(taken)) == (2, b"two", [1, 2])


def test_the_changes_of_one_user_that_wait_are_bounded():
    queue = queue_of(*(user_set(ticket=n) for n in range(1, CHANGES_MAX + 5)))
    (taken,) = queue.take_group(USERS, BYTES)
    assert versions(taken) == list(range(5, CHANGES_MAX + 5))


def test_a_user_on_the_way_is_not_taken_again_before_it_has_arrived():
    queue = queue_of(user_set(ticket=1))
    group = queue.take_group(USERS, BYTES)
    assert queue.put(user_set(ticket=2))
    assert queue.put(user_set(ticket=3))
    assert queue.take_group(USERS, BYTES) == []
    queue.release(group)
    (taken,) = queue.take_group(USERS, BYTES)
    assert (taken.ticket, versions(taken)) == (3, [2, 3])
    queue.release([taken])
    assert queue.is_empty


def test_what_is_on_its_way_already_is_not_sent_again():
    queue = queue_of(user_set())
    group = queue.take_group(USERS, BYTES)
    assert queue.put(user_set())
    queue.release(group)
    assert queue.is_empty


def test_what_did_not_arrive_waits_again_behind_the_others():
    queue = queue_of(user_set("u1"), user_set("u2"))
    queue.put_back(queue.take_group(1, BYTES), refused=False)
    assert users(queue.take_group(USERS, BYTES)) == ["u2", "u1"]


def test_what_did_not_arrive_does_not_replace_what_came_later():
    queue = queue_of(user_set(ticket=1))
    group = queue.take_group(USERS, BYTES)
    queue.put(user_set(ticket=2))
    queue.put_back(group, refused=False)
    (taken,) = queue.take_group(USERS, BYTES)
    assert (taken.ticket, versions(taken)) == (2, [1, 2])


def test_who_was_refused_goes_alone():
    queue = queue_of(user_set("u1"), user_set("u2"))
    queue.put_back(queue.take_group(2, BYTES), refused=True)
    queue.put(user_set("u3"))
    queue.put(user_set("u4"))
    groups = [users(queue.take_group(USERS, BYTES)) for _ in range(3)]
    assert groups == [["u1"], ["u2"], ["u3", "u4"]]


def test_a_refusal_is_remembered_when_a_later_set_comes():
    queue = queue_of(user_set("u1"), user_set("u2"))
    queue.put_back(queue.take_group(2, BYTES), refused=True)
    queue.put(user_set("u1", 2))
    (taken,) = queue.take_group(USERS, BYTES)
    assert (taken.user_id, taken.refusals) == ("u1", 1)


def test_a_group_is_bounded_in_bytes_but_one_user_always_goes():
    queue = queue_of(user_set("u1"), user_set("u2", document=bytes(BYTES)), user_set("u3"))
    groups = [queue.take_group(USERS, BYTES) for _ in range(3)]
    assert [users(group) for group in groups] == [["u1"], ["u2"], ["u3"]]


def test_there_is_no_room_for_more_users_than_may_wait_but_for_their_later_sets():
    queue = queue_of(user_set("u1"), user_set("u2"), users_max=2)
    assert not queue.put(user_set("u3"))
    assert queue.put(user_set("u1", 2))
    queue.take_group(1, BYTES)
    assert queue.put(user_set("u3"))
    assert users(queue.take_group(USERS, BYTES)) == ["u2", "u3"]
