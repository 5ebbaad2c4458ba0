"""One real Cassandra for all contract tests of a session."""

import pytest

from stack.servers import StackSpec, up
from tests.contract.stores import CassandraStore


@pytest.fixture(scope="session")
def cassandra_server(tmp_path_factory):
    """A stack of one node."""
    with up(StackSpec(tmp_path_factory.mktemp("stack"), parts=("cassandra",))) as stack:
        yield stack


@pytest.fixture(scope="session")
def cassandra_keyspace(cassandra_server):
    return CassandraStore(cassandra_server)


@pytest.fixture
def cassandra_store(cassandra_keyspace):
    """An empty store with its tables."""
    cassandra_keyspace.clear()
    return cassandra_keyspace
