"""Rule sets: read whole, or refused with every fault by its path."""

import copy
import json
from importlib import resources

import pytest

from schemas.durations import DAY_MS, HOUR_MS
from schemas.errors import InvalidDocumentError
from schemas.rulesets import (
    CategoryAttribute,
    NumberAttribute,
    ShareRule,
    pane_ms,
    panes_in_window,
    parse_ruleset,
)

pytestmark = pytest.mark.unit

SAMPLE = json.loads(resources.files("segstream").joinpath("used_cars.json").read_text())
RULE = SAMPLE["rules"][0]


def faults_of(document):
    """Path -> problem of every fault found; no path may be told twice."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InvalidDocumentError) as refused:
        parse_ruleset(text)
    faults = {fault.path: fault.problem for fault in refused.value.faults}
    assert len(faults) == len(refused.value.faults), refused.value.faults
    assert all(str(fault) in str(refused.value) for fault in refused.value.faults)
    return faults


def sample(**fields):
    return {**copy.deepcopy(SAMPLE), **fields}


def with_attribute(name, spec):
    return sample(attributes={**SAMPLE["attributes"], name: spec})


def with_rule(**fields):
    return sample(rules=[{**RULE, **fields}])


def test_the_sample_is_read():
    ruleset = parse_ruleset(json.dumps(SAMPLE).encode())
    assert (ruleset.version, ruleset.schema_version) == (1, 1)
    assert pane_ms(ruleset) == HOUR_MS
    assert panes_in_window(ruleset) * HOUR_MS == 10 * DAY_MS
    assert ruleset.attributes["fuel_type"] == CategoryAttribute(
        {"ev": "electric", "gasoline": "petrol"}
    )
    assert ruleset.attributes["mileage"] == NumberAttribute("mi", {"km": 0.621371})
    assert ruleset.rules[0] == ShareRule("fuel_type", "fuel_type", ("view",), 0.5, 0.4, 5)
    assert [rule.id for rule in ruleset.rules] == ["fuel_type", "body_type"]


def test_every_fault_is_told_at_once():
    document = {
        "version": 0,
        "window": "10 days",
        "pane": 3600,
        "colour": "red",
        "attributes": {
            "fuel_type": {"type": "category", "synonyms": {"ev": "electric", "bev": "EV"}},
            "price": {"type": "number", "units": {"eur": -1}},
            "mood": {"type": "feeling"},
            "worship": {"type": "category", "class": "religion"},
            "health": {"type": "boolean"},
            "Body": {"type": "category"},
            "make": {"type": "category", "unit": "mi"},
        },
        "rules": [
            {**RULE, "for_each": "fuel"},
            {**RULE, "for_each": "price"},
            {**RULE, "id": "r3", "enter": 0.3, "leave": 0.5},
            {**RULE, "id": "r4", "enter": 1.5, "min_views": 0, "event_types": []},
            {"id": "r5", "kind": "total", "why": 1},
            "a rule",
        ],
    }
    assert set(faults_of(document)) == {
        "$.version",
        "$.window",
        "$.pane",
        "$.colour",
        "$.attributes.fuel_type.synonyms.bev",
        "$.attributes.price.units.eur",
        "$.attributes.mood.type",
        "$.attributes.worship",
        "$.attributes.health",
        "$.attributes.Body",
        "$.attributes.make.unit",
        "$.rules[0].for_each",
        "$.rules[1].for_each",
        "$.rules[1].id",
        "$.rules[2].leave",
        "$.rules[3].enter",
        "$.rules[3].min_views",
        "$.rules[3].event_types",
        "$.rules[4].kind",
        "$.rules[4].for_each",
        "$.rules[4].event_types",
        "$.rules[4].enter",
        "$.rules[4].leave",
        "$.rules[4].min_views",
        "$.rules[4].why",
        "$.rules[5]",
    }


@pytest.mark.parametrize(
    ("document", "path", "problem"),
    [
        (sample(window="ten days"), "$.window", "'ten days' is not a duration"),
        (sample(pane="0h"), "$.pane", "'0h' is not a duration"),
        (sample(pane="7h"), "$.pane", "7h does not divide the window of 10d"),
        (sample(pane="11d"), "$.pane", "11d does not divide"),
        (sample(pane="1s"), "$.pane", "more than 10000 panes"),
        (sample(window=10), "$.window", "Expected `str`, got `int`"),
        (sample(version="1"), "$.version", "Expected `int`, got `str`"),
        (sample(rules=[]), "$.rules", "length >= 1"),
        (sample(rules={}), "$.rules", "Expected `array`, got `object`"),
        (with_rule(for_each="colour"), "$.rules[0].for_each", "not in the attribute dictionary"),
        (with_rule(for_each="price"), "$.rules[0].for_each", "'price' is a number"),
        (with_rule(leave=0.6), "$.rules[0].leave", "0.6 is above enter (0.5)"),
        (with_rule(leave=0), "$.rules[0].leave", "> 0"),
        (with_rule(min_views=2.5), "$.rules[0].min_views", "Expected `int`, got `float`"),
        (with_rule(event_types=["view", 1]), "$.rules[0].event_types[1]", "Expected `str`"),
        (with_rule(event_types=["a", "a"]), "$.rules[0].event_types", "named twice"),
        (with_rule(id="Fuel"), "$.rules[0].id", "matching regex"),
        (with_rule(kind="count"), "$.rules[0].kind", "'count' is not 'share'"),
        (with_rule(note="x"), "$.rules[0].note", "is not known here"),
        (sample(rules=[RULE, RULE]), "$.rules[1].id", "'fuel_type' is used by an earlier rule"),
        (sample(schema_version=2), "$.schema_version", "2 is not readable here"),
        (sample(schema_version="1"), "$.schema_version", "'1' is not readable here"),
        (with_attribute("a", {}), "$.attributes.a.type", "None is not one of: boolean"),
        (with_attribute("a", "category"), "$.attributes.a", "got `str`"),
    ],
)
def test_one_fault_is_told_by_its_path(document, path, problem):
    faults = faults_of(document)
    assert list(faults) == [path]
    assert problem in faults[path]


def test_attributes_that_are_no_object_are_told():
    assert faults_of(sample(attributes=[]))["$.attributes"] == "Expected `object`, got `array`"


def test_an_unknown_schema_version_is_the_only_fault_told():
    document = sample(schema_version=99, window=None, rules="as of schema version 99")
    assert list(faults_of(document)) == ["$.schema_version"]


@pytest.mark.parametrize("name", list(SAMPLE))
def test_a_missing_part_is_told(name):
    document = sample()
    del document[name]
    # Without its attributes, no rule's attribute is in the dictionary either.
    assert faults_of(document)[f"$.{name}"] == "is missing"


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("condition", {"type": "category", "class": "health"}),
        ("faith", {"type": "category", "class": "religion"}),
        ("union", {"type": "boolean", "class": "trade_union"}),
        ("dose", {"type": "number", "class": "health"}),
        ("health", {"type": "category"}),
        ("religion", {"type": "category", "class": "general"}),
    ],
)
def test_special_categories_of_personal_data_are_refused(name, spec):
    faults = faults_of(with_attribute(name, spec))
    assert list(faults) == [f"$.attributes.{name}"]
    assert "is forbidden" in faults[f"$.attributes.{name}"]


def test_a_forbidden_class_is_refused_however_it_is_spelled():
    assert faults_of(with_attribute("condition", {"type": "category", "class": " Health"}))


def test_a_synonym_of_a_synonym_is_refused():
    spec = {"type": "category", "synonyms": {"bev": "ev", "EV": "electric"}}
    faults = faults_of(with_attribute("motor", spec))
    assert list(faults) == ["$.attributes.motor.synonyms.bev"]
    assert "is itself a synonym" in faults["$.attributes.motor.synonyms.bev"]


def test_a_word_may_be_its_own_synonym():
    spec = {"type": "category", "synonyms": {"Ev": "ev"}}
    assert "motor" in parse_ruleset(json.dumps(with_attribute("motor", spec)).encode()).attributes


def test_two_spellings_of_one_synonym_are_refused():
    spec = {"type": "category", "synonyms": {"ev": "electric", "EV ": "hybrid"}}
    assert list(faults_of(with_attribute("motor", spec))) == ["$.attributes.motor.synonyms"]


@pytest.mark.parametrize("text", [b"", b"{", b"version: 1", b'{"version": 1,}'])
def test_what_is_not_json_is_refused(text):
    assert "not JSON" in faults_of(text)["$"]


@pytest.mark.parametrize("text", [b"[]", b"null", b"1", b'"rules"'])
def test_what_is_no_object_is_refused(text):
    assert "Expected `object`" in faults_of(text)["$"]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (b'{"version": "\xff"}', "$"),
        (b"[" * 100_000, "$"),
        (with_attribute("a", {"type": ["category"]}), "$.attributes.a.type"),
        (with_attribute("a", {"type": "category", "class": []}), "$.attributes.a.class"),
        (sample(rules=[{**RULE, "id": f"r{n}"} for n in range(1001)]), "$.rules"),
        (with_rule(event_types=[f"t{n}" for n in range(33)]), "$.rules[0].event_types"),
    ],
    ids=["not UTF-8", "nested deep", "type a list", "class a list", "1001 rules", "33 types"],
)
def test_other_faulty_documents_are_refused_in_the_same_way(document, path):
    assert list(faults_of(document)) == [path]
