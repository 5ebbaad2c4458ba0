"""Kafka clients as every command opens them, and one plain error for what goes wrong there."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
CONNECT_WITHIN_MS = 10_000
DELIVERY_TIMEOUT_MS = 300_000

_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}", re.ASCII)

Isolation = Literal["read_committed", "read_uncommitted"]


class BrokerError(RuntimeError):
    """Kafka did not answer, or refused; the message says where and what to do."""


class TopicMissingError(BrokerError):
    """A topic that is needed does not exist."""

    def __init__(self, topic: str, bootstrap: str) -> None:
        super().__init__(
            f"there is no topic {topic} at {bootstrap}:"
            f" `segstream topics create --bootstrap {bootstrap}` makes it"
        )


@contextmanager
def broker_errors(bootstrap: str) -> Iterator[None]:
    """Tell what goes wrong between here and the broker in one line.

    Raises:
        BrokerError: in place of Kafka's own errors.
    """
    try:
        yield
    except KafkaError as error:
        raise BrokerError(f"Kafka at {bootstrap}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """What an error of Kafka's says, by name and without its number."""
    told = str(error.args[0]) if error.args and error.args[0] else ""
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def open_admin(bootstrap: str) -> Any:
    """A client for topics and their settings; close it, or use it as a context manager.

    Raises:
        BrokerError: no broker answers.
    """
    return _connect(KafkaAdminClient, bootstrap)


def open_consumer(bootstrap: str, isolation: Isolation) -> Any:
    """A consumer outside any group, which starts nowhere by itself and creates no topic.

    Raises:
        BrokerError: no broker answers.
    """
    return _connect(
        KafkaConsumer,
        bootstrap,
        isolation_level=isolation,
        allow_auto_create_topics=False,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=5_000,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        reconnect_backoff_max_ms=1_000,
    )


def open_producer(bootstrap: str, linger_ms: int = 0) -> Any:
    """A producer that neither doubles nor reorders when it sends again, for up to 5 minutes.

    Records are not compressed: that costs a producer in Python more than it saves.

    Raises:
        BrokerError: no broker answers.
    """
    return _connect(
        KafkaProducer,
        bootstrap,
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
        linger_ms=linger_ms,
        batch_size=128 * 1024,
        metrics_enabled=False,
        reconnect_backoff_max_ms=1_000,
    )


def count_partitions(bootstrap: str, topic: str) -> int:
    """How many partitions a topic has; asked first, since clients wait for one that is missing.

    Raises:
        BrokerError: no broker answers.
        TopicMissingError: there is no such topic.
    """
    with open_admin(bootstrap) as admin, broker_errors(bootstrap):
        described = admin.describe_topics([topic])[0]
    if described["error_code"]:
        raise TopicMissingError(topic, bootstrap)
    return len(described["partitions"])


def _connect(client: Callable[..., Any], bootstrap: str, **settings: object) -> Any:
    servers = bootstrap.split(",")
    if not all(_ADDRESS.fullmatch(server) for server in servers):
        raise BrokerError(
            f"--bootstrap {bootstrap!r}: write HOST:PORT, several with commas between"
        )
    try:
        return client(
            bootstrap_servers=servers,
            bootstrap_timeout_ms=CONNECT_WITHIN_MS,
            **settings,
        )
    except (KafkaError, OSError) as error:
        raise BrokerError(
            f"no Kafka broker answers at {bootstrap} within {CONNECT_WITHIN_MS // 1000} s:"
            " start one, or name its HOST:PORT with --bootstrap"
        ) from error
