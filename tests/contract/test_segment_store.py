"""One suite over every store: what the writer takes is what the reader gives."""

import asyncio
import os
import sqlite3
from contextlib import closing

import msgspec
import pytest

from jobs.stores.sqlite_store import SqliteWriter, create_store, write_run
from schemas.changes import Change
from schemas.segments import Publication
from serving.lookup.sqlite_reader import SqliteReader
from serving.lookup.store import StoreError
from tests.contract.stores import SqliteStore, flush_at_last
from tests.unit.builders import DAY, START, change, publication, segment, user_segments
from udfs.outbox import StoreWriteError

pytestmark = pytest.mark.contract

ODD_IDS = ["a/b", "a b", " a", "a ", "%", "ü", "ǅ😀", "'; --", 'quo"te', "nul\0l", "u" * 256, "U1"]


@pytest.fixture(params=["sqlite", "cassandra"])
def store(request, tmp_path):
    if request.param == "sqlite":
        return SqliteStore(tmp_path)
    return request.getfixturevalue("cassandra_store")


@pytest.fixture
def writer(store):
    with closing(store.writer()) as writer:
        yield writer


@pytest.fixture
def impatient_writer(store):
    """One whose flush gives up soon."""
    with closing(store.impatient_writer()) as writer:
        yield writer


@pytest.fixture
def reader(store):
    reader = store.reader()
    yield reader
    asyncio.run(reader.close())


def ask(awaitable):
    return asyncio.run(awaitable)


def write(writer, *publications, ticket=1):
    for one in publications:
        writer.send(ticket, one)
    writer.flush()


def test_an_unknown_user_has_nothing(reader):
    assert ask(reader.read("nobody")) is None
    assert ask(reader.changes("nobody")) == []


def test_a_set_is_read_as_it_was_written(writer, reader):
    written = publication(segments=[segment("a=1"), segment("b=2")])
    write(writer, written)
    assert ask(reader.read("u1")) == written.current
    assert ask(reader.changes("u1")) == list(written.changes)


def test_a_later_set_replaces_the_whole_of_the_earlier(writer, reader):
    write(writer, publication(version=1, segments=[segment("a=1"), segment("b=2")]))
    write(writer, publication(version=2, segments=[segment("c=3")]))
    stored = ask(reader.read("u1"))
    assert [s.segment for s in stored.segments] == ["c=3"]
    assert stored.version == 2
    write(writer, publication(version=3, segments=[]))
    assert ask(reader.read("u1")).segments == ()


def test_of_two_sets_sent_before_a_flush_the_later_is_stored(writer, reader):
    write(writer, publication(version=1), publication(version=2, segments=[]))
    assert ask(reader.read("u1")) == user_segments(version=2, segments=[])
    assert [c.version for c in ask(reader.changes("u1"))] == [1, 2]


def test_writing_twice_is_harmless(writer, reader):
    for _ in range(2):
        write(writer, publication(version=1), publication(version=1))
    assert ask(reader.read("u1")) == publication(version=1).current
    assert ask(reader.changes("u1")) == [change(version=1)]


def test_changes_are_kept_in_the_order_of_their_versions(writer, reader):
    kinds = ["enter", "leave"] * 6
    changes = [change(version=n, kind=kind) for n, kind in enumerate(kinds, 1)]
    write(writer, publication(version=3, changes=changes[:3]))
    write(writer, publication(version=12, changes=changes[3:]))
    assert ask(reader.changes("u1")) == changes


def test_a_set_without_changes_leaves_those_there_are(writer, reader):
    write(writer, publication(version=1))
    write(writer, publication(version=1, segments=[], changes=[]))
    assert [c.version for c in ask(reader.changes("u1"))] == [1]


def test_users_do_not_mix_however_odd_their_ids(writer, reader):
    for user_id in ["u1", *ODD_IDS]:
        writer.send(1, publication(user_id))
    writer.flush()
    for user_id in ["u1", *ODD_IDS]:
        assert ask(reader.read(user_id)) == user_segments(user_id)
        assert ask(reader.changes(user_id)) == [change(user_id)]
    assert ask(reader.read("a")) is None


