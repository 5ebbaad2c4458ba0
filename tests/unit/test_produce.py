"""The record of a line: which bytes, which key, which partition; and when it is due."""

import json

import pytest

from jobs.produce import (
    IN_FLIGHT_MAX,
    SLICE_RECORDS_MAX,
    Delivery,
    Rewrite,
    outgoing,
    partition_of,
    records_due,
)
from schemas.mapping import parse_mapping
from udfs.intake import Intake, read_event

pytestmark = pytest.mark.unit

NOW_MS = 1_770_000_000_000
MAPPING = parse_mapping("ts=occurred_at,advert_id=item_id,fuel=attributes.fuel", ["type=view"])


def line(**fields):
    event = {"event_id": "e1", "user_id": "u1", "type": "view", "occurred_at": NOW_MS, **fields}
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (line(), b"u1"),
        (line(user_id="Zoë €"), "Zoë €".encode()),
        (line(occurred_at="soon"), b"u1"),
        (line() + b"\r", b"u1"),
        (line(user_id=...), None),
        (line(user_id=7), None),
        (line(user_id=""), None),
        (line(user_id="x" * 257), None),
        (line()[:-1], None),
        (b"\xff\xfe" + line(), None),
        (line().replace(b"u1", b"u\xff"), None),
        (b"[" * 50_000, None),
        (b"GET / HTTP/1.1", None),
        (b"", None),
    ],
)
def test_a_line_is_sent_as_it_is_keyed_by_its_user(content, key):
    assert outgoing(content) == (key, content)


def test_a_mapped_event_is_sent_as_an_event_of_ours():
    foreign = b'{"event_id":"e1","user_id":"u1","ts":1770000000000,"advert_id":"a7","fuel":"ev"}'
    key, value = outgoing(foreign, Rewrite(MAPPING))
    assert key == b"u1"
    assert read_event(value, Intake()) == read_event(foreign, Intake(mapping=MAPPING))


@pytest.mark.parametrize(
    ("foreign", "key"),
    [(b"GET /", None), (b'{"user_id":"u1","ts":"soon"}', b"u1"), (b'{"ts":1}', None)],
)
def test_a_line_that_maps_to_no_event_is_sent_as_it_is(foreign, key):
    assert outgoing(foreign, Rewrite(MAPPING)) == (key, foreign)


def test_times_are_shifted_and_all_else_stays():
    content = line(attributes={"price": 3, "fuel": ["a", "b"]}, session_id="s1")
    key, value = outgoing(content, Rewrite(None, 5_000, NOW_MS))
    assert key == b"u1"
    before, after = read_event(content, Intake()), read_event(value, Intake())
    assert after.occurred_at == NOW_MS + 5_000
    assert {**json.loads(value), "occurred_at": NOW_MS}.items() >= json.loads(content).items()
    assert after.attributes == before.attributes


@pytest.mark.parametrize("at_ms", [17, NOW_MS + 3_600_000])
def test_a_time_that_cannot_be_believed_is_not_shifted_into_one_that_can(at_ms):
    _, value = outgoing(line(occurred_at=at_ms), Rewrite(None, 1_000_000_000_000, NOW_MS))
    assert json.loads(value)["occurred_at"] == at_ms


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_has_the_partition_that_the_java_client_gives_it(key, murmur2):
    for partitions in (1, 4, 7):
        assert partition_of(key, partitions) == (murmur2 & 0x7FFFFFFF) % partitions


def test_at_a_rate_records_are_due_evenly_and_a_stall_is_made_up_for():
    assert [records_due(tenths / 10, 30, 0, 0) for tenths in range(4)] == [0, 3, 6, 9]
    assert records_due(0.3, 30, taken=9, waiting=0) == 0
    assert records_due(10.0, 30, taken=9, waiting=9) == 291
    assert records_due(60.0, 20_000, taken=9, waiting=0) == SLICE_RECORDS_MAX


def test_without_a_rate_only_the_room_bounds_what_is_sent():
    assert records_due(0.0, None, 0, 0) == SLICE_RECORDS_MAX
    assert records_due(9.0, None, IN_FLIGHT_MAX, IN_FLIGHT_MAX - 7) == 7
    assert records_due(9.0, None, IN_FLIGHT_MAX, IN_FLIGHT_MAX) == 0
    assert records_due(9.0, 1e9, IN_FLIGHT_MAX, IN_FLIGHT_MAX) == 0


@pytest.mark.parametrize(
    ("delivery", "complete"),
    [
        (Delivery(5, 5, 0, {}, 1.0, False), True),
        (Delivery(5, 4, 0, {"no answer": 1}, 1.0, False), False),
        (Delivery(5, 5, 1, {}, 1.0, False), False),
        (Delivery(5, 5, 0, {}, 1.0, True), False),
    ],
)
def test_a_delivery_is_complete_when_the_broker_has_every_line(delivery, complete):
    assert delivery.complete is complete
