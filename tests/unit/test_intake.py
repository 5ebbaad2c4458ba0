"""From a record's bytes to an event, or to the reason why it is none."""

import json
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.durations import MINUTE_MS
from schemas.events import Event
from schemas.mapping import parse_mapping
from schemas.outputs import RejectReason
from schemas.rulesets import parse_ruleset
from udfs.intake import EARLIEST_EVENT_MS, Intake, NoEvent, count_cells, read_event, time_fault
from udfs.rules import RulePlan

pytestmark = pytest.mark.unit

INTAKE = Intake()
MAPPED = Intake(mapping=parse_mapping("ts=occurred_at,a.b=attributes.fuel_type", ["type=view"]))
NOW_MS = 1_770_000_000_000
GOOD = {
    "event_id": "e1",
    "user_id": "u1",
    "type": "view",
    "occurred_at": NOW_MS,
    "attributes": {"fuel_type": "EV", "price": 9_500, "tags": ["a", "b"], "gone": None},
}
PLAN = RulePlan(parse_ruleset(resources.files("segstream").joinpath("used_cars.json").read_bytes()))


def line(**fields):
    return json.dumps({**GOOD, **fields}).encode()


def without(name):
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def fault_of(payload, intake=INTAKE):
    found = read_event(payload, intake)
    assert isinstance(found, NoEvent), found
    assert found.detail
    assert found.reason in RejectReason.__args__
    return found.reason, found.field


def test_an_event_is_read():
    event = read_event(line(session_id="s1", more="is ignored"), INTAKE)
    assert event == Event(
        event_id="e1",
        user_id="u1",
        type="view",
        occurred_at=NOW_MS,
        session_id="s1",
        attributes=GOOD["attributes"],
    )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b" ", "not_json"),
        (b"\n", "not_json"),
        (b"GET /adverts/7", "not_json"),
        (line()[:-7], "not_json"),
        (line() + b"}", "not_json"),
        (line() + line(), "not_json"),
        (line().replace(b'"e1"', b'"\\ud800"'), "not_json"),
        (line().replace(b"view", b"NaN").replace(b'"NaN"', b"NaN"), "not_json"),
        (b'{"event_id": "\xff"}', "not_utf8"),
        (line().replace(b"view", b"vi\xff\xfew"), "not_utf8"),
        (line()[:-7] + b"\xc3", "not_utf8"),
        (b"\xff\xfe", "not_utf8"),
        (line().decode().encode("utf-16"), "not_utf8"),
        (line(more=[])[:-2] + b"[" * 30_000 + b"]" * 30_001 + b"}", "not_json"),
    ],
)
def test_text_that_is_no_json(payload, reason):
    assert fault_of(payload) == (reason, "")


@pytest.mark.parametrize("value", [[1, 2], "text", 17, 1.5, None, True])
def test_json_that_is_no_object(value):
    assert fault_of(json.dumps(value).encode()) == ("wrong_type", "")


@pytest.mark.parametrize("intake", [INTAKE, MAPPED], ids=["plain", "mapped"])
def test_nesting_as_deep_as_it_likes(intake):
    for payload in (b"[" * 60_000, b'{"a":' * 12_000, b"[" * 30_000 + b"]" * 30_000):
        assert fault_of(payload, intake)[0] in ("not_json", "wrong_type")
    deep = Intake(event_bytes_max=1_000_000, mapping=intake.mapping)
    assert fault_of(b"[" * 100_000, deep)[0] in ("not_json", "wrong_type")
    assert fault_of(b"[" * 100_000, intake) == ("too_large", "")


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(
            b'{"user_id": 5, "schema_version": "\xff"}',
        ),
        b'{"user_id": 5, "schema_version": ' + b"[" * 30_000,
        b'{"user_id": 5, "more": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    ],
    ids=["not UTF-8", "nested deep", "nested deep elsewhere"],
)
def test_two_faults_at_once(payload):
    assert fault_of(payload)[0] in ("not_utf8", "not_json", "wrong_type")


