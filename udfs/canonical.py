"""Attribute values in their canonical form, as the attribute dictionary says."""

import math
import re
from collections.abc import Callable

from schemas.events import AttributeValue
from schemas.rulesets import Attribute, BooleanAttribute, CategoryAttribute

VALUE_LENGTH_MAX = 128

_QUANTITY = re.compile(r"\s*([+-]?[0-9][0-9,]*(?:\.[0-9]+)?)\s*([^\s0-9].*?)?\s*")


class AttributeValueError(ValueError):
    """A value that the attribute dictionary does not allow."""


Canonical = Callable[[AttributeValue], tuple[str, ...]]


def canonical_words(spec: Attribute) -> Canonical:
    """Return the function that turns a category's or a boolean's value into its distinct words.

    Words are trimmed and case-folded, then mapped through the synonyms; a word that is empty
    after trimming counts as absent. The function raises AttributeValueError for a value of
    another type and for a word longer than 128 characters.
    """
    if isinstance(spec, CategoryAttribute):
        folded = {fold(word): fold(canonical) for word, canonical in spec.synonyms.items()}
        return _Category(folded)
    if isinstance(spec, BooleanAttribute):
        return _boolean
    raise TypeError(f"a {type(spec).__name__} has no words")


def canonical_number(spec: Attribute) -> Callable[[AttributeValue], float | None]:
    """Return the function that turns a quantity into a number in the attribute's own unit.

    It takes a JSON number, taken to be in that unit, or text such as `7,500 mi`. None for an
    absent value; AttributeValueError for anything else.
    """
    unit = getattr(spec, "unit", "")
    factors = {fold(name): factor for name, factor in getattr(spec, "units", {}).items()}
    factors[fold(unit)] = 1.0
    factors[""] = 1.0

    def number(value: AttributeValue) -> float | None:
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _finite(value)
        match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise AttributeValueError(f"{_shown(value)} is not a number")
        factor = factors.get(fold(match[2] or ""))
        if factor is None:
            known = ", ".join(sorted(name for name in factors if name))
            raise AttributeValueError(
                f"unit {match[2]!r} is not in the dictionary (known: {known})"
            )
        return _finite(float(match[1].replace(",", "")) * factor)

    return number


def fold(word: str) -> str:
    """Trim and case-fold."""
    return word.strip().casefold()


class _Category:
    """Words of a category. Remembers a bounded number of spellings it has already folded."""

    _spellings_max = 10_000

    def __init__(self, synonyms: dict[str, str]) -> None:
        self._synonyms = synonyms
        self._known: dict[str, tuple[str, ...]] = {}

    def __call__(self, value: AttributeValue) -> tuple[str, ...]:
        if isinstance(value, str):
            found = self._known.get(value)
            return self._words(value) if found is None else found
        if value is None:
            return ()
        if isinstance(value, list):
            return tuple(dict.fromkeys(word for item in value for word in self(item)))
        if isinstance(value, bool):
            return self("true" if value else "false")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return self(str(value))

    def _words(self, spelling: str) -> tuple[str, ...]:
        folded = fold(spelling)
        word = self._synonyms.get(folded, folded)
        if len(word) > VALUE_LENGTH_MAX:
            raise AttributeValueError(
                f"a word of {len(word)} characters (at most {VALUE_LENGTH_MAX})"
            )
        words = (word,) if word else ()
        if len(self._known) >= self._spellings_max:
            self._known.clear()
        self._known[spelling] = words
        return words


def _boolean(value: AttributeValue) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("true",) if value else ("false",)
    if value is None:
        return ()
    if isinstance(value, str) and fold(value) in ("true", "false"):
        return (fold(value),)
    raise AttributeValueError(f"{_shown(value)} is neither true nor false")


def _finite(number: float) -> float:
    try:
        number = float(number)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise AttributeValueError("the number is too large")
    return number


def _shown(value: AttributeValue) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
