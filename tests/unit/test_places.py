"""Where a record was read, in one number."""

import pytest

from schemas.places import COMMANDS_FROM, OFFSET_BITS, Place, place_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("partition", "offset"), [(0, 0), (0, 17), (3, 0), (1_000, 2**OFFSET_BITS - 1)]
)
def test_a_place_is_read_back(partition, offset):
    number = partition * 2**OFFSET_BITS + offset
    assert place_of(number) == Place("view-events", partition, offset)
    assert place_of(COMMANDS_FROM + number) == Place("user-commands", partition, offset)


def test_the_largest_place_is_a_64_bit_number():
    assert COMMANDS_FROM + (2**17 - 1) * 2**OFFSET_BITS + 2**OFFSET_BITS - 1 < 2**63
