"""Brings what the operator published to Cassandra, and tells what has arrived there."""

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from typing import Any, NamedTuple

from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.query import BatchStatement, BoundStatement

from jobs.stores.cassandra_limits import Breaker, RateCap
from jobs.stores.cassandra_messages import (
    Flush,
    Flushed,
    FromStore,
    ProgressNote,
    RuleSetNote,
    Stored,
    ToStore,
    UserSet,
    WriterCounts,
    WriterJob,
)
from jobs.stores.cassandra_queue import UserQueue
from jobs.stores.cassandra_session import Rows, StoreSession, UserWrite, fault_text
from jobs.stores.cassandra_timestamps import WriteTimestamps, is_far_ahead
from schemas.progress import Progress

REFUSALS_MAX = 3
WARN_EVERY_S = 60.0
NO_ANSWER = (NoHostAvailable, OperationTimedOut, ConnectionException)

log = logging.getLogger(__name__)


class _Answer(NamedTuple):
    """What came of a request, and who is to hear it."""

    hear: Callable[[Any], None]
    value: Any
    failed: bool


class Inbox:
    """What other threads leave for the sender's.

    There is no lock: a deque is appended to by one thread and emptied by another as a whole.
    """

    def __init__(self) -> None:
        self.messages: deque[ToStore] = deque()
        self.answers: deque[_Answer] = deque()
        self.closing = False
        self._wake = Event()
        self._resting = False

    def put(self, message: ToStore) -> None:
        """Leave a message, and wake the sender if it rests."""
        self.messages.append(message)
        if self._resting:
            self._wake.set()

    def close(self) -> None:
        """Have the sender end soon."""
        self.closing = True
        self._wake.set()

    def rest(self) -> None:
        """Wait until there is something. What comes in between is seen by one side or the other."""
        self._wake.clear()
        self._resting = True
        if not self.messages and not self.closing:
            self._wake.wait()
        self._resting = False


