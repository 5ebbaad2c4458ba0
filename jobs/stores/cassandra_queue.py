"""What waits for the store and what is on its way to it, a user each. Pure."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from schemas.changes import Change
from schemas.segments import Publication, UserSegments
from udfs.outbox import CHANGES_MAX

_ROW_BYTES = 100

_json = msgspec.json.Encoder().encode


class Unsent(NamedTuple):
    """The latest set of a user and every change not yet stored. `refusals`: how often refused."""

    ticket: int
    current: UserSegments
    changes: tuple[Change, ...]
    refusals: int = 0

    @property
    def user_id(self) -> str:
        return self.current.user_id


class UserWrite(NamedTuple):
    """One user as written: the documents of the set and of each change, by its version."""

    unsent: Unsent
    document: bytes
    changes: tuple[tuple[int, bytes], ...]

    @property
    def user_id(self) -> str:
        return self.unsent.user_id

    @property
    def size_bytes(self) -> int:
        """About what the store counts as the size of this write."""
        rows = (self.document, *(document for _, document in self.changes))
        return sum(map(len, rows)) + _ROW_BYTES * len(rows)


class UserQueue:
    """Users in the order of their coming, each once: a newer set replaces the one that waits.

    A user is not taken again while their last write is on its way: what comes in meanwhile is held
    back. No more than `users_max` wait; `put` tells when there is no room for one more.
    """

    def __init__(self, users_max: int) -> None:
        self._users_max = users_max
        self._waiting: OrderedDict[str, Unsent] = OrderedDict()
        self._taken: dict[str, Unsent] = {}
        self._held: dict[str, Unsent] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return not self._waiting and not self._taken

    @property
    def has_waiting(self) -> bool:
        """Whether `take_group` would give something."""
        return bool(self._waiting)

    def put(self, ticket: int, publication: Publication) -> bool:
        """Take a user's set; False if there is no room for it."""
        unsent = Unsent(ticket, publication.current, publication.changes)
        user_id = unsent.user_id
        taken = self._taken.get(user_id)
        if taken is not None and taken.ticket == ticket:
            return True
        queue = self._waiting if taken is None else self._held
        older = queue.get(user_id)
        if older is not None:
            queue[user_id] = _merge(older, unsent)
        elif len(self._waiting) + len(self._held) < self._users_max:
            queue[user_id] = unsent
        else:
            return False
        return True

    def take_group(self, users_max: int, bytes_max: int) -> list[UserWrite]:
        """The users to write in one request, the oldest first. One refused before goes alone."""
        group: list[UserWrite] = []
        room_bytes = bytes_max
        while self._waiting and len(group) < users_max:
            user_id, unsent = self._waiting.popitem(last=False)
            write = _encode(unsent)
            room_bytes -= write.size_bytes
            if group and (room_bytes < 0 or unsent.refusals or group[0].unsent.refusals):
                self._waiting[user_id] = unsent
                self._waiting.move_to_end(user_id, last=False)
                break
            self._taken[user_id] = unsent
            group.append(write)
        return group

    def release(self, group: Sequence[UserWrite]) -> None:
        """These are done with: what was held back for their users may go."""
        for write in group:
            del self._taken[write.user_id]
            held = self._held.pop(write.user_id, None)
            if held is not None:
                self._waiting[write.user_id] = held

    def put_back(self, group: Sequence[UserWrite], refused: bool) -> None:
        """These did not reach the store (or were `refused` by it) and wait again."""
        for write in group:
            unsent = self._taken.pop(write.user_id)
            held = self._held.pop(write.user_id, None)
            unsent = unsent if held is None else _merge(unsent, held)
            self._waiting[write.user_id] = unsent._replace(refusals=unsent.refusals + refused)


def _merge(older: Unsent, newer: Unsent) -> Unsent:
    """The newer set with the changes of both."""
    changes = {change.version: change for change in (*older.changes, *newer.changes)}
    kept = tuple(changes.values())[-CHANGES_MAX:]
    return Unsent(newer.ticket, newer.current, kept, older.refusals)


def _encode(unsent: Unsent) -> UserWrite:
    changes = tuple((change.version, _json(change)) for change in unsent.changes)
    return UserWrite(unsent, _json(unsent.current), changes)
