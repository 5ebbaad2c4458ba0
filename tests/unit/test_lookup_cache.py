"""The cache by itself: how long answers last, who asks again, and how long anyone waits."""

import asyncio
import json

import pytest

from serving.lookup.cache import LookupCache
from serving.lookup.settings import LookupSettings
from serving.lookup.store import JobProgress, StoreError
from serving.lookup.watch import JobWatch
from tests.unit.builders import user_segments
from tests.unit.lookups import GatedReader

pytestmark = pytest.mark.unit

FRESH = 0.25


class Cache:
    """A cache over a reader whose gate is open, and a clock that the test moves."""

    def __init__(self, reader=None, **settings):
        self.reader = reader or GatedReader()
        self.reader.gate.set()
        self.seconds = 100.0
        limits = LookupSettings(deadline_seconds=30.0, read_seconds=60.0, fresh_seconds=FRESH)
        limits = limits._replace(**settings)
        self.watch = JobWatch(self.reader, limits)
        self.cache = LookupCache(self.reader, self.watch, limits, lambda: self.seconds)

    async def start(self):
        await self.watch.ask()
        return self

    async def settle(self):
        """Until no question is under way."""
        while self.cache._reads._under_way:
            await asyncio.sleep(0)

    def version(self, reply):
        return reply and json.loads(reply.body)["version"]


def test_an_answer_is_fresh_until_it_is_so_old_since_the_store_was_asked():
    async def run():
        one = await Cache().start()
        assert one.cache.fresh("u1") is None
        one.reader.gate.clear()
        asking = asyncio.create_task(one.cache.ask("u1"))
        await asyncio.sleep(0)
        one.seconds += FRESH / 2
        one.reader.gate.set()
        reply = await asking
        assert one.cache.fresh("u1") is reply, "the very bytes, made once"
        one.seconds += FRESH / 2 - 0.001
        assert one.cache.fresh("u1") is reply
        one.seconds += 0.001
        assert one.cache.fresh("u1") is None

    asyncio.run(run())


def test_a_user_who_is_asked_for_is_asked_for_again_before_the_answer_is_too_old():
    async def run():
        one = await Cache().start()
        await one.cache.ask("wanted")
        await one.cache.ask("unwanted")
        assert one.cache.fresh("wanted")
        one.cache.refresh(one.seconds - 0.1)
        assert one.reader.asked == ["wanted", "unwanted"], "not old enough"
        one.seconds += 0.2
        one.cache.refresh(one.seconds - 0.1)
        await one.settle()
        assert one.reader.asked[2:] == ["wanted"]
        one.seconds += 0.2
        assert one.cache.fresh("wanted"), "0.4 s after the first question"
        assert one.cache.fresh("unwanted") is None
        one.cache.refresh(one.seconds - 0.1)
        await one.settle()
        assert one.reader.asked[3:] == ["wanted"], "given since the last question"
        one.seconds += 0.2
        one.cache.refresh(one.seconds - 0.1)
        await one.settle()
        assert one.reader.asked[4:] == [], "not given since"

    asyncio.run(run())


def test_what_was_asked_for_again_is_what_is_answered():
    async def run():
        one = await Cache().start()
        one.reader.current = user_segments("u1", version=1)
        await one.cache.ask("u1")
        assert one.version(one.cache.fresh("u1")) == 1
        one.reader.current = user_segments("u1", version=2)
        one.seconds += 0.2
        one.cache.refresh(one.seconds - 0.1)
        await one.settle()
        assert one.version(one.cache.fresh("u1")) == 2

    asyncio.run(run())


def test_a_store_that_is_down_is_not_asked_for_ever_for_users_nobody_asks_for():
    async def run():
        one = await Cache().start()
        await one.cache.ask("u1")
        one.cache.fresh("u1")
        one.reader.broken = True
        for _ in range(5):
            one.seconds += 1.0
            one.cache.refresh(one.seconds - 0.1)
            await one.settle()
        assert one.reader.asked == ["u1", "u1"]
        assert json.loads(one.cache.last_known("u1").body)["stale_reason"] == "store"

    asyncio.run(run())


def test_a_user_no_longer_kept_is_not_asked_for_again():
    async def run():
        one = await Cache(users_max=1).start()
        await one.cache.ask("u1")
        one.cache.fresh("u1")
        await one.cache.ask("u2")
        one.seconds += 0.2
        one.cache.refresh(one.seconds - 0.1)
        await one.settle()
        assert one.reader.asked == ["u1", "u2"]

    asyncio.run(run())


