"""The lookup when its store is slow, gone or asked much at once."""

import asyncio

import pytest

from serving.lookup.app import create_app
from tests.unit.builders import START, publication
from tests.unit.lookups import (
    IMPATIENT,
    NEVER_FRESH,
    PATIENT,
    GatedReader,
    app_client,
    fill_store,
    store_client,
)
from tests.unit.test_lookup_api import BATCH, assert_problem

pytestmark = pytest.mark.unit

U1 = "/v1/users/u1/segments"


def test_the_last_known_answer_is_given_when_the_store_goes_away(tmp_path):
    path = tmp_path / "segments.db"
    fill_store(path, publication(), as_of=START)

    async def run():
        async with store_client(path, NEVER_FRESH) as client:
            fresh = await client.get(U1)
            path.rename(tmp_path / "away.db")
            stale = await client.get(U1)
            batch = await client.post(BATCH, json={"user_ids": ["u1"]})
            unknown = await client.get("/v1/users/u2/segments")
            metrics = await client.get("/metrics")
            (tmp_path / "away.db").rename(path)
            again = await client.get(U1)
            return fresh, stale, batch, unknown, metrics, again

    fresh, stale, batch, unknown, metrics, again = asyncio.run(run())
    assert stale.status_code == 200
    assert stale.json() == {**fresh.json(), "stale": True, "stale_reason": "store"}
    assert stale.headers["cache-control"] == "no-store"
    assert stale.headers["etag"] != fresh.headers["etag"]
    assert batch.json() == {"users": [stale.json()]}
    assert_problem(unknown, 503)
    assert 'segstream_lookups_total{source="stale"} 2.0' in metrics.text
    assert 'segstream_lookups_total{source="none"} 1.0' in metrics.text
    assert again.content == fresh.content


def test_a_store_that_never_answers_is_not_waited_for():
    async def run():
        reader = GatedReader()
        async with app_client(lambda: reader, IMPATIENT) as client:
            user = await client.get(U1)
            batch = await client.post(BATCH, json={"user_ids": ["u1", "u2"]})
            reader.job = None
            ready = await client.get("/readyz")
            health = await client.get("/healthz")
        return user, batch, ready, health

    user, batch, ready, health = asyncio.run(run())
    assert assert_problem(user, 503) == "no answer within 10 ms"
    assert_problem(batch, 503)
    assert_problem(ready, 503)
    assert health.status_code == 200


def test_a_user_known_before_is_answered_when_the_store_stops_answering():
    async def run():
        reader = GatedReader()
        reader.gate.set()
        async with app_client(lambda: reader, IMPATIENT) as client:
            # Until it has been in time once, however slow the machine is.
            while (await client.get(U1)).status_code != 200:
                pass
            reader.gate.clear()
            return await client.get(U1)

    answer = asyncio.run(run())
    assert (answer.status_code, answer.json()["stale"]) == (200, True)
    assert answer.json()["version"] == 1


def test_an_answer_that_comes_too_late_is_kept_for_the_next_caller():
    async def run():
        reader = GatedReader()
        settings = IMPATIENT._replace(fresh_seconds=3_600.0)
        async with app_client(lambda: reader, settings) as client:
            early = await client.get(U1)
            reader.gate.set()
            await reader.answered.wait()
            later = await client.get(U1)
        return early, later, reader.asked

    early, later, asked = asyncio.run(run())
    assert_problem(early, 503)
    assert (later.status_code, later.json()["stale"]) == (200, False)
    assert asked == ["u1"]


def test_a_hundred_at_once_for_one_user_are_one_question():
    async def run():
        reader = GatedReader()
        async with app_client(lambda: reader, PATIENT) as client:

            async def ask(number):
                if number == 99:
                    reader.gate.set()
                return await client.get(U1)

            answers = await asyncio.gather(*(ask(number) for number in range(100)))
            metrics = await client.get("/metrics")
        return reader.asked, answers, metrics

    asked, answers, metrics = asyncio.run(run())
    assert asked == ["u1"]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert "segstream_lookup_seconds_count 100.0" in metrics.text


def test_one_user_many_times_in_a_batch_is_one_question():
    async def run():
        reader = GatedReader()
        reader.gate.set()
        async with app_client(lambda: reader, NEVER_FRESH) as client:
            answer = await client.post(BATCH, json={"user_ids": ["u1"] * 99 + ["u2"]})
        return reader.asked, answer

    asked, answer = asyncio.run(run())
    assert asked == ["u1", "u2"]
    assert [user["user_id"] for user in answer.json()["users"]] == ["u1"] * 99 + ["u2"]


@pytest.mark.parametrize(("settings", "questions"), [(PATIENT, 1), (NEVER_FRESH, 3)])
def test_a_fresh_answer_is_not_asked_for_again(settings, questions):
    async def run():
        reader = GatedReader()
        reader.gate.set()
        async with app_client(lambda: reader, settings._replace(users_max=10)) as client:
            for _ in range(3):
                assert (await client.get(U1)).status_code == 200
        return reader.asked

    # Fresh for a second by default: for an hour here, as the machine may be slow.
    if settings is PATIENT:
        settings = PATIENT._replace(fresh_seconds=3_600.0)
    assert asyncio.run(run()) == ["u1"] * questions


def test_the_users_kept_are_bounded():
    async def run():
        reader = GatedReader()
        reader.gate.set()
        settings = PATIENT._replace(fresh_seconds=3_600.0, users_max=2)
        async with app_client(lambda: reader, settings) as client:
            for user_id in ("u1", "u2", "u3", "u3", "u1"):
                await client.get(f"/v1/users/{user_id}/segments")
        return reader.asked

    assert asyncio.run(run()) == ["u1", "u2", "u3", "u1"]


def test_a_fault_is_told_to_all_who_wait_and_asked_again_by_the_next():
    async def run():
        reader = GatedReader()
        reader.broken = True
        reader.gate.set()
        async with app_client(lambda: reader, PATIENT) as client:
            refused = await asyncio.gather(*(client.get(U1) for _ in range(5)))
            reader.broken = False
            good = await client.get(U1)
        return refused, good

    refused, good = asyncio.run(run())
    assert {assert_problem(response, 503) for response in refused} == {"broken for this test"}
    assert good.status_code == 200


def test_the_store_is_opened_at_the_start_and_let_go_at_the_end():
    readers = []

    def open_reader():
        readers.append(GatedReader())
        return readers[-1]

    async def run():
        app = create_app(open_reader)
        assert readers == []
        async with app.router.lifespan_context(app):
            assert not readers[0].closed
        return readers

    assert [reader.closed for reader in asyncio.run(run())] == [True]
