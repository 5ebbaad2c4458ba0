"""Foreign logs: their field names mapped onto the event's."""

import json

import msgspec
import pytest

from schemas.mapping import FieldMapping, parse_mapping

pytestmark = pytest.mark.unit

FOREIGN = {"id": "e1", "visitor": "u1", "ts": 1_700_000_000_000, "advert": "a7", "fuel": "Diesel"}


def read(mapping, record):
    return mapping.read(json.dumps(record).encode())


def test_nothing_given_is_no_mapping():
    assert parse_mapping("", []) is None
    assert parse_mapping(",,", []) is None


def test_pairs_and_defaults_are_read():
    mapping = parse_mapping("ts=occurred_at, advert = item_id,", ["type=view", "schema_version=1"])
    assert mapping == FieldMapping(
        (("ts", "occurred_at"), ("advert", "item_id")), (("type", "view"), ("schema_version", 1))
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("view", "view"), ('"view"', "view"), ("12", 12), ("true", True), ("[", "["), ("a=b", "a=b")],
)
def test_a_default_is_json_where_it_can_be(text, value):
    assert parse_mapping("", [f"attributes.kind={text}"]).defaults == (("attributes.kind", value),)


def test_a_record_is_read_by_its_own_names():
    mapping = parse_mapping(
        "id=event_id,visitor=user_id,ts=occurred_at,advert=item_id,fuel=attributes.fuel_type",
        ["type=view", "attributes.country=gb"],
    )
    event = read(mapping, FOREIGN)
    assert (event.event_id, event.user_id, event.occurred_at) == ("e1", "u1", 1_700_000_000_000)
    assert (event.type, event.item_id, event.schema_version) == ("view", "a7", 1)
    assert event.attributes == {"fuel_type": "Diesel", "country": "gb"}


def test_sources_may_be_dotted_paths():
    mapping = parse_mapping(
        "meta.id=event_id,who.user.id=user_id,body.when=occurred_at", ["type=x"]
    )
    record = {
        "meta": {"id": "e1"},
        "who": {"user": {"id": "u1"}},
        "body": {"when": 1_700_000_000_000, "left": "alone"},
    }
    event = read(mapping, record)
    assert (event.event_id, event.user_id, event.occurred_at) == ("e1", "u1", 1_700_000_000_000)


def test_a_mapped_source_is_moved_so_that_nothing_counts_twice():
    mapping = parse_mapping("attributes.fuel=attributes.fuel_type", [])
    record = {**event_record(), "attributes": {"fuel": "diesel", "make": "kia"}}
    assert read(mapping, record).attributes == {"fuel_type": "diesel", "make": "kia"}


def event_record(**fields):
    record = {"event_id": "e1", "user_id": "u1", "type": "click", "occurred_at": 1_700_000_000_000}
    return {**record, **fields}


def test_the_source_wins_over_the_records_own_field_only_where_it_is_there():
    mapping = parse_mapping("kind=type", [])
    assert read(mapping, event_record(kind="view")).type == "view"
    assert read(mapping, event_record()).type == "click"


def test_a_default_stands_in_only_for_an_absent_field():
    mapping = parse_mapping("", ["type=view"])
    assert read(mapping, event_record()).type == "click"
    without = event_record()
    del without["type"]
    assert read(mapping, without).type == "view"


def test_a_path_through_something_that_is_no_object_finds_nothing():
    mapping = parse_mapping("who.id=user_id", ["type=view"])
    assert read(mapping, event_record(who="me")).user_id == "u1"
    assert read(mapping, event_record(who=["me"])).user_id == "u1"


@pytest.mark.parametrize("payload", [b"[1]", b'"text"', b"17", b"null", b"{}", b"not json", b""])
def test_what_is_no_event_after_mapping_is_refused(payload):
    mapping = parse_mapping("ts=occurred_at", ["type=view"])
    with pytest.raises(msgspec.DecodeError):
        mapping.read(payload)


def test_the_source_of_a_field_is_told():
    mapping = parse_mapping("meta.ts=occurred_at", ["type=view"])
    assert mapping.source_of("occurred_at") == "meta.ts"
    assert mapping.source_of("user_id") == "user_id"


@pytest.mark.parametrize(
    ("fields", "defaults", "problem"),
    [
        ("ts", [], "--map 'ts': write name=name"),
        ("=occurred_at", [], "write name=name"),
        ("ts=", [], "write name=name"),
        ("ts=when", [], "'when' is no event field"),
        ("ts=attributes", ["type"], "--default 'type': write name=name"),
        ("ts=attributes.", [], "'attributes.' is no event field"),
        ("ts=item_id.x", [], "'item_id.x' is no event field"),
        ("", ["kind=view"], "'kind' is no event field"),
        ("", ["user_id=u1"], "user_id must come from each record"),
        ("", ["occurred_at=1"], "occurred_at must come from each record"),
        ("", ["event_id=e"], "event_id must come from each record"),
    ],
)
def test_a_faulty_mapping_is_refused(fields, defaults, problem):
    with pytest.raises(ValueError, match=r"--(map|default)") as refused:
        parse_mapping(fields, defaults)
    assert problem in str(refused.value)
