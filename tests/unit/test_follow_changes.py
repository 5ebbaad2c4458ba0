"""Changes as they are read from the topic and shown."""

import msgspec
import pytest

from jobs.follow_changes import Unreadable, Wanted, line_of, read_change
from jobs.read_topic import Record
from tests.unit.builders import change

pytestmark = pytest.mark.unit


def record(value):
    return Record(partition=2, offset=145, timestamp_ms=0, key=b"u1", value=value)


def test_a_change_is_read_as_it_was_written():
    assert read_change(record(msgspec.json.encode(change()))) == change()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "has no value"),
        (b"GET /", "is no change: JSON is malformed"),
        (b"{}", "is no change: Object missing required field"),
        (b'{"user_id":"\xff"}', "is no change: 'utf-8' codec can't decode"),
        (b"[" * 50_000, "is no change: "),
        (b'{"user_id":' * 20_000, "is no change: "),
        (msgspec.json.encode(msgspec.structs.replace(change(), schema_version=9)), "version 9"),
    ],
)
def test_what_is_no_change_is_named_by_its_place(value, problem):
    found = read_change(record(value))
    assert isinstance(found, Unreadable)
    assert str(found).startswith("segment-changes partition 2 offset 145: ")
    assert problem in str(found)


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        (Wanted(), True),
        (Wanted(user_id="u1"), True),
        (Wanted(user_id="u"), False),
        (Wanted(segment="fuel_type=electric"), True),
        (Wanted(segment="fuel_type"), False),
        (Wanted("u1", "fuel_type=electric"), True),
        (Wanted("u2", "fuel_type=electric"), False),
    ],
)
def test_only_what_is_wanted_is_shown(wanted, has):
    assert wanted.has(change()) is has


def test_a_change_on_one_line():
    assert line_of(change(kind="leave", version=4)) == (
        "2026-02-02 02:40:00 UTC  leave  u1  fuel_type=electric  0.625 (5 of 8)  rules 1  change 4"
    )
