"""Somebody who looks users up all the time, whatever happens to the servers."""

from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from threading import Event, Thread
from typing import Self

import httpx

from tests.e2e.cluster_waiting import wait_until

PAUSE_S = 0.05


class Poller:
    """Asks for users in turn, in a thread of its own, while the block lasts.

    `answers` counts them: `fresh`, or what they are stale for. `failures` has what was no answer.
    """

    def __init__(self, url: str, users: Sequence[str]) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._client = httpx.Client(base_url=url, timeout=10, trust_env=False)
        self._users = users
        self._ended = Event()
        self._thread = Thread(target=self._ask_on, daemon=True)

    def __enter__(self) -> Self:
        for user in self._users:
            wait_until(lambda user=user: self._ask(user) is None, f"{user} is known")
        self.answers.clear()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    @property
    def stale_share(self) -> float:
        """How many of the answers were marked stale."""
        return 1 - self.answers["fresh"] / self.answers.total()

    def has_asked_since(self, answers_before: int) -> bool:
        """Whether every user was asked for since there were so many answers."""
        return self.answers.total() > answers_before + len(self._users)

    def _ask_on(self) -> None:
        for user in cycle(self._users):
            if self._ended.wait(PAUSE_S):
                return
            failure = self._ask(user)
            if failure is not None:
                self.failures.append(failure)

    def _ask(self, user: str) -> str | None:
        """Ask for one user; what went wrong, if anything did."""
        try:
            answer = self._client.get(f"/v1/users/{user}/segments")
        except httpx.HTTPError as error:
            return f"{user}: {error!r}"
        if answer.status_code != 200:
            return f"{user}: {answer.status_code} {answer.text}"
        said = answer.json()
        if said["stale"] is not (said["stale_reason"] is not None):
            return f"{user}: {said}"
        self.answers[said["stale_reason"] or "fresh"] += 1
        return None
