"""The way past the framework answers exactly what the framework would."""

import asyncio
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from serving.lookup.hot_path import USER_ID_MAX
from tests.unit.builders import START, publication
from tests.unit.lookups import PATIENT, GatedReader, app_client, fill_store
from tests.unit.test_lookup_api import ODD_IDS, path_of

pytestmark = pytest.mark.unit

USERS = ["u1", "nobody", "a\nb", "u" * USER_ID_MAX, *ODD_IDS]
ADDRESSES = [
    *map(path_of, USERS),
    path_of("u1") + "?x=1",
    "/v1/users/a/b/segments",
    "/v1/users/100%/segments",
    "/v1/users//segments",
    path_of("u" * (USER_ID_MAX + 1)),
    "/v1/users/segments",
    "/v1/users/u1/segments/",
    "/v1/users/u1",
    "/v1/users/u1/segmentsx",
    "/v2/users/u1/segments",
    "/V1/users/u1/segments",
]


@pytest.fixture
def store(tmp_path):
    fill_store(tmp_path / "s.db", *map(publication, ("u1", *ODD_IDS)), as_of=START)
    return tmp_path / "s.db"


async def through_framework(client: httpx.AsyncClient, method: str, address: str, **options):
    """What the app answers if the framework is not passed by."""
    app = client._transport.app

    async def framework(scope, receive, send):
        await FastAPI.__call__(app, scope, receive, send)

    transport = httpx.ASGITransport(framework)
    async with httpx.AsyncClient(transport=transport, base_url="http://lookup") as other:
        return await other.request(method, address, **options)


def shown(response):
    return response.status_code, sorted(response.headers.items()), response.content


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_both_ways_answer_the_same(method):
    async def run():
        reader = GatedReader()
        reader.gate.set()
        async with app_client(lambda: reader) as client:
            for address in ADDRESSES:
                quick = await client.request(method, address)
                assert shown(quick) == shown(await through_framework(client, method, address)), (
                    address
                )

    asyncio.run(run())


@pytest.mark.parametrize("condition", ['"x"', "*", "{}", "W/{}", '"x", {}'])
def test_both_ways_know_what_the_caller_has(condition):
    async def run():
        reader = GatedReader()
        reader.gate.set()
        async with app_client(lambda: reader) as client:
            etag = (await client.get(path_of("u1"))).headers["etag"]
            headers = {"if-none-match": condition.format(etag)}
            quick = await client.get(path_of("u1"), headers=headers)
            slow = await through_framework(client, "GET", path_of("u1"), headers=headers)
            assert shown(quick) == shown(slow)
            return quick

    assert asyncio.run(run()).status_code == (200 if condition == '"x"' else 304)


def test_both_ways_say_that_the_store_is_down():
    async def run():
        reader = GatedReader()
        reader.gate.set()
        reader.broken = True
        async with app_client(lambda: reader, PATIENT) as client:
            quick = await client.get(path_of("u1"))
            assert shown(quick) == shown(await through_framework(client, "GET", path_of("u1")))
            return quick

    assert asyncio.run(run()).status_code == 503


def test_a_good_lookup_does_not_reach_the_framework():
    async def run():
        reader = GatedReader()
        reader.gate.set()
        async with app_client(lambda: reader) as client:
            app = client._transport.app
            app.middleware_stack = None
            app.build_middleware_stack = lambda: pytest.fail("the framework was asked")
            found = [await client.get(path_of(user_id)) for user_id in USERS]
        return found

    assert [response.json()["user_id"] for response in asyncio.run(run())] == USERS


@pytest.mark.parametrize("user_id", ["a%2Fb", "100%", "ü ß"])
def test_what_is_escaped_once_is_taken_apart_once(user_id):
    async def run():
        async with app_client(GatedReader) as client:
            app = client._transport.app
            app.lookups._cache._reads._reader.gate.set()
            return await client.get(f"/v1/users/{quote(user_id, safe='')}/segments")

    assert asyncio.run(run()).json()["user_id"] == user_id
