"""The distributed store: a keyspace of Cassandra, written by a process beside the operator."""

import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl
from typing import IO

import msgspec

from jobs.stores.cassandra_messages import (
    Flush,
    Flushed,
    PipeReader,
    PipeWriter,
    ProgressNote,
    RuleSetNote,
    Stored,
    ToStore,
    UserSet,
    WriterCounts,
    WriterJob,
    WriterSettings,
    decode_from_store,
)
from schemas.locations import CassandraUrl
from schemas.progress import Progress
from schemas.segments import Publication
from udfs.outbox import SegmentWriter, StoreWriteError

PIPE_BYTES = 1 << 20
KEPT_BYTES_MAX = 16_000_000
# So much longer than the process itself waits before it says that a flush failed.
ANSWER_WAIT_S = 5.0

_json = msgspec.json.Encoder().encode


class CassandraLocation(msgspec.Struct, frozen=True):
    """Where the store is. Calling it opens a writer there."""

    url: CassandraUrl
    settings: WriterSettings = WriterSettings()

    def __call__(self) -> SegmentWriter:
        """Open a writer. The cluster need not be up: it is connected to in the background."""
        return CassandraWriter(self.url, self.settings)


class CassandraWriter(SegmentWriter):
    """Hands everything to a process of its own, through pipes that it never waits for.

    A thread would take turns with the operator in the same interpreter, and each turn would keep
    the operator waiting. While the store is down sets wait in that process, the latest of each
    user; what finds no room is left to the outbox, which sends again. If the process ends by
    itself, using the writer raises StoreWriteError.
    """

    def __init__(self, url: CassandraUrl, settings: WriterSettings) -> None:
        self._url = url
        self._settings = settings
        self._process = subprocess.Popen(
            [
                _python(),
                "-P",
                "-m",
                "jobs.stores.cassandra_process",
                _json(WriterJob(url, settings)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            bufsize=0,
        )
        self._out = PipeWriter(_widened(self._process.stdin), KEPT_BYTES_MAX)
        self._answers_descriptor = _widened(self._process.stdout)
        os.set_blocking(self._answers_descriptor, False)
        self._in = PipeReader(self._answers_descriptor)
        self._stored: dict[str, int] = {}
        self._flushes = 0
        self._flushed: Flushed | None = None
        self._dropped = 0
        self._closed = False
        self.counts = WriterCounts()

    @property
    def pid(self) -> int:
        """The store process."""
        return self._process.pid

    def send(self, ticket: int, publication: Publication) -> None:
        """Hand one user's set over. A store that is down is no error."""
        current = publication.current
        changes = tuple((change.version, _json(change)) for change in publication.changes)
        document = _json(current)
        if not self._put(UserSet(current.user_id, ticket, current.version, document, changes)):
            self._dropped += 1

    def stored(self, user_id: str) -> int:
        """The user's latest stored ticket, forgotten once it has been told."""
        self._take_answers()
        return self._stored.pop(user_id, 0)

    def note_progress(self, progress: Progress) -> None:
        """Hand over how far this subtask has come; only the latest is written."""
        self._put(ProgressNote(progress))
        self._take_answers()

    def note_ruleset(self, version: int, document: bytes) -> None:
        """Hand over a rule set's document, which is sent until it is stored."""
        self._put(RuleSetNote(version, document))

    def flush(self) -> None:
        """Wait until everything handed over is in the store.

        Raises:
            StoreWriteError: it is not after `flush_wait_s`, or some of it had to be given up.
        """
        wait_s = self._settings.flush_wait_s
        until_s = time.monotonic() + wait_s + ANSWER_WAIT_S
        self._flushes += 1
        self._put(Flush(self._flushes, wait_s))
        while self._flushed is None or self._flushed.number != self._flushes:
            if time.monotonic() > until_s:
                raise StoreWriteError(f"{self._url}: the store process does not answer")
            self._push()
            select.select([self._answers_descriptor], [], [], 0.1)
            self._take_answers()
        if self._flushed.fault:
            raise StoreWriteError(self._flushed.fault)
        if self._dropped:
            raise StoreWriteError(f"{self._url}: {self._dropped} sets found no room")

    def close(self) -> None:
        """Let go of the process; what waits in it stays with the outbox."""
        self._closed = True
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(self._settings.close_wait_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _put(self, message: ToStore) -> bool:
        self._check_open()
        try:
            return self._out.put(message)
        except BrokenPipeError:
            raise self._ended() from None

    def _push(self) -> None:
        try:
            self._out.push()
        except BrokenPipeError:
            raise self._ended() from None

    def _take_answers(self) -> None:
        self._check_open()
        with suppress(BlockingIOError):
            while (taken := self._in.take()) is not None:
                for message in taken:
                    answer = decode_from_store(message)
                    self.counts = answer.counts
                    if isinstance(answer, Stored):
                        self._stored.update(answer.tickets)
                    else:
                        self._flushed = answer
            raise self._ended()
        # Not asked for in a long time: to forget only has the outbox send again.
        if len(self._stored) > self._settings.users_remembered_max:
            self._stored.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreWriteError(f"{self._url}: the writer is closed")

    def _ended(self) -> StoreWriteError:
        code = self._process.wait()
        return StoreWriteError(f"{self._url}: the store process ended with {code}; see its log")


def _python() -> str:
    """The interpreter of this Python. Inside a JVM `sys.executable` may be anything."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    inside = os.path.join(sys.base_prefix, "bin", name)
    found = inside if os.access(inside, os.X_OK) else shutil.which(name)
    if found is None:
        raise StoreWriteError(
            f"no {name} in {sys.base_prefix}/bin or on PATH for the store process"
        )
    return found


def _widened(pipe: IO[bytes] | None) -> int:
    """The descriptor of a pipe, made large where that is allowed."""
    assert pipe is not None
    with suppress(OSError):
        fcntl(pipe.fileno(), F_SETPIPE_SZ, PIPE_BYTES)
    return pipe.fileno()