@pytest.mark.parametrize("digits", [20, 310, 4_300, 4_301, 20_000])
@pytest.mark.parametrize(
    "fields",
    [
        {"occurred_at": "HERE"},
        {"schema_version": "HERE"},
        {"session_id": "HERE"},
        {"attributes": {"price": "HERE"}},
    ],
    ids=str,
)
def test_no_number_is_too_long_to_be_judged(fields, digits):
    found = read_event(line(**fields).replace(b'"HERE"', b"9" * digits), INTAKE)
    if isinstance(found, Event):
        found = time_fault(found.occurred_at, NOW_MS, INTAKE) or count_cells(found, PLAN)
    assert isinstance(found, NoEvent) or fields == {"attributes": {"price": "HERE"}}


@pytest.mark.parametrize("name", ["event_id", "user_id", "type", "occurred_at"])
def test_a_missing_field_is_named(name):
    assert fault_of(without(name)) == ("missing_field", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("event_id", "user_id", "type") for value in (17, None, ["x"])),
        *(("occurred_at", value) for value in ("yesterday", "1770000000000", 1.5, None, True)),
        *((name, 5) for name in ("session_id", "item_id", "decision_id", "attributes")),
        ("attributes", None),
        ("attributes", ["fuel_type"]),
    ],
)
def test_a_wrong_type_names_its_field(name, value):
    assert fault_of(line(**{name: value})) == ("wrong_type", name)


@pytest.mark.parametrize("value", [{"nested": True}, [1], ["a", None], [["a"]]])
def test_an_attribute_is_a_plain_value_or_a_list_of_text(value):
    reason, field = fault_of(line(attributes={"fuel_type": value}))
    assert reason == "wrong_type"
    assert field.startswith("attributes")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("event_id", ""),
        ("user_id", ""),
        ("type", ""),
        ("event_id", "e" * 129),
        ("user_id", "u" * 257),
        ("type", "t" * 65),
        ("type", "view\x1fevil"),
        ("type", "vi\new"),
    ],
)
def test_a_value_out_of_bounds_names_its_field(name, value):
    assert fault_of(line(**{name: value})) == ("out_of_bounds", name)


def test_a_type_does_not_end_in_a_control_character():
    assert fault_of(line(type="view\n")) == ("out_of_bounds", "type")


def test_values_at_their_bounds_are_read():
    event = read_event(line(event_id="e" * 128, user_id="ü" * 256, type="t" * 64), INTAKE)
    assert isinstance(event, Event)


@pytest.mark.parametrize("version", [0, 2, 99, -1, "1", None, 1.5, [1], {"a": 1}, 2**70])
def test_a_version_of_another_release_is_refused_as_such(version):
    assert fault_of(line(schema_version=version)) == ("schema_version", "schema_version")


@pytest.mark.parametrize("other", [{"user_id": 17}, {"occurred_at": "now"}, {"type": ""}])
def test_another_versions_record_is_told_by_its_version_whatever_else_is_odd(other):
    assert fault_of(line(schema_version=99, **other)) == ("schema_version", "schema_version")
    assert fault_of(b'{"schema_version": 99}') == ("schema_version", "schema_version")


def test_a_long_version_is_not_repeated_at_length():
    found = read_event(line(schema_version="9" * 10_000), INTAKE)
    assert found.reason == "schema_version"
    assert len(found.detail) < 100


def test_the_largest_record_is_bounded():
    exact = Intake(event_bytes_max=len(line()))
    assert isinstance(read_event(line(), exact), Event)
    assert fault_of(line() + b" ", exact) == ("too_large", "")
    assert fault_of(b"x" * 65_537) == ("too_large", "")


