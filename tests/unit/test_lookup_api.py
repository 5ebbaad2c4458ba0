"""The lookup API over a real store: answers, validators, bounds and errors."""

import asyncio
import json
from urllib.parse import quote

import msgspec
import pytest

from schemas.segments import Segment
from serving.lookup.answers import UserAnswer
from serving.lookup.app import BATCH_BYTES_MAX
from tests.unit.builders import START, publication, segment
from tests.unit.lookups import fill_store, get, store_client

pytestmark = pytest.mark.unit

BATCH = "/v1/segments:batchGet"
ODD_IDS = [
    "a/b",
    "/",
    "a//b",
    "a%2Fb",
    "100%",
    "ü ß",
    "😀",
    "a?b#c",
    "segments",
    "x/segments",
    "é" * 256,
]


def path_of(user_id):
    return f"/v1/users/{quote(user_id, safe='')}/segments"


def assert_problem(response, status):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem["detail"]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "segments.db"
    publications = [publication(user_id) for user_id in ("u1", *ODD_IDS)]
    fill_store(path, *publications, as_of=START + 500)
    return path


def post(store, *bodies):
    async def run():
        async with store_client(store) as client:
            return [
                await client.post(BATCH, content=b if isinstance(b, bytes) else json.dumps(b))
                for b in bodies
            ]

    return asyncio.run(run())


def test_a_known_user_has_their_segments(store):
    (response,) = get(store, path_of("u1"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert msgspec.json.decode(response.content, type=UserAnswer) == UserAnswer(
        user_id="u1",
        as_of=START + 500,
        published=START + 1,
        version=1,
        ruleset_version=1,
        segments=(segment(),),
        stale=False,
        stale_reason=None,
    )


def test_an_unknown_user_has_none_and_is_no_error(store):
    (response,) = get(store, path_of("nobody"))
    assert response.status_code == 200
    assert response.json() == {
        "user_id": "nobody",
        "as_of": START + 500,
        "published": 0,
        "version": 0,
        "ruleset_version": None,
        "segments": [],
        "stale": False,
        "stale_reason": None,
    }


@pytest.mark.parametrize("user_id", ODD_IDS)
def test_any_user_id_can_be_asked_for(store, user_id):
    (response,) = get(store, path_of(user_id))
    assert response.status_code == 200
    assert response.json()["user_id"] == user_id
    assert response.json()["version"] == 1, "found in the store under exactly this id"


def test_a_user_id_may_have_a_newline(store):
    (response,) = get(store, path_of("a\nb"))
    assert response.status_code == 200
    assert response.json()["user_id"] == "a\nb"


def test_a_slash_need_not_be_escaped(store):
    assert get(store, "/v1/users/a/b/segments")[0].json()["version"] == 1


@pytest.mark.parametrize("user_id", ["", "u" * 257])
def test_an_id_that_is_empty_or_too_long_is_refused(store, user_id):
    assert "user_id" in assert_problem(get(store, path_of(user_id))[0], 400)


def test_expired_segments_are_left_out(tmp_path):
    held = [segment("gone=1", START), segment("ends=now", START + 5), segment("in=1", START + 6)]
    fill_store(tmp_path / "s.db", publication(segments=held), as_of=START + 5)
    answer = msgspec.json.decode(get(tmp_path / "s.db", path_of("u1"))[0].content, type=UserAnswer)
    assert answer.segments == (segment("in=1", START + 6),)
    assert answer.published == START + 1
    assert isinstance(answer.segments[0], Segment)


def test_an_answer_may_be_kept_for_as_long_as_it_is_fresh(store):
    (response,) = get(store, path_of("u1"))
    assert response.headers["cache-control"] == "private, max-age=3600"


def test_the_same_answer_has_the_same_validator_and_another_has_another(store):
    first, again = get(store, path_of("u1"), path_of("u1"))
    (fresh_app,) = get(store, path_of("u1"))
    (other,) = get(store, path_of("nobody"))
    assert first.headers["etag"] == again.headers["etag"] == fresh_app.headers["etag"]
    assert first.headers["etag"] != other.headers["etag"]
    assert first.headers["etag"].startswith('"'), "a strong validator"


@pytest.mark.parametrize("condition", ["{}", "W/{}", '"other", {}', '"a",W/{} , "b"', "*"])
def test_who_has_the_answer_already_is_told_so(store, condition):
    etag = get(store, path_of("u1"))[0].headers["etag"]
    (response,) = get(store, path_of("u1"), **{"if-none-match": condition.format(etag)})
    assert response.status_code == 304
    assert response.content == b""
    assert response.headers["etag"] == etag
    assert response.headers["cache-control"] == "private, max-age=3600"


@pytest.mark.parametrize("condition", ['"other"', "", 'W/"other"', "{unquoted}"])
def test_who_has_another_answer_gets_this_one(store, condition):
    (response,) = get(store, path_of("u1"), **{"if-none-match": condition})
    assert response.status_code == 200
    assert response.json()["user_id"] == "u1"


def test_a_batch_is_answered_in_the_order_asked(store):
    wanted = ["nobody", "u1", "a/b", "u1", "😀"]
    (response,) = post(store, {"user_ids": wanted})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    users = response.json()["users"]
    assert [user["user_id"] for user in users] == wanted
    assert [user["version"] for user in users] == [0, 1, 1, 1, 1]


def test_a_batch_of_one_answers_as_a_single_lookup(store):
    (batch,) = post(store, {"user_ids": ["u1"]})
    assert batch.json()["users"] == [get(store, path_of("u1"))[0].json()]


def test_a_batch_may_have_a_hundred_users(store):
    (response,) = post(store, {"user_ids": [f"n{number}" for number in range(100)]})
    assert response.status_code == 200
    assert len(response.json()["users"]) == 100


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"user_ids": []}, "length >= 1"),
        ({"user_ids": [f"n{number}" for number in range(101)]}, "length <= 100"),
        ({"user_ids": ["u1", ""]}, "$.user_ids[1]"),
        ({"user_ids": ["u" * 257]}, "length <= 256"),
        ({"user_ids": ["u1", 2]}, "$.user_ids[1]"),
        ({"user_ids": "u1"}, "Expected `array`"),
        ({"user_ids": None}, "Expected `array`"),
        ({"user_ids": ["u1"], "more": 1}, "unknown field `more`"),
        ({}, "missing required field `user_ids`"),
        (["u1"], "Expected `object`"),
        (b"", "truncated"),
        (b"user_ids=u1", "malformed"),
        (b'{"user_ids": ["u1"]', "truncated"),
        (b'{"user_ids": ["\\ud800"]}', "truncated"),
        (b"[" * 50_000, "Expected `object`"),
        (b'{"user_ids": ' + b"[" * 50_000, "$.user_ids[0]"),
    ],
)
def test_a_body_that_is_no_batch_is_refused(store, body, detail):
    assert detail in assert_problem(post(store, body)[0], 400)