def test_hot_users_are_kept_fresh_by_themselves():
    async def run():
        one = await Cache(fresh_seconds=0.02).start()
        await one.cache.ask("u1")
        keeping = asyncio.create_task(one.cache.keep_fresh())
        while len(one.reader.asked) < 4:
            one.cache.fresh("u1")
            one.seconds += 0.019
            await asyncio.sleep(0.001)
        keeping.cancel()

    asyncio.run(run())


def test_a_question_that_is_never_answered_ends_and_the_next_is_a_new_one():
    async def run():
        one = await Cache(deadline_seconds=0.01, read_seconds=0.02).start()
        one.reader.gate.clear()
        with pytest.raises(StoreError, match="no answer within 10 ms"):
            await one.cache.ask("u1")
        await one.reader.given_up.wait()
        await one.settle()
        one.reader.gate.set()
        assert one.version(await ask_until_answered(one.cache)) == 1
        assert one.reader.asked[:2] == ["u1", "u1"]

    async def ask_until_answered(cache):
        while True:
            try:
                return await cache.ask("u1")
            except StoreError:
                await asyncio.sleep(0)

    asyncio.run(run())


def test_nobody_waits_for_a_question_that_was_asked_a_deadline_ago():
    async def run():
        one = await Cache(deadline_seconds=0.01).start()
        one.reader.gate.clear()
        with pytest.raises(StoreError, match="no answer within 10 ms"):
            await one.cache.ask("u1")
        later = asyncio.create_task(one.cache.ask("u1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert later.done(), "in no time"
        assert one.reader.asked == ["u1"]
        assert isinstance(later.exception(), StoreError)
        one.reader.gate.set()
        await one.settle()
        assert one.version(one.cache.fresh("u1")) == 1

    asyncio.run(run())


def test_users_asked_for_in_one_turn_are_one_question_for_all_who_live_together():
    async def run():
        one = await Cache().start()
        one.reader.neighbours = lambda user_id: user_id[0]
        users = [f"{place}{number}" for number in range(40) for place in "ab"]
        replies = await asyncio.gather(*map(one.cache.ask, users))
        assert sorted(one.reader.asked) == sorted(users)
        assert one.reader.questions == 4, "of at most 32 users"
        assert [json.loads(reply.body)["user_id"] for reply in replies] == users

    asyncio.run(run())


def test_a_fault_of_one_user_is_not_that_of_who_was_asked_for_with_them():
    class Spoiled(GatedReader):
        async def read_many(self, user_ids):
            return {**await super().read_many(user_ids), "bad": StoreError("spoiled")}

    async def run():
        one = Cache(reader=Spoiled())
        await one.start()
        good, bad = await asyncio.gather(
            one.cache.ask("good"), one.cache.ask("bad"), return_exceptions=True
        )
        assert one.reader.questions == 1
        assert one.version(good) == 1
        assert str(bad) == "spoiled"

    asyncio.run(run())


def test_a_reader_that_fails_as_none_should_keeps_nobody_waiting():
    class Faulty(GatedReader):
        async def read_many(self, user_ids):
            raise ZeroDivisionError(user_ids)

    async def run():
        one = await Cache(reader=Faulty()).start()
        with pytest.raises(StoreError):
            await one.cache.ask("u1")
        assert not one.cache._reads._under_way

    asyncio.run(run())


def test_a_question_goes_on_when_its_caller_hangs_up():
    async def run():
        one = await Cache().start()
        one.reader.gate.clear()
        first = asyncio.create_task(one.cache.ask("u1"))
        second = asyncio.create_task(one.cache.ask("u1"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        one.reader.gate.set()
        assert one.version(await second) == 1
        assert one.reader.asked == ["u1"]

    asyncio.run(run())


def test_an_answer_says_how_far_the_job_has_come_by_now():
    async def run():
        one = await Cache().start()
        await one.cache.ask("u1")
        one.reader.job = JobProgress(8, None)
        await one.watch.ask()
        assert json.loads(one.cache.fresh("u1").body)["as_of"] == 8
        assert one.reader.asked == ["u1"]

    asyncio.run(run())
