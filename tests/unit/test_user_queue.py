"""The queue before the store: each user once, the latest set, every change."""

import msgspec
import pytest

from jobs.stores.cassandra_queue import UserQueue
from tests.unit.builders import change, publication, segment
from udfs.outbox import CHANGES_MAX

pytestmark = pytest.mark.unit

USERS, BYTES = 8, 4_096


def queue_of(*publications, users_max=100):
    queue = UserQueue(users_max)
    for ticket, one in enumerate(publications, 1):
        assert queue.put(ticket, one)
    return queue


def users(group):
    return [write.user_id for write in group]


def versions(write):
    return [version for version, _ in write.changes]


def test_users_are_taken_in_the_order_of_their_coming():
    queue = queue_of(publication("u2"), publication("u1"), publication("u3"))
    assert users(queue.take_group(2, BYTES)) == ["u2", "u1"]
    assert users(queue.take_group(2, BYTES)) == ["u3"]
    assert queue.take_group(2, BYTES) == []
    assert not queue.is_empty


def test_what_is_written_is_the_documents():
    (write,) = queue_of(publication()).take_group(USERS, BYTES)
    assert write.document == msgspec.json.encode(publication().current)
    assert write.changes == ((1, msgspec.json.encode(change())),)


def test_the_latest_set_of_a_user_goes_with_the_changes_of_all():
    queue = queue_of(publication(version=1), publication(version=2), publication(version=2))
    (write,) = queue.take_group(USERS, BYTES)
    assert write.unsent.ticket == 3
    assert write.unsent.current == publication(version=2).current
    assert versions(write) == [1, 2]


def test_the_changes_of_one_user_that_wait_are_bounded():
    queue = queue_of(*(publication(version=n) for n in range(1, CHANGES_MAX + 5)))
    (write,) = queue.take_group(USERS, BYTES)
    assert versions(write) == list(range(5, CHANGES_MAX + 5))


def test_a_user_on_the_way_is_not_taken_again_before_it_has_arrived():
    queue = queue_of(publication(version=1))
    group = queue.take_group(USERS, BYTES)
    assert queue.put(2, publication(version=2))
    assert queue.put(3, publication(version=3))
    assert queue.take_group(USERS, BYTES) == []
    queue.release(group)
    (write,) = queue.take_group(USERS, BYTES)
    assert (write.unsent.ticket, versions(write)) == (3, [2, 3])
    queue.release([write])
    assert queue.is_empty


def test_what_is_on_its_way_already_is_not_sent_again():
    queue = queue_of(publication())
    group = queue.take_group(USERS, BYTES)
    assert queue.put(1, publication())
    queue.release(group)
    assert queue.is_empty


def test_what_did_not_arrive_waits_again_behind_the_others():
    queue = queue_of(publication("u1"), publication("u2"))
    queue.put_back(queue.take_group(1, BYTES), refused=False)
    assert users(queue.take_group(USERS, BYTES)) == ["u2", "u1"]


def test_what_did_not_arrive_does_not_replace_what_came_later():
    queue = queue_of(publication(version=1))
    group = queue.take_group(USERS, BYTES)
    queue.put(2, publication(version=2))
    queue.put_back(group, refused=False)
    (write,) = queue.take_group(USERS, BYTES)
    assert (write.unsent.ticket, versions(write)) == (2, [1, 2])


def test_who_was_refused_goes_alone():
    queue = queue_of(publication("u1"), publication("u2"))
    queue.put_back(queue.take_group(2, BYTES), refused=True)
    queue.put(3, publication("u3"))
    queue.put(4, publication("u4"))
    groups = [users(queue.take_group(USERS, BYTES)) for _ in range(3)]
    assert groups == [["u1"], ["u2"], ["u3", "u4"]]


def test_a_refusal_is_remembered_when_a_later_set_comes():
    queue = queue_of(publication("u1"), publication("u2"))
    queue.put_back(queue.take_group(2, BYTES), refused=True)
    queue.put(3, publication("u1", version=2))
    (write,) = queue.take_group(USERS, BYTES)
    assert (write.user_id, write.unsent.refusals) == ("u1", 1)


def test_a_group_is_bounded_in_bytes_but_one_user_always_goes():
    fat = [segment(f"make={number}") for number in range(40)]
    queue = queue_of(publication("u1"), publication("u2", segments=fat), publication("u3"))
    groups = [queue.take_group(USERS, BYTES) for _ in range(3)]
    assert [users(group) for group in groups] == [["u1"], ["u2"], ["u3"]]
    assert groups[1][0].size_bytes > BYTES


def test_there_is_no_room_for_more_users_than_may_wait_but_for_their_later_sets():
    queue = queue_of(publication("u1"), publication("u2"), users_max=2)
    assert not queue.put(3, publication("u3"))
    assert queue.put(4, publication("u1", version=2))
    queue.take_group(1, BYTES)
    assert queue.put(5, publication("u3"))
    assert users(queue.take_group(USERS, BYTES)) == ["u2", "u3"]
