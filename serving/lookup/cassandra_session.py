"""The connection to the distributed store, set for reads that somebody waits for."""

import logging
from typing import NamedTuple

from cassandra import ConsistencyLevel, InvalidRequest, OperationTimedOut, ProtocolVersion
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.metadata import protect_name
from cassandra.policies import (
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    TokenAwarePolicy,
)
from cassandra.query import PreparedStatement, tuple_factory

from schemas.locations import CassandraUrl
from schemas.progress import Progress
from serving.lookup.store import StoreError

JOB = "segstream"
CONNECT_TIMEOUT_S = 2.0
RECONNECT_MAX_S = 2.0
HEARTBEAT_S = 1.0
SPECULATIONS_MAX = 2
SCAN_PAGE_USERS = 1_000

# The driver tells of every lost connection; what matters of that comes as a StoreError.
logging.getLogger("cassandra").addHandler(logging.NullHandler())


class Statements(NamedTuple):
    """The questions, as the cluster knows them."""

    users: PreparedStatement
    progress: PreparedStatement
    changes: PreparedStatement
    ruleset: PreparedStatement
    scan: PreparedStatement


class Opened(NamedTuple):
    """A session with its cluster and its questions."""

    cluster: Cluster
    session: Session
    statements: Statements

    def nodes_of(self, keyspace: str, key: bytes) -> frozenset[object]:
        """The nodes that hold a partition."""
        return frozenset(self.cluster.metadata.get_replicas(keyspace, key))


def open_session(url: CassandraUrl, timeout_s: float) -> Opened:
    """Connect. Takes as long as that takes: not for the event loop's thread.

    Raises:
        Exception: what the driver raises; `fault` says it in words.
    """
    cluster = _cluster(url, timeout_s)
    try:
        session = cluster.connect()
        session.default_fetch_size = None
        session.use_client_timestamp = False
        prepared = {name: session.prepare(cql) for name, cql in _questions(url.keyspace).items()}
        for statement in prepared.values():
            statement.is_idempotent = True
        statements = Statements(**prepared)
        statements.scan.fetch_size = SCAN_PAGE_USERS
        # The server names no key for a list. Now the driver takes the one that it is given.
        statements.users.routing_key_indexes = [0]
    except BaseException:
        cluster.shutdown()
        raise
    return Opened(cluster, session, statements)


def fault(url: CassandraUrl, error: Exception) -> StoreError:
    """What to say of something that the driver raised."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, InvalidRequest):
        text = f"not migrated ({error}): run `segstream store migrate --store {url}`"
    elif isinstance(error, OperationTimedOut):
        text = "no answer in time"
    elif isinstance(error, NoHostAvailable):
        reasons = f": {error.errors}" if error.errors else ""
        text = f"no node of data centre {url.datacenter} answers{reasons}"
    else:
        text = f"{type(error).__name__}: {error}"
    return StoreError(f"{url}: {text}")


def _questions(keyspace: str) -> dict[str, str]:
    name = protect_name(keyspace)
    columns = ", ".join(Progress.__struct_fields__)
    return {
        "users": f"SELECT user_id, document FROM {name}.user_segments WHERE user_id IN ?",
        "progress": f"SELECT {columns} FROM {name}.job_progress WHERE job = '{JOB}'",
        "changes": f"SELECT document FROM {name}.segment_changes WHERE user_id = ?"
        " ORDER BY version",
        "ruleset": f"SELECT document FROM {name}.rulesets WHERE version = ?",
        "scan": f"SELECT document FROM {name}.user_segments",
    }


def _cluster(url: CassandraUrl, timeout_s: float) -> Cluster:
    # A node that is slow is not waited for: another replica is asked beside it, and the first
    # answer counts.
    speculation = ConstantSpeculativeExecutionPolicy(timeout_s / 8, SPECULATIONS_MAX)
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(url.datacenter)),
        consistency_level=ConsistencyLevel.LOCAL_ONE,
        request_timeout=timeout_s,
        row_factory=tuple_factory,
        speculative_execution_policy=speculation,
    )
    return Cluster(
        url.hosts,
        port=url.port,
        # The later one adds a checksum to each frame, worked out in Python.
        protocol_version=ProtocolVersion.V4,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        # For ever: the policy's own default gives up after 64 attempts.
        reconnection_policy=ExponentialReconnectionPolicy(0.5, RECONNECT_MAX_S, None),
        connect_timeout=CONNECT_TIMEOUT_S,
        control_connection_timeout=CONNECT_TIMEOUT_S,
        # A node that hangs is given up before the answers it owes fill its connection.
        idle_heartbeat_interval=HEARTBEAT_S,
        idle_heartbeat_timeout=HEARTBEAT_S,
    )
