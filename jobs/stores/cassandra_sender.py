"""The thread beside the operator that brings sets to Cassandra."""

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from typing import Any, NamedTuple

import msgspec
from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.query import BatchStatement, BoundStatement

from jobs.stores.cassandra_limits import Breaker, RateCap
from jobs.stores.cassandra_queue import UserQueue, UserWrite
from jobs.stores.cassandra_session import Rows, StoreSession, fault_text
from jobs.stores.cassandra_timestamps import WriteTimestamps, is_far_ahead
from schemas.locations import CassandraUrl
from schemas.progress import Progress
from schemas.segments import Publication

REFUSALS_MAX = 3
WARN_EVERY_S = 60.0
NO_ANSWER = (NoHostAvailable, OperationTimedOut, ConnectionException)

log = logging.getLogger(__name__)


class WriterSettings(msgspec.Struct, frozen=True):
    """How a writer goes about it; the defaults are those measured to be right.

    What comes within `gather_s` is sent together, `users_per_request` in one request but no more
    than `request_bytes_max` (Cassandra warns of batches above 5 KiB or ten partitions).
    """

    gather_s: float = 0.02
    users_per_request: int = 8
    request_bytes_max: int = 4_096
    requests_in_flight_max: int = 64
    writes_per_s_max: float = 1_500.0
    users_waiting_max: int = 50_000
    users_remembered_max: int = 200_000
    request_timeout_s: float = 3.0
    flush_wait_s: float = 30.0
    close_wait_s: float = 2.0


class WriterCounts(msgspec.Struct):
    """What a writer did since it was opened, in users (`failures`: in requests)."""

    stored: int = 0
    failures: int = 0
    dropped: int = 0
    far_ahead: int = 0


class _Answer(NamedTuple):
    """What came of a request, and who is to hear it."""

    hear: Callable[[Any], None]
    value: Any
    failed: bool


class Inbox:
    """What other threads leave for the sender's.

    There is no lock: each is appended whole by one thread and taken whole by the other.
    """

    def __init__(self) -> None:
        self.sent: deque[tuple[int, Publication]] = deque()
        self.rulesets: deque[tuple[int, bytes]] = deque()
        self.progress: deque[Progress] = deque(maxlen=1)
        self.flushes: deque[Event] = deque()
        self.answers: deque[_Answer] = deque()
        self.closing = False
        self._wake = Event()
        self._resting = False

    def nudge(self) -> None:
        """Wake the sender if it rests. Waking it costs more than looking."""
        if self._resting:
            self._wake.set()

    def rest(self) -> None:
        """Wait until there is something. What comes in between is seen by one side or the other."""
        self._wake.clear()
        self._resting = True
        if not (self.sent or self.rulesets or self.progress or self.flushes or self.closing):
            self._wake.wait()
        self._resting = False