def test_a_body_that_is_not_utf8_is_refused(store):
    assert_problem(post(store, b'{"user_ids": ["\xff"]}')[0], 400)


def test_a_body_is_bounded(store):
    largest = b'{"user_ids": ["u1"]}'.ljust(BATCH_BYTES_MAX)
    good, bad, huge = post(store, largest, largest + b" ", b"x" * 1_000_000)
    assert good.status_code == 200
    for response in (bad, huge):
        assert f"larger than {BATCH_BYTES_MAX} bytes" in assert_problem(response, 413)


def test_what_is_not_there_is_a_problem_too(store):
    async def run():
        async with store_client(store) as client:
            return [
                await client.get("/v1/users"),
                await client.get("/docs"),
                await client.get(BATCH),
                await client.delete(path_of("u1")),
            ]

    *missing, unread, unwritable = asyncio.run(run())
    for response in missing:
        assert_problem(response, 404)
    assert_problem(unread, 405)
    assert_problem(unwritable, 405)
    assert (unread.headers["allow"], unwritable.headers["allow"]) == ("POST", "GET")


def test_health_and_readiness(store):
    health, ready = get(store, "/healthz", "/readyz")
    assert (health.status_code, health.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "job": "reporting"})


def test_without_a_store_there_is_health_but_no_readiness_and_no_answer(tmp_path):
    health, ready, user = get(tmp_path / "none.db", "/healthz", "/readyz", path_of("u1"))
    assert health.status_code == 200
    for response in (ready, user):
        assert "No such file" in assert_problem(response, 503)
        assert response.headers["retry-after"] == "1"
    assert_problem(post(tmp_path / "none.db", {"user_ids": ["u1", "u2"]})[0], 503)


def test_metrics_count_lookups_by_where_the_answer_came_from(store):
    *_, before, _, _, _, _, after = get(
        store, "/metrics", path_of("u1"), path_of("u1"), path_of("nobody"), "/nope", "/metrics"
    )
    assert before.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'segstream_lookups_total{source="store"} 0.0' in before.text
    assert 'segstream_lookups_total{source="store"} 2.0' in after.text
    assert 'segstream_lookups_total{source="cache"} 1.0' in after.text
    assert 'segstream_lookups_total{source="stale"} 0.0' in after.text
    assert "segstream_lookup_seconds_count 3.0" in after.text
