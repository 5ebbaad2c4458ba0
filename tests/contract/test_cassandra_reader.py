"""The lookup over the distributed store: together, while it is down, and when it comes back."""

import asyncio
import time
from contextlib import closing

import httpx
import pytest

from jobs.stores.migrate import migrate
from schemas.locations import CassandraUrl
from schemas.progress import Progress
from serving.lookup.cassandra_reader import CassandraReader
from serving.lookup.settings import LookupSettings
from serving.lookup.store import JobProgress, StoreError
from tests.unit.builders import START, change, publication, user_segments
from tests.unit.lookups import app_client

pytestmark = pytest.mark.contract

U1 = "/v1/users/u1/segments"
BACK_WITHIN_S = 60.0
# As `serve` has them, but that answers are never fresh and a busy machine has time.
SETTINGS = LookupSettings(
    fresh_seconds=0.0, deadline_seconds=1.0, read_seconds=2.0, progress_seconds=0.2
)


@pytest.fixture
def filled(cassandra_store):
    """A store of 1,203 users, and a job that has just said how far it is."""
    with closing(cassandra_store.writer()) as writer:
        for number in range(1_203):
            writer.send(1, publication(f"u{number}"))
        writer.flush()
    cassandra_store.note_run(START)
    return cassandra_store


def with_reader(url, ask, timeout_s=2.0):
    """What a fresh reader answers."""

    async def run():
        reader = CassandraReader(url, timeout_s)
        try:
            return await ask(reader)
        finally:
            await reader.close()

    return asyncio.run(run())


def client_of(url):
    return app_client(lambda: CassandraReader(url, SETTINGS.read_seconds), SETTINGS)


async def until(client, address, accept):
    """Ask until the answer is as wanted; that answer."""
    until_s = time.monotonic() + BACK_WITHIN_S
    while not accept(response := await client.get(address)):
        assert time.monotonic() < until_s, response.text
        await asyncio.sleep(0.05)
    return response


def is_fresh(response: httpx.Response) -> bool:
    return response.status_code == 200 and not response.json()["stale"]


# Asking


def test_several_users_are_one_question_to_the_nodes_of_the_first(filled):
    users = [f"u{number}" for number in range(30)] + ["nobody", "'; --", "nul\0l"]

    async def ask(reader):
        await reader.progress()
        session, sent = reader._opened.session, []
        execute = session.execute_async
        session.execute_async = lambda question: sent.append(question) or execute(question)
        found = await reader.read_many(users)
        return found, [(one.keyspace, one.routing_key, one.is_idempotent) for one in sent]

    found, sent = with_reader(filled.url, ask)
    known = {f"u{number}": user_segments(f"u{number}") for number in range(30)}
    assert found == known | {"nobody": None, "'; --": None, "nul\0l": None}
    assert sent == [(filled.url.keyspace, b"u0", True)]


def test_users_of_the_same_nodes_are_well_read_together(filled):
    async def ask(reader):
        early = reader.together("u0")
        await reader.progress()
        nodes = reader._opened.cluster.metadata.all_hosts()
        return early, reader.together("u0"), reader.together("nul\0l"), frozenset(nodes)

    early, one, other, nodes = with_reader(filled.url, ask)
    assert early is None
    assert one == other == nodes


def test_a_document_that_is_none_spoils_only_its_user(filled):
    with filled.session() as session:
        session.execute("UPDATE user_segments SET document = 0x6e6f WHERE user_id = 'u1'")

    async def ask(reader):
        return await reader.read_many(("u0", "u1", "u2"))

    found = with_reader(filled.url, ask)
    assert (found["u0"], found["u2"]) == (user_segments("u0"), user_segments("u2"))
    assert isinstance(found["u1"], StoreError)
    assert "unreadable content" in str(found["u1"])


def test_every_page_of_users_is_counted(filled):
    sizes = with_reader(filled.url, lambda reader: reader.sizes())
    assert sizes == {"fuel_type=electric": 1_203}


def test_the_slowest_subtask_of_the_newest_parallelism_counts(cassandra_store):
    def note(subtask, parallelism, watermark, written_at):
        with closing(cassandra_store.writer()) as writer:
            writer.note_progress(
                Progress(
                    subtask=subtask,
                    parallelism=parallelism,
                    watermark=watermark,
                    ruleset_version=1,
                    written_at=written_at,
                )
            )
            writer.flush()
        return with_reader(cassandra_store.url, lambda reader: reader.progress())

    assert note(0, 2, START + 5, 1_000) == JobProgress(START + 5, 0)
    assert note(1, 2, START, 1_001) == JobProgress(START, 1_000)
    assert note(0, 1, START + 9, 2_000) == JobProgress(START + 9, 2_000)


