"""What waits for the store and what is on its way to it, a user each. Pure."""

from collections import OrderedDict
from collections.abc import Sequence

from msgspec.structs import replace

from jobs.stores.cassandra_messages import UserSet
from udfs.outbox import CHANGES_MAX

_ROW_BYTES = 100


class UserQueue:
    """Users in the order of their coming, each once: a newer set replaces the one that waits.

    A user is not taken again while their last write is on its way: what comes in meanwhile is held
    back. No more than `users_max` wait; `put` tells when there is no room for one more.
    """

    def __init__(self, users_max: int) -> None:
        self._users_max = users_max
        self._waiting: OrderedDict[str, UserSet] = OrderedDict()
        self._taken: dict[str, UserSet] = {}
        self._held: dict[str, UserSet] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return not self._waiting and not self._taken

    @property
    def has_waiting(self) -> bool:
        """Whether `take_group` would give something."""
        return bool(self._waiting)

    def put(self, user_set: UserSet) -> bool:
        """Take a user's set; False if there is no room for it."""
        user_id = user_set.user_id
        taken = self._taken.get(user_id)
        if taken is not None and taken.ticket == user_set.ticket:
            return True
        queue = self._waiting if taken is None else self._held
        older = queue.get(user_id)
        if older is not None:
            queue[user_id] = _merge(older, user_set)
        elif len(self._waiting) + len(self._held) < self._users_max:
            queue[user_id] = user_set
        else:
            return False
        return True

    def take_group(self, users_max: int, bytes_max: int) -> list[UserSet]:
        """The users to write in one request, the oldest first. One refused before goes alone."""
        group: list[UserSet] = []
        room_bytes = bytes_max
        while self._waiting and len(group) < users_max:
            user_id, user_set = next(iter(self._waiting.items()))
            room_bytes -= _size_bytes(user_set)
            if group and (room_bytes < 0 or user_set.refusals or group[0].refusals):
                break
            del self._waiting[user_id]
            self._taken[user_id] = user_set
            group.append(user_set)
        return group

    def release(self, group: Sequence[UserSet]) -> None:
        """These are done with: what was held back for their users may go."""
        for user_set in group:
            del self._taken[user_set.user_id]
            held = self._held.pop(user_set.user_id, None)
            if held is not None:
                self._waiting[user_set.user_id] = held

    def put_back(self, group: Sequence[UserSet], refused: bool) -> None:
        """These did not reach the store (or were `refused` by it) and wait again."""
        for user_set in group:
            del self._taken[user_set.user_id]
            held = self._held.pop(user_set.user_id, None)
            latest = user_set if held is None else _merge(user_set, held)
            self._waiting[user_set.user_id] = replace(latest, refusals=latest.refusals + refused)


def _merge(older: UserSet, newer: UserSet) -> UserSet:
    """The newer set with the changes of both."""
    changes = tuple(dict((*older.changes, *newer.changes)).items())
    return replace(newer, changes=changes[-CHANGES_MAX:], refusals=older.refusals)


def _size_bytes(user_set: UserSet) -> int:
    """About what the store counts as the size of writing this."""
    documents = (user_set.document, *(document for _, document in user_set.changes))
    return sum(map(len, documents)) + _ROW_BYTES * len(documents)