def test_many_users_are_all_stored_by_one_flush(writer, reader):
    users = [f"u{number}" for number in range(1_203)]
    write(writer, *(publication(user_id) for user_id in users))
    assert ask(reader.sizes()) == {"fuel_type=electric": 1_203}
    assert ask(reader.read("u1202")) == user_segments("u1202")


def test_flushing_nothing_is_harmless(writer, reader):
    writer.flush()
    assert ask(reader.sizes()) == {}


def test_as_of_is_how_far_the_job_has_come(store, writer, reader):
    assert ask(reader.progress()).as_of == 0
    store.note_run(START)
    write(writer, publication())
    assert ask(reader.progress()).as_of == START
    store.note_run(START + 1)
    assert ask(reader.progress()).as_of == START + 1


def test_rule_sets_are_kept_by_version(store, reader):
    store.note_run(START, {1: b'{"version": 1}', 2: b'{"version": 2}'})
    assert ask(reader.ruleset(2)) == b'{"version": 2}'
    assert ask(reader.ruleset(3)) is None


def test_sizes_count_only_what_is_valid_at_the_stores_as_of(store, writer, reader):
    until = START + DAY
    write(
        writer,
        publication("u1", segments=[segment("a=1", until), segment("b=2", until + 1)]),
        publication("u2", segments=[segment("a=1", until + 1)]),
        publication("u3", segments=[]),
    )
    assert ask(reader.sizes()) == {"a=1": 2, "b=2": 1}
    store.note_run(until - 1)
    assert ask(reader.sizes()) == {"a=1": 2, "b=2": 1}
    store.note_run(until)
    assert ask(reader.sizes()) == {"a=1": 1, "b=2": 1}
    store.note_run(until + 1)
    assert ask(reader.sizes()) == {}


def test_the_ticket_of_what_is_stored_is_told(writer):
    assert writer.stored("u1") == 0
    writer.send(5, publication("u1"))
    writer.send(6, publication("u2"))
    writer.flush()
    assert writer.stored("u1") == 5
    assert writer.stored("u2") == 6
    assert writer.stored("u3") == 0


def test_the_latest_ticket_counts(writer):
    writer.send(5, publication(version=1))
    writer.flush()
    writer.send(9, publication(version=2))
    writer.flush()
    assert writer.stored("u1") == 9


def test_what_cannot_be_written_is_told_and_not_taken_for_stored(store, impatient_writer):
    with store.unwritable():
        impatient_writer.send(5, publication())
        assert impatient_writer.stored("u1") == 0
        with pytest.raises(StoreWriteError):
            impatient_writer.flush()
        assert impatient_writer.stored("u1") == 0


def test_what_could_not_be_written_is_written_once_it_can_be(store, impatient_writer, reader):
    with store.unwritable():
        impatient_writer.send(5, publication(version=1))
        with pytest.raises(StoreWriteError):
            impatient_writer.flush()
        impatient_writer.send(6, publication(version=2))
        impatient_writer.send(7, publication("u2"))
    flush_at_last(impatient_writer)
    assert ask(reader.read("u1")) == user_segments(version=2)
    assert [c.version for c in ask(reader.changes("u1"))] == [1, 2]
    assert ask(reader.read("u2")) == user_segments("u2")
    assert (impatient_writer.stored("u1"), impatient_writer.stored("u2")) == (6, 7)


def test_sending_never_raises_even_when_there_is_much_to_write(store, writer, reader):
    with store.unwritable():
        for number in range(502):
            writer.send(1, publication(f"u{number}"))
    writer.flush()
    assert ask(reader.sizes()) == {"fuel_type=electric": 502}


def test_a_set_of_another_release_is_no_answer(writer, reader):
    odd = msgspec.structs.replace(user_segments(), schema_version=99)
    write(writer, Publication(odd), publication("u2"))
    with pytest.raises(StoreError, match="schema version 99 is not readable"):
        ask(reader.read("u1"))
    assert ask(reader.read("u2")) == user_segments("u2")


