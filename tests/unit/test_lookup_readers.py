"""How readers hand answers over: together, and never more than may be in flight."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from serving.lookup import handover
from serving.lookup.handover import Handover
from serving.lookup.sqlite_reader import SqliteReader
from serving.lookup.store import StoreError
from tests.unit.builders import START, publication, user_segments
from tests.unit.lookups import fill_store

pytestmark = pytest.mark.unit


class Wakes:
    """An event loop that counts how often it is woken from elsewhere."""

    def __init__(self, loop):
        self.loop = loop
        self.count = 0

    def create_future(self):
        return self.loop.create_future()

    def call_soon_threadsafe(self, callback):
        self.count += 1
        return self.loop.call_soon_threadsafe(callback)


def answer_all(way, places):
    for number, place in enumerate(places):
        way.put(number, place)


def test_many_answers_wake_the_loop_once():
    async def run():
        loop = Wakes(asyncio.get_running_loop())
        way = Handover(loop)
        for turn in (1, 2):
            places = [way.place() for _ in range(50)]
            thread = threading.Thread(target=answer_all, args=(way, places))
            # The loop does not run before all have answered.
            thread.start()
            thread.join()
            assert await asyncio.gather(*places) == list(range(50))
            assert loop.count == turn

    asyncio.run(run())


def test_answers_from_several_threads_all_arrive():
    async def run():
        way = Handover(asyncio.get_running_loop())
        places = [[way.place() for _ in range(60)] for _ in range(4)]
        for mine in places:
            threading.Thread(target=answer_all, args=(way, mine)).start()
        for mine in places:
            assert await asyncio.wait_for(asyncio.gather(*mine), 30) == list(range(60))

    asyncio.run(run())


def test_a_fault_is_raised_where_the_answer_is_awaited():
    async def run():
        way = Handover(asyncio.get_running_loop())
        place = way.place()
        way.put(StoreError("broken"), place)
        with pytest.raises(StoreError, match="broken"):
            await place

    asyncio.run(run())


def test_what_is_in_flight_is_bounded_also_when_nobody_waits_for_it(monkeypatch):
    monkeypatch.setattr(handover, "IN_FLIGHT_MAX", 2)

    async def run():
        way = Handover(asyncio.get_running_loop())
        left, other = way.place(), way.place()
        left.cancel()
        with pytest.raises(StoreError, match="2 questions are waiting"):
            way.place()
        way.put("late", left)
        way.put("answer", other)
        assert await other == "answer"
        assert [way.place() for _ in range(2)]

    asyncio.run(run())


def test_an_answer_after_the_loop_has_ended_harms_nobody():
    async def run():
        way = Handover(asyncio.get_running_loop())
        return way, way.place()

    way, place = asyncio.run(run())
    way.put("late", place)


@pytest.fixture
def store(tmp_path):
    users = [f"u{number}" for number in range(250)]
    fill_store(tmp_path / "s.db", *map(publication, users), as_of=START)
    return tmp_path / "s.db"


def hold_thread(reader):
    """Keep the reader's thread busy until what is returned is set."""
    release = threading.Event()
    reader._thread.submit(release.wait)
    return release


def test_several_users_are_read_by_one_visit_to_the_thread(store):
    async def run():
        reader = SqliteReader(store)
        visits = []
        submit = reader._thread.submit
        reader._thread.submit = lambda *work: visits.append(work) or submit(*work)
        found = await reader.read_many([f"u{number}" for number in range(260)] + ["u7"])
        assert len(visits) == 1
        await reader.close()
        return found

    found = asyncio.run(run())
    known = {f"u{number}": user_segments(f"u{number}") for number in range(250)}
    assert found == known | {f"u{number}": None for number in range(250, 260)}


def test_a_set_that_cannot_be_read_does_not_spoil_the_others(store):
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE user_segments SET document = x'ff' WHERE user_id = 'u1'")

    async def run():
        reader = SqliteReader(store)
        found = await reader.read_many(("u0", "u1", "u2"))
        with pytest.raises(StoreError, match="unreadable content"):
            await reader.read("u1")
        await reader.close()
        return found

    found = asyncio.run(run())
    assert (found["u0"], found["u2"]) == (user_segments("u0"), user_segments("u2"))
    assert isinstance(found["u1"], StoreError)


def test_a_thread_that_hangs_is_not_given_ever_more_to_do(store, monkeypatch):
    monkeypatch.setattr(handover, "IN_FLIGHT_MAX", 3)

    async def run():
        reader = SqliteReader(store)
        release = hold_thread(reader)
        for user_id in ("u0", "u1", "u2"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(user_id), 0.01)
        with pytest.raises(StoreError, match="3 questions are waiting"):
            await reader.read("u3")
        release.set()
        while True:
            try:
                found = await reader.read("u3")
                break
            except StoreError:
                await asyncio.sleep(0.001)
        await reader.close()
        return found

    assert asyncio.run(run()) == user_segments("u3")


def test_no_file_is_told_to_all_who_ask(tmp_path):
    async def run():
        reader = SqliteReader(tmp_path / "none.db")
        found = await asyncio.gather(*map(reader.read, ("u0", "u1")), return_exceptions=True)
        await reader.close()
        return found

    for fault in asyncio.run(run()):
        assert isinstance(fault, StoreError)
        assert "No such file" in str(fault)
