"""Durations as people write them."""

import pytest

from schemas.durations import parse_duration

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1s", 1_000),
        ("30s", 30_000),
        ("15m", 900_000),
        ("1h", 3_600_000),
        ("10d", 864_000_000),
        ("999999999d", 999_999_999 * 86_400_000),
    ],
)
def test_a_number_and_a_unit_are_read(text, milliseconds):
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "10", "d", "0s", "01h", "-1h", "+1h", "1.5h", "1e3s", "10D", "10w", "10ms", "1h30m"),
        *("10 d", " 10d", "10d ", "10d\n", "１０d", "٣h", "1000000000s"),
    ],
)
def test_anything_else_is_refused_and_quoted(text):
    with pytest.raises(ValueError, match="is not a duration") as refused:
        parse_duration(text)
    assert repr(text) in str(refused.value)
