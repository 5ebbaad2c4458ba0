"""Where a record was read: topic, partition and offset in one whole number of 64 bits.

One column crosses from the JVM into Python more cheaply than three.
"""

from typing import NamedTuple

from schemas.topics import USER_COMMANDS, VIEW_EVENTS

OFFSET_BITS = 44
COMMANDS_FROM = 1 << 62


class Place(NamedTuple):
    """A record's topic, partition and offset."""

    topic: str
    partition: int
    offset: int


def place_of(number: int) -> Place:
    """The place that a number stands for.

    The offset is in the lowest 44 bits, the partition above it; from 2^62 on the topic is
    user-commands.
    """
    topic = USER_COMMANDS if number >= COMMANDS_FROM else VIEW_EVENTS
    number %= COMMANDS_FROM
    return Place(topic, number >> OFFSET_BITS, number % (1 << OFFSET_BITS))
