"""One broker for all tests here, and new topics for each."""

import pytest
from kafka import KafkaAdminClient

from jobs.kafka_admin import create_topics
from stack.servers import StackSpec, up
from tests.e2e.topics.calling import NAMES, wait_until


@pytest.fixture(scope="package")
def stack(tmp_path_factory):
    with up(StackSpec(tmp_path_factory.mktemp("stack"), parts=("kafka",))) as started:
        yield started


@pytest.fixture(scope="package")
def bootstrap(stack):
    return stack.kafka.bootstrap


@pytest.fixture
def admin(bootstrap):
    """A client of a broker that has none of the topics."""
    with KafkaAdminClient(bootstrap_servers=bootstrap) as client:
        existing = [name for name in client.list_topics() if name in NAMES]
        if existing:
            client.delete_topics(existing)
            wait_until(lambda: not set(NAMES) & set(client.list_topics()))
        yield client


@pytest.fixture
def topics(admin, bootstrap):
    """All topics, new and empty."""
    create_topics(bootstrap, partitions=3, replication=1)