def test_a_note_of_which_half_is_missing_is_no_progress(cassandra_store):
    with cassandra_store.session() as session:
        session.execute("INSERT INTO job_progress (job, subtask) VALUES ('segstream', 0)")
    with pytest.raises(StoreError, match="unreadable content: Expected `int`"):
        with_reader(cassandra_store.url, lambda reader: reader.progress())


def test_history_is_told_from_its_beginning(cassandra_store):
    changes = [change(version=number) for number in range(1, 12)]
    with closing(cassandra_store.writer()) as writer:
        writer.send(1, publication(version=11, changes=changes))
        writer.flush()
    assert with_reader(cassandra_store.url, lambda reader: reader.changes("u1")) == changes


# What is not there


@pytest.mark.parametrize("question", ["read", "progress", "changes", "ruleset", "sizes"])
def test_a_keyspace_that_was_never_made_is_told_with_what_to_do(cassandra_store, question):
    url = CassandraUrl(cassandra_store.url.hosts, cassandra_store.url.port, "never_made")
    values = {"read": ("u1",), "changes": ("u1",), "ruleset": (1,)}.get(question, ())
    with pytest.raises(StoreError, match=r"not migrated .* run `segstream store migrate --store"):
        with_reader(url, lambda reader: getattr(reader, question)(*values))


def test_a_reader_opened_too_early_finds_the_tables_once_they_are_made(cassandra_store):
    url = CassandraUrl(cassandra_store.url.hosts, cassandra_store.url.port, "made_later")

    async def run():
        async with client_of(url) as client:
            before = await client.get("/readyz")
            await asyncio.to_thread(migrate, url, None, print)
            await until(client, "/readyz", lambda response: response.status_code == 200)
            return before

    before = asyncio.run(run())
    with cassandra_store.session() as session:
        session.execute("DROP KEYSPACE made_later")
    assert before.status_code == 503
    assert "not migrated" in before.json()["detail"]


def test_nobody_there_is_told():
    nobody = CassandraUrl(("127.0.0.1",), 1, "segstream")
    with pytest.raises(StoreError, match=r"no node of data centre datacenter1 answers: .*refused"):
        with_reader(nobody, lambda reader: reader.read("u1"))


def test_the_wrong_data_centre_is_told(cassandra_store):
    url = CassandraUrl(cassandra_store.url.hosts, cassandra_store.url.port, "contract", "moon")
    with pytest.raises(StoreError, match="no node of data centre moon answers"):
        with_reader(url, lambda reader: reader.read("u1"))


# Outages


def test_a_node_that_hangs_costs_no_answer_to_who_is_known_and_is_back_at_once(filled):
    async def run():
        async with client_of(filled.url) as client:
            fresh = await until(client, U1, is_fresh)
            with filled.unwritable():
                hung = await client.get(U1)
                unknown = await client.get("/v1/users/u2/segments")
            back = await until(client, U1, is_fresh)
            return fresh, hung, unknown, back

    fresh, hung, unknown, back = asyncio.run(run())
    assert (hung.status_code, hung.json()["stale_reason"]) == (200, "store")
    assert hung.json()["segments"] == fresh.json()["segments"]
    assert unknown.status_code == 503
    assert back.json()["segments"] == fresh.json()["segments"]


def test_a_killed_node_is_answered_for_and_found_again(filled):
    stack = filled.stack

    async def run():
        async with client_of(filled.url) as client:
            fresh = await until(client, U1, is_fresh)
            await asyncio.to_thread(stack.kill, stack.cassandra)
            down = [await client.get(U1) for _ in range(20)]
            unknown = await client.get("/v1/users/u2/segments")
            ready = await client.get("/readyz")
            async with client_of(filled.url) as late:
                # A server that starts while the store is down starts.
                late_user, late_ready = await late.get(U1), await late.get("/readyz")
                health = await late.get("/healthz")
                await asyncio.to_thread(stack.start, stack.cassandra)
                filled.note_run(START + 1)
                for one in (client, late):
                    back = await until(one, U1, is_fresh)
                    assert back.json()["segments"] == fresh.json()["segments"]
                    await until(one, "/readyz", lambda response: response.status_code == 200)
            return down, unknown, ready, late_user, late_ready, health

    down, unknown, ready, late_user, late_ready, health = asyncio.run(run())
    assert {response.status_code for response in down} == {200}
    assert {response.json()["stale_reason"] for response in down} == {"store"}
    for response in (unknown, ready, late_user, late_ready):
        assert response.status_code == 503
    assert health.status_code == 200
