"""What the operator and its store process say to each other, and the pipes that carry it."""

import os
import struct
from collections.abc import Iterator

import msgspec

from schemas.locations import CassandraUrl
from schemas.progress import Progress

_LENGTH = struct.Struct(">I")


class WriterSettings(msgspec.Struct, frozen=True):
    """How a writer goes about it; the defaults are those measured to be right.

    What comes within `gather_s` is sent together, `users_per_request` in one request but no more
    than `request_bytes_max` (Cassandra warns of batches above 5 KiB or ten partitions). A store
    that was away for `reconnect_after_s` is looked for at its URL again.
    """

    gather_s: float = 0.01
    users_per_request: int = 8
    request_bytes_max: int = 4_096
    requests_in_flight_max: int = 64
    writes_per_s_max: float = 3_000.0
    users_waiting_max: int = 50_000
    users_remembered_max: int = 200_000
    request_timeout_s: float = 3.0
    reconnect_after_s: float = 60.0
    flush_wait_s: float = 30.0
    close_wait_s: float = 2.0


class WriterCounts(msgspec.Struct):
    """What a writer did since it was opened, in users (`failures`: in requests)."""

    stored: int = 0
    failures: int = 0
    dropped: int = 0
    far_ahead: int = 0


class WriterJob(msgspec.Struct, frozen=True):
    """What a store process is started with."""

    url: CassandraUrl
    settings: WriterSettings


class UserSet(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One user's whole set, and each change behind it by its version, as the store keeps them.

    `version` is that of the set. `refusals` is how often the store refused it.
    """

    user_id: str
    ticket: int
    version: int
    document: bytes
    changes: tuple[tuple[int, bytes], ...]
    refusals: int = 0


class RuleSetNote(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The document of a rule set."""

    version: int
    document: bytes


class ProgressNote(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """How far a subtask has come."""

    progress: Progress


class Flush(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Asks for a Flushed of this number when everything is stored, or after `wait_s`."""

    number: int
    wait_s: float


class Stored(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """(User, ticket) of sets that the store has, and the counts so far."""

    tickets: list[tuple[str, int]]
    counts: WriterCounts


class Flushed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answers a Flush; `fault` says why not everything is stored, and is empty if it is."""

    number: int
    fault: str
    counts: WriterCounts


ToStore = UserSet | RuleSetNote | ProgressNote | Flush
FromStore = Stored | Flushed

_encode = msgspec.msgpack.Encoder().encode
decode_to_store = msgspec.msgpack.Decoder(ToStore).decode
decode_from_store = msgspec.msgpack.Decoder(FromStore).decode


def pack(message: ToStore | FromStore) -> bytes:
    """A message as it goes through a pipe."""
    payload = _encode(message)
    return _LENGTH.pack(len(payload)) + payload


class PipeWriter:
    """Puts messages into a pipe without ever waiting: what does not go in yet is kept."""

    def __init__(self, descriptor: int, bytes_max: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._bytes_max = bytes_max
        self._kept = bytearray()

    def put(self, message: ToStore) -> bool:
        """Put a message; False, and it is lost, if `bytes_max` are kept already.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        if len(self._kept) > self._bytes_max and not self.push():
            return False
        self._kept += pack(message)
        self.push()
        return True

    def push(self) -> bool:
        """Put in what is kept; whether all of it went.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        while self._kept:
            try:
                written = os.write(self._descriptor, self._kept)
            except BlockingIOError:
                return False
            del self._kept[:written]
        return True


class PipeReader:
    """Takes whole messages out of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._read = bytearray()

    def take(self) -> Iterator[bytes] | None:
        """The messages that one read gives; None at the end of the pipe.

        Raises:
            BlockingIOError: the pipe does not block, and there is nothing.
        """
        data = os.read(self._descriptor, 1 << 20)
        if not data:
            return None
        self._read += data
        return self._messages()

    def _messages(self) -> Iterator[bytes]:
        start, end = 0, len(self._read)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._read, start)
            if end - start < _LENGTH.size + length:
                break
            start += _LENGTH.size + length
            yield bytes(self._read[start - length : start])
        del self._read[:start]
