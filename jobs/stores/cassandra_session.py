"""A keyspace of Cassandra as the job writes it: the session and the statements."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cassandra import (
    ConsistencyLevel,
    InvalidRequest,
    ProtocolVersion,
    UnresolvableContactPoints,
)
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    TokenAwarePolicy,
)
from cassandra.query import (
    BatchStatement,
    BatchType,
    BoundStatement,
    PreparedStatement,
    tuple_factory,
)

from jobs.stores.cassandra_messages import UserSet
from schemas.locations import CassandraUrl
from schemas.progress import Progress

JOB = "segstream"
CONNECT_TIMEOUT_S = 2.0
RECONNECT_AFTER_S = 0.5
RECONNECT_AFTER_S_MAX = 2.0
HEARTBEAT_S = 5.0

Rows = Sequence[tuple[Any, ...]]


def make_cluster(
    url: CassandraUrl, timeout_s: float, connect_timeout_s: float = CONNECT_TIMEOUT_S
) -> Cluster:
    """The nodes of the URL's data centre, not yet connected to; `timeout_s` a request."""
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(url.datacenter)),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        request_timeout=timeout_s,
        row_factory=tuple_factory,
    )
    return Cluster(
        url.hosts,
        port=url.port,
        # Version 5 adds checksums computed in Python: a fifth more of the job's interpreter.
        protocol_version=ProtocolVersion.V4,
        compression=False,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        # For ever: the policy's own default gives up after 64 attempts.
        reconnection_policy=ExponentialReconnectionPolicy(
            RECONNECT_AFTER_S, RECONNECT_AFTER_S_MAX, None
        ),
        connect_timeout=connect_timeout_s,
        control_connection_timeout=connect_timeout_s,
        idle_heartbeat_interval=HEARTBEAT_S,
        idle_heartbeat_timeout=HEARTBEAT_S,
    )


def fault_text(url: CassandraUrl, error: Exception) -> str:
    """What to tell of an error of the driver, on one line."""
    if isinstance(error, NoHostAvailable):
        causes = error.errors
        first = next(iter(causes.values()), None) if isinstance(causes, dict) else None
        said = f": {first}" if first is not None else ""
        return f"{url}: no node of data centre {url.datacenter} answers{said}"
    if isinstance(error, UnresolvableContactPoints):
        return f"{url}: no address is known of {', '.join(url.hosts)}"
    said = " ".join(str(error).split())
    if isinstance(error, InvalidRequest):
        return f"{url}: {said}. If it is not migrated, `segstream store migrate` does that"
    return f"{url}: {type(error).__name__}: {said}"


class UserWrite(NamedTuple):
    """A user's set, when it is written (µs), and whether it is the user's first in this run."""

    user_set: UserSet
    timestamp_us: int
    is_first: bool


class _Statements(NamedTuple):
    user_timestamps: PreparedStatement
    user: PreparedStatement
    change: PreparedStatement
    later_changes: PreparedStatement
    progress_timestamp: PreparedStatement
    progress: PreparedStatement
    ruleset: PreparedStatement


def _questions(keyspace: str) -> dict[str, str]:
    return {
        "user_timestamps": f"SELECT user_id, WRITETIME(document) FROM {keyspace}.user_segments"
        " WHERE user_id IN ?",
        "user": f"INSERT INTO {keyspace}.user_segments (user_id, document) VALUES (?, ?)"
        " USING TIMESTAMP ?",
        "change": f"INSERT INTO {keyspace}.segment_changes (user_id, version, document)"
        " VALUES (?, ?, ?) USING TIMESTAMP ?",
        "later_changes": f"DELETE FROM {keyspace}.segment_changes USING TIMESTAMP ?"
        " WHERE user_id = ? AND version > ?",
        "progress_timestamp": f"SELECT WRITETIME(watermark) FROM {keyspace}.job_progress"
        " WHERE job = ? AND subtask = ?",
        "progress": f"INSERT INTO {keyspace}.job_progress (job, subtask, parallelism, watermark,"
        " ruleset_version, written_at) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
        "ruleset": f"INSERT INTO {keyspace}.rulesets (version, document) VALUES (?, ?)",
    }


class StoreSession:
    """A connection to the cluster that writes one keyspace.

    Raises, when made:
        Exception: the driver's own, if no node answers or the tables are not there.
    """

    def __init__(self, url: CassandraUrl, timeout_s: float) -> None:
        self._cluster = make_cluster(url, timeout_s)
        try:
            self._session: Session = self._cluster.connect()
            questions = _questions(f'"{url.keyspace}"')
            prepared = {name: self._session.prepare(cql) for name, cql in questions.items()}
        except BaseException:
            self._cluster.shutdown()
            raise
        for statement in prepared.values():
            statement.is_idempotent = True
        self._statements = _Statements(**prepared)

    def read_user_timestamps(self, user_ids: Sequence[str]) -> BoundStatement:
        """Asks for a row (user id, write timestamp in µs) for each of the users that is stored."""
        return self._statements.user_timestamps.bind((list(user_ids),))

    def write_users(self, writes: Sequence[UserWrite]) -> BatchStatement:
        """Writes each user's set and changes, all at the timestamp given for them.

        What is of one user is one mutation: its replicas take all of it or nothing. An earlier
        run may have written changes that were taken back when it was recovered from. Those that
        no change of this run will write over go with the user's first set.
        """
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.is_idempotent = True
        user, change = self._statements.user, self._statements.change
        for user_set, timestamp_us, is_first in writes:
            user_id = user_set.user_id
            batch.add(user, (user_id, user_set.document, timestamp_us))
            if is_first:
                later = (timestamp_us, user_id, user_set.version)
                batch.add(self._statements.later_changes, later)
            for version, document in user_set.changes:
                batch.add(change, (user_id, version, document, timestamp_us))
        return batch

    def read_progress_timestamp(self, subtask: int) -> BoundStatement:
        """Asks for the write timestamp of a subtask's progress in µs; no row if there is none."""
        return self._statements.progress_timestamp.bind((JOB, subtask))

    def write_progress(self, progress: Progress, timestamp_us: int) -> BoundStatement:
        """Writes how far a subtask has come."""
        values = (
            JOB,
            progress.subtask,
            progress.parallelism,
            progress.watermark,
            progress.ruleset_version,
            progress.written_at,
            timestamp_us,
        )
        return self._statements.progress.bind(values)

    def write_ruleset(self, version: int, document: bytes) -> BoundStatement:
        """Writes the document of a rule set."""
        return self._statements.ruleset.bind((version, document))

    def execute(
        self,
        statement: BatchStatement | BoundStatement,
        on_rows: Callable[[Rows], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Send one statement. One of the two is called once, in a thread of the driver."""
        self._session.execute_async(statement).add_callbacks(on_rows, on_error)

    def close(self) -> None:
        """Let go of the cluster."""
        self._cluster.shutdown()
