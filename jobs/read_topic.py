"""Reading a topic from here: to its end, or on and on, in one process and outside any group."""

import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from kafka import TopicPartition

from jobs.kafka_clients import (
    BrokerError,
    Isolation,
    TopicMissingError,
    broker_errors,
    open_consumer,
)

STALLED_S = 60.0
_POLL_MS = 100
_FOLLOW_POLL_MS = 500

Start = Literal["beginning", "end"]


class Record(NamedTuple):
    """A record as it is stored. `timestamp_ms` is epoch ms, by the topic's kind of time."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


def read_to_end(
    bootstrap: str, topic: str, isolation: Isolation = "read_committed"
) -> Iterator[Record]:
    """Every record that the topic holds when this begins, in order within a partition.

    With `read_committed` a partition ends where its oldest open transaction begins.

    Raises:
        BrokerError: the broker does not answer, or stops answering for a minute.
        TopicMissingError: there is no such topic.
    """
    with open_consumer(bootstrap, isolation) as consumer, broker_errors(bootstrap):
        partitions = _assign(consumer, bootstrap, topic)
        ends = consumer.end_offsets(partitions)
        for partition, offset in consumer.beginning_offsets(partitions).items():
            consumer.seek(partition, offset)
        yield from _read_until(consumer, ends, bootstrap)


def follow(
    bootstrap: str, topic: str, start: Start, isolation: Isolation = "read_committed"
) -> Iterator[Record]:
    """The records of a topic and those that come, without an end. A broker's outage is waited out.

    Raises:
        BrokerError: no broker answers at the start, or one refuses.
        TopicMissingError: there is no such topic.
    """
    with open_consumer(bootstrap, isolation) as consumer, broker_errors(bootstrap):
        partitions = _assign(consumer, bootstrap, topic)
        find = consumer.beginning_offsets if start == "beginning" else consumer.end_offsets
        for partition, offset in find(partitions).items():
            consumer.seek(partition, offset)
        while True:
            for records in consumer.poll(timeout_ms=_FOLLOW_POLL_MS).values():
                yield from map(_record, records)


def _assign(consumer: Any, bootstrap: str, topic: str) -> list[TopicPartition]:
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise TopicMissingError(topic, bootstrap)
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    return partitions


def _read_until(consumer: Any, ends: dict[TopicPartition, int], bootstrap: str) -> Iterator[Record]:
    """Markers of transactions take offsets too, so positions tell the end, and not records."""
    moved_at = time.monotonic()
    before: dict[TopicPartition, int] = {}
    while True:
        positions = {partition: consumer.position(partition) for partition in ends}
        left = [partition for partition, end in ends.items() if positions[partition] < end]
        if not left:
            return
        consumer.pause(*(ends.keys() - left))
        if positions != before:
            before, moved_at = positions, time.monotonic()
        elif time.monotonic() - moved_at > STALLED_S:
            raise BrokerError(f"Kafka at {bootstrap} has not answered for {STALLED_S:.0f} s")
        for partition, records in consumer.poll(timeout_ms=_POLL_MS).items():
            yield from (_record(one) for one in records if one.offset < ends[partition])


def _record(stored: Any) -> Record:
    return Record(stored.partition, stored.offset, stored.timestamp, stored.key, stored.value)
