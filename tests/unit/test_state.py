"""Layouts that outlive a release: golden bytes that every later one must read the same."""

import json
from pathlib import Path

import msgspec
import pytest

from schemas.changes import Change, decode_change
from schemas.commands import Command, Republish
from schemas.errors import UnknownSchemaVersionError
from schemas.events import Event
from schemas.outputs import LateEvent, Reject
from schemas.segments import decode_user_segments
from schemas.state import Profile, decode_profile, encode_profile
from udfs import windows
from udfs.dedupe import contains, hash_of
from udfs.membership import published_set

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[1] / "golden"


def written_down(name):
    return json.loads((GOLDEN / name).read_text())


def golden_profile():
    """The profile as written down, by field names; its layout has places instead."""
    return msgspec.convert(list(written_down("state-v1.json")["profile"].values()), Profile)


def test_the_written_down_profile_has_the_fields_of_a_profile():
    assert tuple(written_down("state-v1.json")["profile"]) == Profile.__struct_fields__


def test_golden_state_is_read_as_it_was_written():
    assert decode_profile((GOLDEN / "state-v1.bin").read_bytes()) == golden_profile()


def test_state_is_written_as_the_golden_bytes():
    assert encode_profile(golden_profile()) == (GOLDEN / "state-v1.bin").read_bytes()


def test_golden_state_means_what_is_written_beside_it():
    meaning = written_down("state-v1.json")["meaning"]
    profile = decode_profile((GOLDEN / "state-v1.bin").read_bytes())
    named = {
        str(pane): {
            profile.cells[cell].replace("\x1f", "|"): count
            for cell, count in zip(counts[::2], counts[1::2], strict=True)
        }
        for pane, *counts in windows.panes(profile)
    }
    assert named == meaning["panes"]
    assert [contains(profile.seen, hash_of(name)) for name in meaning["seen"]] == [True, True]
    assert not contains(profile.seen, hash_of("another"))
    assert (
        windows.next_boundary(profile, windows.Window(3_600_000, 240)) == meaning["next_boundary"]
    )


@pytest.mark.parametrize("layout", [b"", b"\x00", b"\x02", b"\xff"])
def test_an_unknown_layout_is_refused(layout):
    golden = (GOLDEN / "state-v1.bin").read_bytes()
    with pytest.raises(UnknownSchemaVersionError, match="not readable here"):
        decode_profile(layout + golden[1:] if layout else b"")


def test_damaged_state_is_told():
    with pytest.raises(msgspec.DecodeError):
        decode_profile((GOLDEN / "state-v1.bin").read_bytes()[:-5])


def test_state_of_an_earlier_release_may_lack_the_newest_fields():
    profile = decode_profile(b"\x01" + msgspec.msgpack.encode([1_700_000_000_000, 4]))
    assert profile == Profile(1_700_000_000_000, version=4)


def test_a_command_as_written_by_version_1():
    line = (
        b'{"command":"republish","command_id":"c1","user_id":"u1","issued_at":1770000000000,'
        b'"schema_version":1}'
    )
    command = msgspec.json.decode(line, type=Command)
    assert command == Republish(command_id="c1", user_id="u1", issued_at=1_770_000_000_000)
    assert msgspec.json.encode(command) == line


def test_a_change_as_written_by_version_1():
    line = (
        b'{"user_id":"u1","segment":"fuel_type=electric","change":"leave","at":1770000000000,'
        b'"score":0.375,"matching":3,"views":8,"ruleset_version":2,"version":4,"schema_version":1}'
    )
    expected = Change(
        user_id="u1",
        segment="fuel_type=electric",
        change="leave",
        at=1_770_000_000_000,
        score=0.375,
        matching=3,
        views=8,
        ruleset_version=2,
        version=4,
    )
    assert decode_change(line) == expected
    assert msgspec.json.encode(expected) == line


def test_a_stored_set_as_written_by_version_1():
    document = (
        b'{"user_id":"u1","version":4,"ruleset_version":2,"as_of":1770000000000,"segments":['
        b'{"segment":"body_type=suv","score":0.75,"since":1769990000000,'
        b'"valid_until":1770800400000,"matching":6,"views":8}],"schema_version":1}'
    )
    stored = decode_user_segments(document)
    assert (stored.user_id, stored.version, stored.ruleset_version) == ("u1", 4, 2)
    assert stored.segments[0].valid_until == 1_770_800_400_000
    assert msgspec.json.encode(stored) == document


def test_an_event_as_written_by_version_1():
    line = (
        b'{"event_id":"e1","user_id":"u1","type":"view","occurred_at":1770000000000,'
        b'"session_id":"s1","item_id":"a7","decision_id":null,"schema_version":1,'
        b'"attributes":{"fuel_type":"EV","price":9500,"used":true,"tags":["a","b"]}}'
    )
    event = msgspec.json.decode(line, type=Event)
    assert event.attributes == {"fuel_type": "EV", "price": 9500, "used": True, "tags": ["a", "b"]}
    assert msgspec.json.encode(event) == line


def test_a_reject_and_a_late_event_as_written_by_version_1():
    line = (
        b'{"reason":"missing_field","detail":"Object missing required field `user_id`",'
        b'"partition":0,"offset":17,"payload_bytes":2,"payload_base64":"e30=","field":"user_id",'
        b'"topic":"view-events","schema_version":1}'
    )
    assert msgspec.json.encode(msgspec.json.decode(line, type=Reject)) == line
    line = (
        b'{"reason":"before_window","clock":1770000000000,"window_start":1769133600000,'
        b'"partition":0,"offset":3,"event":{"event_id":"e1","user_id":"u1","type":"view",'
        b'"occurred_at":1760000000000,"session_id":null,"item_id":null,"decision_id":null,'
        b'"schema_version":1,"attributes":{}},"schema_version":1}'
    )
    assert msgspec.json.encode(msgspec.json.decode(line, type=LateEvent)) == line


@pytest.mark.parametrize("version", [0, 2, 99])
def test_messages_of_an_unknown_version_are_refused(version):
    marked = b'"schema_version":%d' % version
    pending = golden_profile().outbox.changes[0]
    change = msgspec.json.encode(pending)
    stored = msgspec.json.encode(published_set("u1", golden_profile()))
    with pytest.raises(UnknownSchemaVersionError, match=f"change: schema version {version}"):
        decode_change(change.replace(b'"schema_version":1', marked))
    with pytest.raises(UnknownSchemaVersionError, match=f"stored set: schema version {version}"):
        decode_user_segments(stored.replace(b'"schema_version":1', marked))
    assert decode_change(change) == pending
