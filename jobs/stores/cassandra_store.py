"""The distributed store: a keyspace of Cassandra, written beside the operator."""

import time
from collections.abc import Callable
from threading import Event, Thread

import msgspec

from jobs.stores.cassandra_sender import Inbox, Sender, WriterCounts, WriterSettings
from schemas.locations import CassandraUrl
from schemas.progress import Progress
from schemas.segments import Publication
from udfs.outbox import SegmentWriter, StoreWriteError


class CassandraLocation(msgspec.Struct, frozen=True):
    """Where the store is. Calling it opens a writer there."""

    url: CassandraUrl
    settings: WriterSettings = WriterSettings()

    def __call__(self) -> SegmentWriter:
        """Open a writer. The cluster need not be up: it is connected to in the background."""
        return CassandraWriter(self.url, self.settings)


def _wall_clock_us() -> int:
    return time.time_ns() // 1_000


class CassandraWriter(SegmentWriter):
    """Hands everything to one thread of its own, which sends what has gathered.

    While the store is down sets wait in memory, the latest of each user, and go out when it is
    back; what finds no room is left to the outbox, which sends again. All methods are called by
    the operator's thread.
    """

    def __init__(
        self,
        url: CassandraUrl,
        settings: WriterSettings,
        now_us: Callable[[], int] = _wall_clock_us,
    ) -> None:
        self._url = url
        self._settings = settings
        self._inbox = Inbox()
        self._sender = Sender(url, settings, self._inbox, now_us)
        self._thread = Thread(target=self._sender.run, name="store-sender", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> WriterCounts:
        """What this writer did since it was opened."""
        return self._sender.counts

    def send(self, ticket: int, publication: Publication) -> None:
        """Leave one user's set for the sender. A store that is down is no error.

        Raises:
            StoreWriteError: the sender broke down, so nothing would ever be stored.
        """
        self._check_sender()
        self._inbox.sent.append((ticket, publication))
        self._inbox.nudge()

    def stored(self, user_id: str) -> int:
        """The user's latest stored ticket, forgotten once it has been told."""
        return self._sender.stored.pop(user_id, 0)

    def note_progress(self, progress: Progress) -> None:
        """Leave word of how far this subtask has come; only the latest is written."""
        self._inbox.progress.append(progress)
        self._inbox.nudge()

    def note_ruleset(self, version: int, document: bytes) -> None:
        """Leave a rule set's document, which is sent until it is stored."""
        self._inbox.rulesets.append((version, document))
        self._inbox.nudge()

    def flush(self) -> None:
        """Wait until everything left for the sender is in the store.

        Raises:
            StoreWriteError: it is not after `flush_wait_s`, or some of it had to be given up.
        """
        self._check_sender()
        done = Event()
        self._inbox.flushes.append(done)
        self._inbox.nudge()
        wait_s = self._settings.flush_wait_s
        if not done.wait(wait_s):
            fault = self._sender.fault or f"{self._url}: the store is slow"
            raise StoreWriteError(f"not everything is stored after {wait_s:g} s. {fault}")
        if self.counts.dropped:
            raise StoreWriteError(
                f"{self._url}: {self.counts.dropped} sets were given up. {self._sender.fault}"
            )

    def close(self) -> None:
        """Let go of the cluster; what waits stays with the outbox."""
        self._inbox.closing = True
        self._inbox.nudge()
        self._thread.join(self._settings.close_wait_s)

    def _check_sender(self) -> None:
        if not self._thread.is_alive():
            raise StoreWriteError(self._sender.fault or f"{self._url}: the writer is closed")