class Sender:
    """Takes what has gathered, and sends it in few requests: a few times a second many at once.

    All of it runs in one thread, the caller of `run`; the driver's threads only append answers to
    the inbox. `tell` is called in that thread too.
    """

    def __init__(
        self,
        job: WriterJob,
        inbox: Inbox,
        tell: Callable[[FromStore], object],
        now_us: Callable[[], int],
    ) -> None:
        self._url = job.url
        self._settings = job.settings
        self._inbox = inbox
        self._tell = tell
        self._now_us = now_us
        self._queue = UserQueue(job.settings.users_waiting_max)
        self._rulesets: deque[RuleSetNote] = deque()
        self._progress: Progress | None = None
        self._flushes: list[tuple[Flush, float]] = []
        self._timestamps = WriteTimestamps(job.settings.users_remembered_max)
        # Users who are known, and of whom nothing has arrived since they are.
        self._not_begun: set[str] = set()
        self._progress_timestamps = WriteTimestamps(rows_max=1)
        self._breaker = Breaker(random.random)
        self._rate = RateCap(job.settings.writes_per_s_max, time.monotonic())
        self._session: StoreSession | None = None
        self._connecting: Thread | None = None
        self._in_flight = 0
        self._stored: list[tuple[str, int]] = []
        self._counts = WriterCounts()
        self._fault = ""
        self._opened_at_s = 0.0
        self._warned_at_s = -WARN_EVERY_S

    def run(self) -> None:
        """Send until the inbox is closing."""
        try:
            while not self._inbox.closing:
                if not self._pass():
                    self._inbox.rest()
                time.sleep(self._settings.gather_s)
        finally:
            if self._connecting is not None:
                self._connecting.join()
            if self._session is not None:
                self._session.close()

    def _pass(self) -> bool:
        """Take what has come, send what may go, tell what was stored; whether anything is left."""
        inbox = self._inbox
        while inbox.answers:
            self._hear(inbox.answers.popleft())
        while inbox.messages:
            self._take(inbox.messages.popleft())
        if self._session is None:
            self._connect()
        elif self._is_lost():
            self._session.close()
            self._session = None
        else:
            self._send(self._session)
        if self._stored:
            self._tell(Stored(self._stored, self._counts))
            self._stored = []
        busy = bool(self._in_flight or self._rulesets or self._progress or not self._queue.is_empty)
        self._end_flushes(busy)
        return busy

    def _take(self, message: ToStore) -> None:
        match message:
            case UserSet():
                if not self._queue.put(message):
                    self._counts.dropped += 1
            case RuleSetNote():
                self._rulesets.append(message)
            case ProgressNote():
                self._progress = message.progress
            case Flush():
                self._flushes.append((message, time.monotonic() + message.wait_s))

    def _end_flushes(self, busy: bool) -> None:
        """Answer the flushes that have ended, well or not."""
        dropped, left = self._counts.dropped, []
        for flush, until_s in self._flushes:
            if busy and time.monotonic() < until_s:
                left.append((flush, until_s))
                continue
            fault = ""
            if busy:
                said = self._fault or f"{self._url}: the store is slow"
                fault = f"not everything is stored after {flush.wait_s:g} s. {said}"
            elif dropped:
                fault = f"{self._url}: {dropped} sets were given up. {self._fault}"
            self._tell(Flushed(flush.number, fault, self._counts))
        self._flushes = left

    def _hear(self, answer: _Answer) -> None:
        self._in_flight -= 1
        was_open = self._breaker.is_open
        if answer.failed:
            self._counts.failures += 1
            self._fault = fault_text(self._url, answer.value)
            self._breaker.failed(time.monotonic())
        else:
            self._breaker.succeeded()
        if self._breaker.is_open and not was_open:
            self._opened_at_s = time.monotonic()
            log.warning("%s. Segments wait until the store takes them", self._fault)
        elif was_open and not self._breaker.is_open:
            log.warning("%s: the store takes segments again", self._url)
        answer.hear(answer.value)

    def _may_send(self) -> bool:
        room = self._in_flight < self._settings.requests_in_flight_max
        return room and self._breaker.allows(time.monotonic())

    def _is_lost(self) -> bool:
        """Whether to look the nodes up anew: all of them may have come back elsewhere."""
        down_s = time.monotonic() - self._opened_at_s
        return (
            self._breaker.is_open
            and self._in_flight == 0
            and down_s >= self._settings.reconnect_after_s
        )

    def _connect(self) -> None:
        if self._in_flight == 0 and self._may_send():
            self._in_flight += 1
            self._breaker.sent()
            self._connecting = Thread(target=self._open_session, name="store-connect", daemon=True)
            self._connecting.start()

    def _open_session(self) -> None:
        """Connecting waits for the nodes, so it has a thread of its own."""
        try:
            self._session = StoreSession(self._url, self._settings.request_timeout_s)
        except Exception as error:
            self._inbox.answers.append(_Answer(_ignore, error, failed=True))
        else:
            self._inbox.answers.append(_Answer(_ignore, None, failed=False))

    def _send(self, session: StoreSession) -> None:
        while self._rulesets and self._may_send():
            self._send_ruleset(session, self._rulesets.popleft())
        if self._progress is not None and self._may_send():
            self._send_progress(session, self._progress)
            self._progress = None
        settings = self._settings
        left = self._rate.left(time.monotonic())
        while left and self._queue.has_waiting and self._may_send():
            users_max = min(settings.users_per_request, left)
            group = self._queue.take_group(users_max, settings.request_bytes_max)
            left -= len(group)
            self._rate.spend(len(group))
            self._send_users(session, group)

    def _send_users(self, session: StoreSession, group: list[UserSet]) -> None:
        user_ids = [user_set.user_id for user_set in group]
        if all(map(self._timestamps.knows, user_ids)):
            self._write_users(session, group)
            return

        def hear(rows: Rows) -> None:
            stored_us: dict[str, int] = dict(rows)
            for user_id in user_ids:
                self._learn(self._timestamps, user_id, stored_us.get(user_id, 0))
            self._not_begun.update(user_ids)
            self._write_users(session, group)

        self._ask(
            session,
            lambda: session.read_user_timestamps(user_ids),
            hear,
            partial(self._not_arrived, group),
        )

    def _write_users(self, session: StoreSession, group: list[UserSet]) -> None:
        now_us = self._now_us()
        writes = [
            UserWrite(
                each, self._timestamps.take(each.user_id, now_us), each.user_id in self._not_begun
            )
            for each in group
        ]
        self._ask(
            session,
            lambda: session.write_users(writes),
            lambda _: self._arrived(group),
            partial(self._not_arrived, group),
        )

    def _arrived(self, group: list[UserSet]) -> None:
        self._queue.release(group)
        self._counts.stored += len(group)
        self._not_begun.difference_update(user_set.user_id for user_set in group)
        self._stored += [(user_set.user_id, user_set.ticket) for user_set in group]

    def _not_arrived(self, group: list[UserSet], error: Exception) -> None:
        """Try again, a refused group one by one. The outbox comes back to what is given up here."""
        refused = not isinstance(error, NO_ANSWER)
        if refused and group[0].refusals >= REFUSALS_MAX:
            self._queue.release(group)
            self._counts.dropped += len(group)
        else:
            self._queue.put_back(group, refused)

    def _send_ruleset(self, session: StoreSession, note: RuleSetNote) -> None:
        self._ask(
            session,
            lambda: session.write_ruleset(note.version, note.document),
            _ignore,
            lambda _: self._rulesets.append(note),
        )

    def _send_progress(self, session: StoreSession, progress: Progress) -> None:
        row = str(progress.subtask)

        def write() -> None:
            timestamp_us = self._progress_timestamps.take(row, self._now_us())
            self._ask(
                session, lambda: session.write_progress(progress, timestamp_us), _ignore, _ignore
            )

        def hear(rows: Rows) -> None:
            self._learn(self._progress_timestamps, row, rows[0][0] if rows else 0)
            write()

        if self._progress_timestamps.knows(row):
            write()
        else:
            self._ask(
                session, lambda: session.read_progress_timestamp(progress.subtask), hear, _ignore
            )

    def _learn(self, timestamps: WriteTimestamps, row: str, stored_us: int) -> None:
        timestamps.learn(row, stored_us)
        now_us = self._now_us()
        if is_far_ahead(stored_us, now_us):
            self._counts.far_ahead += 1
            if time.monotonic() - self._warned_at_s >= WARN_EVERY_S:
                self._warned_at_s = time.monotonic()
                log.warning(
                    "%s: a row was written at a time %d minutes ahead of this clock (%d such rows"
                    " so far). Some clock is wrong; writes go on above the stored timestamp",
                    self._url,
                    (stored_us - now_us) // 60_000_000,
                    self._counts.far_ahead,
                )

    def _ask(
        self,
        session: StoreSession,
        statement: Callable[[], BatchStatement | BoundStatement],
        hear: Callable[[Any], None],
        hear_fault: Callable[[Any], None],
    ) -> None:
        """Send a statement; one of the two hears of it in a later pass."""
        answers = self._inbox.answers
        self._in_flight += 1
        self._breaker.sent()
        try:
            session.execute(
                statement(),
                lambda rows: answers.append(_Answer(hear, rows, failed=False)),
                lambda error: answers.append(_Answer(hear_fault, error, failed=True)),
            )
        except Exception as error:
            answers.append(_Answer(hear_fault, error, failed=True))


def _ignore(_value: object) -> None:
    """Nothing follows from the answer."""
