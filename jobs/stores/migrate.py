"""The tables of the distributed store, brought up to date by numbered migrations.

A migration is one statement in `schemas/cassandra/NNNN_name.cql` that does nothing where it is
done already (IF NOT EXISTS). Once released it never changes; `schema_migrations` remembers each.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from typing import NamedTuple

from cassandra import DriverException, InvalidRequest, WriteTimeout
from cassandra.cluster import Cluster, NoHostAvailable, Session
from cassandra.metadata import protect_name, protect_value
from cassandra.pool import Host
from cassandra.protocol import ErrorMessage

from jobs.stores.cassandra_session import Rows, fault_text, make_cluster
from schemas.locations import CassandraUrl

CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 30.0
REPLICAS_MAX_BY_DEFAULT = 3
LOCK_VERSION = 0
LOCK_TTL_S = 60
LOCK_POLL_S = 0.5

_BOOKKEEPING = """
    CREATE TABLE IF NOT EXISTS {} (
        version int PRIMARY KEY, name text, checksum text, applied_at timestamp)"""


class StoreSetupError(RuntimeError):
    """The store is not, or cannot be, set up as this release needs it; the message says why."""


class Migration(NamedTuple):
    """One step of the schema. `checksum` is the SHA-256 of its file in hexadecimal."""

    version: int
    name: str
    statement: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.version:04} {self.name}"


class Applied(NamedTuple):
    """A step that a store has been through."""

    version: int
    name: str
    checksum: str


def known_migrations() -> list[Migration]:
    """The migrations of this release, in order."""
    found = []
    for file in resources.files("schemas").joinpath("cassandra").iterdir():
        version, _, name = file.name.removesuffix(".cql").partition("_")
        content = file.read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        found.append(Migration(int(version), name, content.decode(), checksum))
    return sorted(found)


def pending_migrations(known: Sequence[Migration], applied: Sequence[Applied]) -> list[Migration]:
    """What is still to be applied, in order.

    Raises:
        StoreSetupError: an applied migration is not the one known here, or not known at all.
    """
    by_version = {migration.version: migration for migration in known}
    for done in sorted(applied):
        migration = by_version.get(done.version)
        if migration is None:
            raise StoreSetupError(
                f"migration {done.version:04} {done.name} was applied by a newer release"
                f" (this one knows up to {known[-1]}): use that release or a later one"
            )
        if migration.checksum != done.checksum:
            raise StoreSetupError(
                f"migration {migration} is not what was applied under this number"
                f" ({done.name}, {done.checksum[:12]}): a released migration never changes,"
                " put it back and add a new one"
            )
    done_versions = {done.version for done in applied}
    return [migration for migration in known if migration.version not in done_versions]


def parse_replication(text: str, datacenter: str) -> dict[str, int]:
    """Read `3`, which means in `datacenter`, or `dc1:3,dc2:3`.

    Raises:
        ValueError: it is neither.
    """
    replicas: dict[str, int] = {}
    for part in text.split(","):
        name, colon, count = part.rpartition(":")
        name = name.strip() if colon else datacenter
        if not name or name in replicas or not (count.isascii() and count.isdigit() and int(count)):
            raise ValueError(f"--replication {text}: write 3 or dc1:3,dc2:3")
        replicas[name] = int(count)
    return replicas


def migrate(
    url: CassandraUrl, replication: Mapping[str, int] | None, say: Callable[[str], None]
) -> None:
    """Make the keyspace if it is not there, and apply what is missing, once each, in order.

    `replication` is the number of replicas a data centre; None: as many as the URL's has nodes, at
    most three. Two at once are safe: one waits for the other.

    Raises:
        StoreSetupError: the cluster cannot be reached, or its schema is not one to go on from.
    """
    with _connected(url) as cluster:
        store = _Schema(url, cluster)
        store.make_keyspace(replication, say)
        with store.locked(say):
            pending = pending_migrations(known_migrations(), store.applied())
            for migration in pending:
                store.apply(migration)
                say(f"applied {migration}")
        if not pending:
            say(f"{url}: up to date at {known_migrations()[-1]}")


def check_migrated(url: CassandraUrl) -> None:
    """Make sure that the store is there as this release needs it.

    Raises:
        StoreSetupError: it is not, or it cannot be reached.
    """
    with _connected(url) as cluster:
        try:
            applied = _Schema(url, cluster).applied()
        except InvalidRequest:
            applied = []
        pending = pending_migrations(known_migrations(), applied)
    if pending:
        missing = ", ".join(map(str, pending))
        raise StoreSetupError(
            f"{url}: not migrated ({missing}): run `segstream store migrate --store {url}`"
        )


class _Schema:
    """The keyspace as its own bookkeeping has it."""

    def __init__(self, url: CassandraUrl, cluster: Cluster) -> None:
        self._keyspace = protect_name(url.keyspace)
        self._bookkeeping = f"{self._keyspace}.schema_migrations"
        self._url = url
        self._session: Session = cluster.connect()
        nodes = [node for node in cluster.metadata.all_hosts() if node.datacenter == url.datacenter]
        # All migrate through the same node, which takes one change of the schema after the other.
        self._node: Host = min(nodes, key=lambda node: str(node.endpoint))
        self._nodes = len(nodes)

    def make_keyspace(
        self, replication: Mapping[str, int] | None, say: Callable[[str], None]
    ) -> None:
        rows = self._execute(
            "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s",
            self._url.keyspace,
        )
        if rows:
            self._check_replication(dict(rows[0][0]), replication)
        else:
            replication = replication or {
                self._url.datacenter: min(self._nodes, REPLICAS_MAX_BY_DEFAULT)
            }
            replicas = ", ".join(
                f"{protect_value(name)}: {count}" for name, count in replication.items()
            )
            self._change(
                f"CREATE KEYSPACE IF NOT EXISTS {self._keyspace}"
                f" WITH replication = {{'class': 'NetworkTopologyStrategy', {replicas}}}"
            )
            say(f"made keyspace {self._url.keyspace} with replicas {replicas}")
        self._change(_BOOKKEEPING.format(self._bookkeeping))

    def _check_replication(
        self, found: Mapping[str, str], wanted: Mapping[str, int] | None
    ) -> None:
        replicas = {name: count for name, count in found.items() if name != "class"}
        if wanted is not None and replicas != {name: str(n) for name, n in wanted.items()}:
            raise StoreSetupError(
                f"{self._url}: the keyspace is there with replicas {replicas}; to change that is"
                " ALTER KEYSPACE and a repair, not a migration"
            )

    def applied(self) -> list[Applied]:
        rows = self._execute(
            f"SELECT version, name, checksum FROM {self._keyspace}.schema_migrations"
        )
        return [Applied(*row) for row in rows if row[0] != LOCK_VERSION]

    def apply(self, migration: Migration) -> None:
        self._session.set_keyspace(self._url.keyspace)
        self._change(migration.statement)
        self._execute(
            f"INSERT INTO {self._bookkeeping} (version, name, checksum, applied_at)"
            " VALUES (%s, %s, %s, toTimestamp(now()))",
            migration.version,
            migration.name,
            migration.checksum,
        )

    @contextmanager
    def locked(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the one lock. One whose holder died is free again after a minute."""
        holder = str(uuid.uuid4())
        deadline_s = time.monotonic() + 2 * LOCK_TTL_S
        waits = False
        while not self._take_lock(holder):
            if time.monotonic() > deadline_s:
                raise StoreSetupError(f"{self._url}: another migration does not end")
            if not waits:
                say("another migration is at work: waiting for it")
                waits = True
            time.sleep(LOCK_POLL_S)
        try:
            yield
        finally:
            # Where this fails the lock ends by itself.
            with suppress(WriteTimeout):
                self._execute(
                    f"DELETE FROM {self._bookkeeping} WHERE version = %s IF name = %s",
                    LOCK_VERSION,
                    holder,
                )

    def _take_lock(self, holder: str) -> bool:
        take = (
            f"INSERT INTO {self._bookkeeping} (version, name) VALUES (%s, %s)"
            f" IF NOT EXISTS USING TTL {LOCK_TTL_S}"
        )
        try:
            (row,) = self._execute(take, LOCK_VERSION, holder)
        except WriteTimeout:
            # Several at once may time out, and whether it was taken shows in the next attempt.
            return False
        applied, *found = row
        return bool(applied) or holder in found

    def _execute(self, statement: str, *values: object) -> Rows:
        return list(self._session.execute(statement, values or None, host=self._node))

    def _change(self, statement: str) -> None:
        """Change the schema, and see all nodes agree on it."""
        result = self._session.execute(statement, host=self._node)
        if not result.response_future.is_schema_agreed:
            raise StoreSetupError(f"{self._url}: the nodes do not agree on the schema; try again")


@contextmanager
def _connected(url: CassandraUrl) -> Iterator[Cluster]:
    """The cluster of a store; whatever the driver says against it becomes a StoreSetupError."""
    cluster = None
    try:
        cluster = make_cluster(url, REQUEST_TIMEOUT_S, CONNECT_TIMEOUT_S)
        yield cluster
    except (DriverException, ErrorMessage, NoHostAvailable, OSError) as error:
        found = {node.datacenter for node in cluster.metadata.all_hosts()} if cluster else set()
        if found - {None} and url.datacenter not in found:
            there = ", ".join(sorted(filter(None, found)))
            raise StoreSetupError(
                f"{url}: no data centre {url.datacenter} in the cluster, but {there}: add ?dc=NAME"
            ) from error
        raise StoreSetupError(fault_text(url, error)) from error
    finally:
        if cluster is not None:
            cluster.shutdown()
