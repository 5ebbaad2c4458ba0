"""Which migrations are still to be applied, and when there is no going on."""

import pytest

from jobs.stores.migrate import (
    Applied,
    Migration,
    StoreSetupError,
    known_migrations,
    parse_replication,
    pending_migrations,
)

pytestmark = pytest.mark.unit

KNOWN = [Migration(n, name, "CREATE ...", f"sum {n}") for n, name in enumerate("abc", 1)]


def applied(*versions):
    return [Applied(n, "abcdef"[n - 1], f"sum {n}") for n in versions]


def test_an_empty_store_needs_them_all_in_order():
    assert pending_migrations(KNOWN, []) == KNOWN


@pytest.mark.parametrize(("done", "pending"), [((1,), "bc"), ((2, 1), "c"), ((1, 2, 3), "")])
def test_those_applied_are_not_applied_again(done, pending):
    assert [m.name for m in pending_migrations(KNOWN, applied(*done))] == list(pending)


def test_a_changed_one_is_named():
    done = [Applied(1, "a", "sum 1"), Applied(2, "b", "0123456789abcdef")]
    with pytest.raises(StoreSetupError, match=r"migration 0002 b is not .* \(b, 0123456789ab\)"):
        pending_migrations(KNOWN, done)


def test_a_store_of_a_newer_release_is_left_alone():
    with pytest.raises(StoreSetupError, match="migration 0004 d was applied by a newer release"):
        pending_migrations(KNOWN, applied(1, 2, 3, 4))


def test_those_of_this_release_are_numbered_without_a_gap_and_may_be_repeated():
    known = known_migrations()
    assert [migration.version for migration in known] == list(range(1, len(known) + 1))
    for migration in known:
        lines = [line for line in migration.statement.splitlines() if not line.startswith("--")]
        statement = "\n".join(lines)
        assert "IF NOT EXISTS" in statement or "IF EXISTS" in statement
        assert statement.count(";") == 1


@pytest.mark.parametrize(
    ("text", "replicas"),
    [
        ("3", {"dc1": 3}),
        ("dc1:3,dc2:2", {"dc1": 3, "dc2": 2}),
        ("eu-west:1, us:3", {"eu-west": 1, "us": 3}),
    ],
)
def test_replication_is_read(text, replicas):
    assert parse_replication(text, "dc1") == replicas


@pytest.mark.parametrize("text", ["", "0", "-1", "three", "dc1:", ":3", "dc1:3,", "a:1,a:2", "1,2"])
def test_what_is_no_replication_is_refused(text):
    with pytest.raises(ValueError, match="write 3 or dc1:3,dc2:3"):
        parse_replication(text, "dc1")
