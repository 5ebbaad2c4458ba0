"""One stack for all end-to-end tests that need one, and an empty job's place in it for each."""

from itertools import count

import pytest

from stack.servers import StackSpec, up
from tests.e2e.cluster import PARALLELISM, READY_WITHIN_S, RunningCluster

_numbers = count(1)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster") / "stack"
    spec = StackSpec(folder, task_managers=PARALLELISM, ready_within_s=READY_WITHIN_S)
    with up(spec) as stack:
        yield stack


@pytest.fixture
def cluster(stack, tmp_path):
    """Every server runs, the topics and the keyspace are empty; no job outlives the test."""
    stack.start(*stack.servers, within_s=READY_WITHIN_S)
    cluster = RunningCluster(stack, tmp_path, f"tried_{next(_numbers)}")
    try:
        cluster.prepare()
        yield cluster
    finally:
        stack.start(*stack.servers, within_s=READY_WITHIN_S)
        cluster.close()
