"""`store migrate` against a real Cassandra."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from typer.testing import CliRunner

from jobs.store_commands import app
from jobs.stores.migrate import StoreSetupError, check_migrated, known_migrations, migrate
from schemas.locations import CassandraUrl
from tests.contract.stores import TABLES

pytestmark = pytest.mark.contract

KEYSPACES = count(1)


def ignore(_line):
    pass


@pytest.fixture
def url(cassandra_server, cassandra_keyspace):
    """A keyspace that is not there before the test, nor after it."""
    name = f"migrated{next(KEYSPACES)}"
    node = cassandra_server.cassandra
    yield CassandraUrl((node.host,), node.port, name)
    with cassandra_keyspace.session() as session:
        session.execute(f"DROP KEYSPACE IF EXISTS {name}")


@pytest.fixture
def rows(cassandra_keyspace, url):
    """Ask the keyspace of the test."""

    def ask(statement, *values):
        with cassandra_keyspace.session() as session:
            return list(session.execute(statement.format(url.keyspace), values or None))

    return ask


def command(*arguments):
    result = CliRunner().invoke(app, ["migrate", *arguments])
    return result.exit_code, result.output.splitlines()


def test_a_new_store_has_every_table_and_says_what_was_applied(url, rows):
    code, lines = command("--store", str(url))
    assert code == 0
    assert lines == [
        f"made keyspace {url.keyspace} with replicas 'datacenter1': 1",
        *(f"applied {migration}" for migration in known_migrations()),
    ]
    for table in TABLES:
        assert rows(f"SELECT * FROM {{}}.{table}") == []
    check_migrated(url)


def test_a_second_time_nothing_is_applied(url, rows):
    migrate(url, None, ignore)
    kept = rows("SELECT * FROM {}.schema_migrations")
    assert command("--store", str(url)) == (0, [f"{url}: up to date at {known_migrations()[-1]}"])
    assert rows("SELECT * FROM {}.schema_migrations") == kept


def test_one_that_was_cut_short_is_gone_on_with(url, rows):
    migrate(url, None, ignore)
    rows("DROP TABLE {}.rulesets")
    rows("DELETE FROM {}.schema_migrations WHERE version IN (3, 4)")
    said = []
    migrate(url, None, said.append)
    assert said == [f"applied {migration}" for migration in known_migrations()[2:]]
    assert rows("SELECT * FROM {}.rulesets") == []


def test_two_at_once_apply_each_migration_once(url):
    said = []
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(migrate, url, None, said.append) for _ in range(3)]:
            done.result()
    applied = [line for line in said if line.startswith("applied")]
    assert applied == [f"applied {migration}" for migration in known_migrations()]
    check_migrated(url)


def test_replication_is_as_asked_and_not_changed_later(url, rows):
    for asked in ("datacenter1:1", "1"):
        assert command("--store", str(url), "--replication", asked)[0] == 0
    code, (line,) = command("--store", str(url), "--replication", "3")
    assert code == 1
    assert "the keyspace is there with replicas {'datacenter1': '1'}" in line


def test_more_replicas_than_nodes_is_told_plainly(url):
    code, lines = command("--store", str(url), "--replication", "3")
    assert code == 1
    assert "Cannot achieve consistency level" in lines[-1]


def test_a_changed_migration_is_named(url, rows):
    migrate(url, None, ignore)
    rows("UPDATE {}.schema_migrations SET checksum = 'odd' WHERE version = 2")
    code, (line,) = command("--store", str(url))
    assert (code, line[:20]) == (1, "error: migration 000")
    assert "0002 segment_changes is not what was applied" in line
    with pytest.raises(StoreSetupError, match="0002 segment_changes"):
        check_migrated(url)


def test_a_store_of_a_newer_release_is_left_alone(url, rows):
    migrate(url, None, ignore)
    rows("INSERT INTO {}.schema_migrations (version, name, checksum) VALUES (99, 'later', 'x')")
    code, (line,) = command("--store", str(url))
    assert code == 1
    assert "migration 0099 later was applied by a newer release" in line
    with pytest.raises(StoreSetupError, match="newer release"):
        check_migrated(url)


def test_a_store_not_migrated_is_told_with_what_to_do(url, rows):
    with pytest.raises(StoreSetupError, match=f"not migrated .* --store {url}"):
        check_migrated(url)
    migrate(url, None, ignore)
    rows("DELETE FROM {}.schema_migrations WHERE version = 4")
    with pytest.raises(StoreSetupError, match=r"not migrated \(0004 rulesets\)"):
        check_migrated(url)


@pytest.mark.parametrize(
    ("store", "arguments", "problem"),
    [
        ("cassandra://127.0.0.1:1/k", [], "no node of data centre datacenter1 answers"),
        ("cassandra://no.such.host.invalid/k", [], "no address is known of no.such.host.invalid"),
        ("{url}?dc=elsewhere", [], "no data centre elsewhere in the cluster, but datacenter1"),
        ("{url}", ["--replication", "elsewhere:1"], "Unrecognized strategy option {{elsewhere}}"),
        ("{url}", ["--replication", "many"], "--replication many: write 3 or dc1:3,dc2:3"),
        ("sqlite:///segments.db", [], "only a Cassandra store is migrated"),
        ("cassandra://host", [], "write sqlite:///PATH or cassandra://"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(url, store, arguments, problem):
    code, (line,) = command("--store", store.format(url=url), *arguments)
    assert code == 1
    assert line.startswith("error: ")
    assert problem.format() in line