def test_a_change_of_another_release_is_no_answer(writer, reader):
    odd = Change(**{**msgspec.structs.asdict(change()), "schema_version": 99})
    write(writer, publication(changes=[odd]))
    with pytest.raises(StoreError, match="schema version 99 is not readable"):
        ask(reader.changes("u1"))


# What follows is true of a store that is one file.


def assert_no_answer(path, problem):
    reader = SqliteReader(path)
    for question in (
        lambda: reader.read("u1"),
        reader.progress,
        lambda: reader.changes("u1"),
        lambda: reader.ruleset(1),
        reader.sizes,
    ):
        with pytest.raises(StoreError, match=problem):
            ask(question())
    asyncio.run(reader.close())


def filled_store(path, user_id, as_of):
    create_store(path)
    writer = SqliteWriter(path)
    write(writer, publication(user_id))
    writer.close()
    write_run(path, as_of, {})


def test_a_file_put_in_its_place_is_noticed(tmp_path):
    path, other = tmp_path / "segments.db", tmp_path / "new.db"
    filled_store(path, "old", START)
    reader = SqliteReader(path)
    assert ask(reader.read("old")) is not None
    filled_store(other, "new", START + 1)
    os.replace(other, path)
    assert ask(reader.read("old")) is None
    assert ask(reader.progress()).as_of == START + 1
    assert ask(reader.read("new")) == user_segments("new")
    asyncio.run(reader.close())


def test_a_file_that_goes_away_and_comes_back_is_noticed(tmp_path):
    path, aside = tmp_path / "segments.db", tmp_path / "aside.db"
    filled_store(path, "u1", START)
    reader = SqliteReader(path)
    assert ask(reader.progress()).as_of == START
    path.rename(aside)
    with pytest.raises(StoreError, match="No such file"):
        ask(reader.read("u1"))
    aside.rename(path)
    assert ask(reader.read("u1")) == user_segments("u1")
    asyncio.run(reader.close())


def test_no_file_is_no_answer(tmp_path):
    assert_no_answer(tmp_path / "segments.db", "No such file")
    assert list(tmp_path.iterdir()) == [], "and none is made by asking"


def test_a_file_that_is_no_database_is_no_answer(tmp_path):
    (tmp_path / "segments.db").write_text("user,segment\n" * 200)
    assert_no_answer(tmp_path / "segments.db", "not a database")


@pytest.mark.parametrize("version", [0, 2])
def test_a_database_that_is_no_store_of_this_version_is_no_answer(tmp_path, version):
    with closing(sqlite3.connect(tmp_path / "segments.db")) as connection:
        connection.execute("CREATE TABLE user_segments (user_id, document)")
        connection.execute(f"PRAGMA user_version = {version}")
    assert_no_answer(tmp_path / "segments.db", "not a segstream store of version 1")


def test_damaged_content_is_no_answer(tmp_path):
    path = tmp_path / "segments.db"
    filled_store(path, "u1", START)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE user_segments SET document = '{\"user_id\": 1}'")
    reader = SqliteReader(path)
    with pytest.raises(StoreError, match="unreadable content"):
        ask(reader.read("u1"))
    with pytest.raises(StoreError, match="unreadable content"):
        ask(reader.sizes())
    asyncio.run(reader.close())


def test_reading_does_not_write(tmp_path):
    path = tmp_path / "segments.db"
    filled_store(path, "u1", START)
    before = path.read_bytes()
    path.chmod(0o444)
    reader = SqliteReader(path)
    assert ask(reader.read("u1")) == user_segments("u1")
    asyncio.run(reader.close())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_is_not_made_over_another(tmp_path):
    create_store(tmp_path / "segments.db")
    with pytest.raises(OSError, match="cannot make a store at"):
        create_store(tmp_path / "segments.db")
    with pytest.raises(OSError, match="cannot make a store at"):
        create_store(tmp_path / "no folder" / "segments.db")
