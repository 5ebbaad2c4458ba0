"""A log produced to a topic: every line one record, keyed by user, none lost and none doubled."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from kafka.partitioner.default import murmur2

from jobs.kafka_clients import (
    DELIVERY_TIMEOUT_MS,
    broker_errors,
    count_partitions,
    open_producer,
    reason,
)
from jobs.log_lines import LogError
from schemas.events import Event, UserId
from schemas.mapping import FieldMapping
from udfs.intake import Intake, read_event, time_fault

IN_FLIGHT_MAX = 50_000
SLICE_S = 0.01
SLICE_RECORDS_MAX = 1_000
LINGER_MS = 10
AFTER_FAILURE_S = 10.0
ABANDON_S_MAX = 10.0
SILENCE_S = DELIVERY_TIMEOUT_MS / 1000 + 30


class Outgoing(NamedTuple):
    """A record to be sent; `key` is None where the line names no usable user."""

    key: bytes | None
    value: bytes


class Rewrite(NamedTuple):
    """How events are changed on their way: foreign names mapped, times moved by `shift_ms`.

    `now_ms` judges which times can be believed; the others stay as they are.
    """

    mapping: FieldMapping | None = None
    shift_ms: int = 0
    now_ms: int = 0


class Delivery(NamedTuple):
    """What became of the records: `sent` were handed over, `failed` of them not acknowledged.

    `too_large` lines were not sent at all. `stopped` says that the log was not read to its end.
    """

    sent: int
    acknowledged: int
    too_large: int
    failed: dict[str, int]
    seconds: float
    stopped: bool

    @property
    def complete(self) -> bool:
        """Whether the broker has every line of the log."""
        return self.sent == self.acknowledged and not (self.too_large or self.stopped)


class _UserOnly(msgspec.Struct):
    user_id: UserId


_decode_user = msgspec.json.Decoder(_UserOnly).decode
_encode = msgspec.json.Encoder().encode
_AS_IS = Rewrite()

Watch = Callable[[int, int], None]


def outgoing(line: bytes, rewrite: Rewrite = _AS_IS) -> Outgoing:
    """The record of a line: its bytes unchanged, unless the line is an event to be rewritten."""
    if rewrite.mapping is None and not rewrite.shift_ms:
        return Outgoing(_user_key(line), line)
    intake = Intake(mapping=rewrite.mapping)
    event = read_event(line, intake)
    if not isinstance(event, Event):
        return Outgoing(_user_key(line), line)
    if rewrite.shift_ms and time_fault(event.occurred_at, rewrite.now_ms, intake) is None:
        moved_ms = event.occurred_at + rewrite.shift_ms
        event = msgspec.structs.replace(event, occurred_at=moved_ms)
    return Outgoing(event.user_id.encode(), _encode(event))


def produce(
    records: Iterable[Outgoing],
    bootstrap: str,
    topic: str,
    rate: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    watch: Watch = lambda _sent, _acknowledged: None,
) -> Delivery:
    """Send records, at most `rate` a second, and wait until the broker has answered for each.

    A broker that is away for less than 5 minutes costs time only. No more are sent once one has
    failed, or once `stop` says so; those sent before are waited for, unless Ctrl-C ends that.

    Raises:
        BrokerError: no broker answers at the start.
        LogError: from `records`, once what came before is acknowledged; a note says how much.
        TopicMissingError: there is no such topic.
    """
    partitions = count_partitions(bootstrap, topic)
    producer = open_producer(bootstrap, LINGER_MS)
    sender = _Sender(producer, topic, partitions, rate, watch)
    try:
        with broker_errors(bootstrap):
            return sender.send_all(records, stop)
    finally:
        if sender.waiting:
            # Given up, and counted as such. close() alone would raise and leave its thread sending.
            producer._sender.force_close()
            producer._sender.join(ABANDON_S_MAX)
        producer.close()


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition where every Kafka client puts a key. Remembered: hashing in Python is slow."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def records_due(elapsed_s: float, rate: float | None, taken: int, waiting: int) -> int:
    """How many records are to be sent now, `waiting` of the `taken` ones being unanswered.

    At `rate` a second, as many as bring the whole to what is due since the start: what a stall has
    put off is made up for. Without a rate, as many as there is room for.
    """
    due = SLICE_RECORDS_MAX if rate is None else int(elapsed_s * rate) - taken
    return max(min(due, IN_FLIGHT_MAX - waiting, SLICE_RECORDS_MAX), 0)


class _Sender:
    """Hands records to a producer in small slices, and counts the answers in order."""

    def __init__(
        self, producer: Any, topic: str, partitions: int, rate: float | None, watch: Watch
    ) -> None:
        self.waiting: deque[Any] = deque()
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._rate = rate
        self._watch = watch
        self._taken = 0
        self._too_large = 0
        self._acknowledged = 0
        self._failed: Counter[str] = Counter()
        self._began = self._answered_at = time.monotonic()

    def send_all(self, records: Iterable[Outgoing], stop: Callable[[], bool]) -> Delivery:
        left = iter(records)
        ended = False
        try:
            while not (ended or self._failed or stop() or self._is_silent()):
                turn = self._turn()
                before = self._taken
                for record in islice(left, turn):
                    self._send(record)
                ended = self._taken - before < turn
        except LogError as error:
            self._wait()
            error.add_note(f"{self._taken:,} lines before it, {self._acknowledged:,} acknowledged")
            raise
        self._wait()
        seconds = time.monotonic() - self._began
        sent = self._taken - self._too_large
        failed = dict(self._failed)
        return Delivery(sent, self._acknowledged, self._too_large, failed, seconds, not ended)

    def _turn(self) -> int:
        """How many records are to be sent now; if none, a slice of time has passed first."""
        self._settle()
        elapsed_s = time.monotonic() - self._began
        turn = records_due(elapsed_s, self._rate, self._taken, len(self.waiting))
        if not turn:
            time.sleep(SLICE_S)
        return turn

    def _send(self, record: Outgoing) -> None:
        self._taken += 1
        key, value = record
        partition = None if key is None else partition_of(key, self._partitions)
        try:
            self.waiting.append(self._producer.send(self._topic, value, key, partition=partition))
        except MessageSizeTooLargeError:
            self._too_large += 1

    def _settle(self) -> None:
        """Count what has been answered. In order: what is behind an unanswered record waits."""
        waiting = self.waiting
        if not waiting or waiting[0].is_done:
            self._answered_at = time.monotonic()
        while waiting and waiting[0].is_done:
            answer = waiting.popleft()
            if answer.failed():
                self._failed[_failure(answer.exception)] += 1
            else:
                self._acknowledged += 1
        self._watch(self._taken - self._too_large, self._acknowledged)

    def _wait(self) -> None:
        reason_left = "no answer"
        try:
            self._settle()
            while self.waiting and not self._is_silent():
                time.sleep(SLICE_S)
                self._settle()
        except KeyboardInterrupt:
            reason_left = "not waited for"
        if self.waiting:
            self._failed[reason_left] += len(self.waiting)

    def _is_silent(self) -> bool:
        """Whether no answer is to be expected any more.

        The producer fails a record after the delivery timeout, but none at all while it has no id
        from the broker: at its start, and after the first that it failed.
        """
        silent_s = time.monotonic() - self._answered_at
        return bool(self.waiting) and silent_s > (AFTER_FAILURE_S if self._failed else SILENCE_S)


def _failure(error: BaseException) -> str:
    if isinstance(error, KafkaTimeoutError):
        return f"no acknowledgement within {DELIVERY_TIMEOUT_MS // 1000} s"
    return reason(error)


def _user_key(line: bytes) -> bytes | None:
    try:
        return _decode_user(line).user_id.encode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