class Sender:
    """Takes what has gathered, a few times a second dozens, and sends it in few requests.

    Everything here but `stored` belongs to this thread: the driver's own only append answers. Each
    turn of another thread keeps the operator waiting, so there are few, and each does much.
    """

    def __init__(
        self, url: CassandraUrl, settings: WriterSettings, inbox: Inbox, now_us: Callable[[], int]
    ) -> None:
        self._url = url
        self._settings = settings
        self._inbox = inbox
        self._now_us = now_us
        self._queue = UserQueue(settings.users_waiting_max)
        self._timestamps = WriteTimestamps(settings.users_remembered_max)
        self._progress_timestamps = WriteTimestamps(rows_max=1)
        self._breaker = Breaker(random.random)
        self._rate = RateCap(settings.writes_per_s_max, time.monotonic())
        self._session: StoreSession | None = None
        self._connecting: Thread | None = None
        self._in_flight = 0
        self._flushes: list[Event] = []
        self._warned_at_s = -WARN_EVERY_S
        self.stored: dict[str, int] = {}
        self.counts = WriterCounts()
        self.fault = ""

    def run(self) -> None:
        """Send until the inbox is closing."""
        try:
            while not self._inbox.closing:
                if not self._pass():
                    self._inbox.rest()
                time.sleep(self._settings.gather_s)
        except Exception:
            self.fault = f"{self._url}: the sending thread broke down"
            log.exception(self.fault)
        finally:
            self._disconnect()

    def _pass(self) -> bool:
        """Take what has come and send what may go; whether anything is left to do."""
        inbox = self._inbox
        # Flushes first: what was sent before one is then taken before it is looked at.
        while inbox.flushes:
            self._flushes.append(inbox.flushes.popleft())
        while inbox.answers:
            self._hear(inbox.answers.popleft())
        while inbox.sent:
            if not self._queue.put(*inbox.sent.popleft()):
                self.counts.dropped += 1
        if self._session is None:
            self._connect()
        else:
            self._send(self._session)
        if self._in_flight or inbox.rulesets or inbox.progress or not self._queue.is_empty:
            return True
        for flush in self._flushes:
            flush.set()
        self._flushes.clear()
        return False

    def _hear(self, answer: _Answer) -> None:
        self._in_flight -= 1
        was_open = self._breaker.is_open
        if answer.failed:
            self.counts.failures += 1
            self.fault = fault_text(self._url, answer.value)
            self._breaker.failed(time.monotonic())
        else:
            self._breaker.succeeded()
        if self._breaker.is_open and not was_open:
            log.warning("%s. Segments wait until the store takes them", self.fault)
        elif was_open and not self._breaker.is_open:
            log.warning("%s: the store takes segments again", self._url)
        answer.hear(answer.value)

    def _may_send(self) -> bool:
        room = self._in_flight < self._settings.requests_in_flight_max
        return room and self._breaker.allows(time.monotonic())

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

    def _disconnect(self) -> None:
        if self._connecting is not None:
            self._connecting.join()
        if self._session is not None:
            self._session.close()

    def _send(self, session: StoreSession) -> None:
        inbox = self._inbox
        while inbox.rulesets and self._may_send():
            self._send_ruleset(session, *inbox.rulesets.popleft())
        if inbox.progress and self._may_send():
            self._send_progress(session, inbox.progress.popleft())
        settings = self._settings
        left = self._rate.left(time.monotonic())
        while left and self._queue.has_waiting and self._may_send():
            users_max = min(settings.users_per_request, left)
            group = self._queue.take_group(users_max, settings.request_bytes_max)
            left -= len(group)
            self._rate.spend(len(group))
            self._send_users(session, group)

    def _send_users(self, session: StoreSession, group: list[UserWrite]) -> None:
        user_ids = [write.user_id for write in group]
        if all(map(self._timestamps.knows, user_ids)):
            self._write_users(session, group)
            return

        def hear(rows: Rows) -> None:
            stored_us: dict[str, int] = dict(rows)
            for user_id in user_ids:
                self._learn(self._timestamps, user_id, stored_us.get(user_id, 0))
            self._write_users(session, group)

        self._ask(
            session,
            lambda: session.read_user_timestamps(user_ids),
            hear,
            partial(self._not_stored, group),
        )

    def _write_users(self, session: StoreSession, group: list[UserWrite]) -> None:
        now_us = self._now_us()
        writes = [(write, self._timestamps.take(write.user_id, now_us)) for write in group]
        self._ask(
            session,
            lambda: session.write_users(writes),
            lambda _: self._stored(group),
            partial(self._not_stored, group),
        )

    def _stored(self, group: list[UserWrite]) -> None:
        self._queue.release(group)
        self.counts.stored += len(group)
        # Not asked for in a long time: to forget only has the outbox send again.
        if len(self.stored) > self._settings.users_remembered_max:
            self.stored.clear()
        for write in group:
            self.stored[write.user_id] = write.unsent.ticket

    def _not_stored(self, group: list[UserWrite], error: Exception) -> None:
        """Try again, a refused group one by one. The outbox comes back to what is given up here."""
        refused = not isinstance(error, NO_ANSWER)
        if refused and group[0].unsent.refusals >= REFUSALS_MAX:
            self._queue.release(group)
            self.counts.dropped += len(group)
        else:
            self._queue.put_back(group, refused)

    def _send_ruleset(self, session: StoreSession, version: int, document: bytes) -> None:
        self._ask(
            session,
            lambda: session.write_ruleset(version, document),
            _ignore,
            lambda _: self._inbox.rulesets.append((version, document)),
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
            self.counts.far_ahead += 1
            if time.monotonic() - self._warned_at_s >= WARN_EVERY_S:
                self._warned_at_s = time.monotonic()
                log.warning(
                    "%s: a row was written at a time %d minutes ahead of this clock (%d such rows"
                    " so far). Some clock is wrong; writes go on above the stored timestamp",
                    self._url,
                    (stored_us - now_us) // 60_000_000,
                    self.counts.far_ahead,
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
