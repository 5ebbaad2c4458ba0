"""Attribute values in their canonical form."""

import pytest

from schemas.rulesets import BooleanAttribute, CategoryAttribute, NumberAttribute
from udfs.canonical import (
    VALUE_LENGTH_MAX,
    AttributeValueError,
    canonical_number,
    canonical_words,
)

pytestmark = pytest.mark.unit

fuel = canonical_words(CategoryAttribute({"EV ": "Electric", "gasoline": "petrol"}))
sporty = canonical_words(BooleanAttribute())
mileage = canonical_number(NumberAttribute("mi", {"KM": 0.621371}))


@pytest.mark.parametrize("spelling", ["electric", "Electric", "electric ", "\tELECTRIC", "EV"])
def test_spellings_of_one_value_are_one_value(spelling):
    assert fuel(spelling) == ("electric",)
    assert fuel(spelling) == ("electric",), "and again, when it is remembered"


def test_case_folding_goes_beyond_ascii():
    assert fuel("STRASSE") == fuel("straße") == ("strasse",)


def test_a_list_counts_each_distinct_value_once():
    assert fuel(["EV", "diesel", "Electric", " Diesel ", "petrol"]) == (
        "electric",
        "diesel",
        "petrol",
    )


@pytest.mark.parametrize("value", [None, "", "  ", [], ["", " "]])
def test_nothing_is_absent(value):
    assert fuel(value) == ()


@pytest.mark.parametrize(
    ("value", "word"),
    [(5, "5"), (5.0, "5"), (-3, "-3"), (2.5, "2.5"), (0, "0"), (True, "true"), (False, "false")],
)
def test_numbers_and_booleans_are_category_words(value, word):
    assert fuel(value) == (word,)


def test_a_number_and_its_text_are_one_word():
    assert fuel(5) == fuel("5") == fuel(5.0)


def test_a_whole_number_too_large_for_a_float_is_too_long_a_word():
    assert fuel(10**30) == (str(10**30),)
    with pytest.raises(AttributeValueError, match="a word of 401 characters"):
        fuel(10**400)


def test_a_word_may_be_as_long_as_the_bound_and_no_longer():
    assert fuel("x" * VALUE_LENGTH_MAX) == ("x" * VALUE_LENGTH_MAX,)
    assert fuel(" " * 500 + "x") == ("x",)
    with pytest.raises(AttributeValueError, match="a word of 129 characters"):
        fuel("x" * (VALUE_LENGTH_MAX + 1))
    with pytest.raises(AttributeValueError, match="a word of 129 characters"):
        fuel(["diesel", "x" * (VALUE_LENGTH_MAX + 1)])


def test_many_spellings_are_all_read_right_when_the_memory_of_them_is_full():
    words = canonical_words(CategoryAttribute({"a0": "first"}))
    for number in range(10_050):
        expected = "first" if number == 0 else f"a{number}"
        assert words(f"A{number}") == (expected,)
    assert words("A0") == ("first",)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, ("true",)),
        (False, ("false",)),
        ("true", ("true",)),
        (" FALSE ", ("false",)),
        (None, ()),
    ],
)
def test_booleans(value, words):
    assert sporty(value) == words


@pytest.mark.parametrize("value", [0, 1, 1.0, "yes", "", "1", [True], ["true"]])
def test_what_is_no_boolean_is_refused(value):
    with pytest.raises(AttributeValueError, match="is neither true nor false"):
        sporty(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7500, 7500.0),
        (7.5, 7.5),
        (-2, -2.0),
        ("7500", 7500.0),
        ("7,500 mi", 7500.0),
        (" 7,500MI ", 7500.0),
        ("+7500.25 mi", 7500.25),
        ("1,000 km", 621.371),
        ("1000 Km", 621.371),
        (None, None),
    ],
)
def test_quantities_are_read_in_the_attributes_unit(value, number):
    assert mileage(value) == (None if number is None else pytest.approx(number))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("far", "is not a number"),
        ("", "is not a number"),
        ("1.2.3", "is not in the dictionary"),
        ("7,500 leagues", "unit 'leagues' is not in the dictionary (known: km, mi)"),
        (True, "True is not a number"),
        ([7500], "is not a number"),
        ("9" * 400, "the number is too large"),
        (10**400, "the number is too large"),
        ("x" * 500, "..."),
    ],
)
def test_what_is_no_quantity_is_refused(value, problem):
    with pytest.raises(AttributeValueError) as refused:
        mileage(value)
    assert problem in str(refused.value)
    assert len(str(refused.value)) < 120


def test_a_unitless_number_takes_no_unit():
    doors = canonical_number(NumberAttribute())
    assert doors("5") == 5.0
    with pytest.raises(AttributeValueError, match="unit 'doors'"):
        doors("5 doors")


def test_a_number_has_no_words():
    with pytest.raises(TypeError, match="NumberAttribute has no words"):
        canonical_words(NumberAttribute())