@pytest.mark.parametrize(
    ("occurred_at", "reason"),
    [
        (-1, "time_absurd"),
        (0, "time_absurd"),
        (NOW_MS // 1000, "time_absurd"),
        (EARLIEST_EVENT_MS - 1, "time_absurd"),
        (EARLIEST_EVENT_MS, None),
        (NOW_MS, None),
        (NOW_MS + 5 * MINUTE_MS, None),
        (NOW_MS + 5 * MINUTE_MS + 1, "time_future"),
        (253_402_300_800_000, "time_future"),
        (10**30, "time_future"),
    ],
)
def test_times_that_cannot_be_believed(occurred_at, reason):
    event = read_event(line(occurred_at=occurred_at), INTAKE)
    assert isinstance(event, Event)
    fault = time_fault(event.occurred_at, NOW_MS, INTAKE)
    assert (fault and (fault.reason, fault.field)) == (reason and (reason, "occurred_at"))


def test_the_skew_is_as_set():
    strict = Intake(future_skew_ms=0)
    assert time_fault(NOW_MS, NOW_MS, strict) is None
    assert time_fault(NOW_MS + 1, NOW_MS, strict).reason == "time_future"


def test_the_cells_that_an_event_counts_in():
    event = read_event(line(attributes={"fuel_type": ["EV", "diesel"], "make": " Kia "}), INTAKE)
    assert count_cells(event, PLAN) == [
        "view",
        "view\x1ffuel_type\x1felectric",
        "view\x1ffuel_type\x1fdiesel",
    ], "no rule asks for the make"
    assert count_cells(read_event(line(type="search"), INTAKE), PLAN) == []


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"price": "cheap"}, "attributes.price"),
        ({"mileage": "3 leagues"}, "attributes.mileage"),
        ({"price": True}, "attributes.price"),
        ({"make": "x" * 129}, "attributes.make"),
        ({"fuel_type": ["EV", "x" * 129]}, "attributes.fuel_type"),
    ],
)
@pytest.mark.parametrize("kind", ["view", "search"])
def test_an_attribute_that_the_dictionary_does_not_allow(attributes, field, kind):
    event = read_event(line(type=kind, attributes=attributes), INTAKE)
    fault = count_cells(event, PLAN)
    assert isinstance(fault, NoEvent)
    assert (fault.reason, fault.field) == ("attribute_value", field)


def test_attributes_outside_the_dictionary_are_neither_checked_nor_counted():
    event = read_event(line(attributes={"colour": "x" * 500, "doors": 5}), INTAKE)
    assert count_cells(event, PLAN) == ["view"]


def test_a_mapped_record_is_read_and_its_faults_are_told_alike():
    record = b'{"event_id":"e1","user_id":"u1","ts":1770000000000,"a":{"b":"EV"}}'
    event = read_event(record, MAPPED)
    assert (event.type, event.occurred_at, event.attributes) == (
        "view",
        NOW_MS,
        {"fuel_type": "EV"},
    )
    assert fault_of(record.replace(b"ts", b"at"), MAPPED) == ("missing_field", "occurred_at")
    assert fault_of(record.replace(b'"u1"', b"7"), MAPPED) == ("wrong_type", "user_id")
    assert fault_of(record.replace(b"u1", b"\xff"), MAPPED) == ("not_utf8", "")
    assert fault_of(record[:-1], MAPPED) == ("not_json", "")
    assert fault_of(b"[]", MAPPED) == ("wrong_type", "")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
ODD_RECORDS = st.fixed_dictionaries(
    {},
    optional={
        **{name: JSON_VALUES | st.just(value) for name, value in GOOD.items()},
        **{name: JSON_VALUES for name in ("schema_version", "session_id", "ts", "a", "more")},
    },
)


@pytest.mark.parametrize("intake", [INTAKE, MAPPED], ids=["plain", "mapped"])
@settings(max_examples=250, deadline=None)
@given(payload=st.binary(max_size=80))
def test_no_bytes_make_it_raise(intake, payload):
    assert isinstance(read_event(payload, intake), Event | NoEvent)


@pytest.mark.parametrize("intake", [INTAKE, MAPPED], ids=["plain", "mapped"])
@settings(max_examples=250, deadline=None)
@given(record=ODD_RECORDS | JSON_VALUES)
def test_no_json_makes_it_raise(intake, record):
    found = read_event(json.dumps(record).encode(errors="surrogatepass"), intake)
    if isinstance(found, Event):
        assert isinstance(time_fault(found.occurred_at, NOW_MS, intake), NoEvent | None)
        assert isinstance(count_cells(found, PLAN), list | NoEvent)
    else:
        assert found.reason in RejectReason.__args__


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_no_damage_to_an_event_makes_it_raise(data):
    damaged = bytearray(line(schema_version=1))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read_event(bytes(damaged), INTAKE), Event | NoEvent)
