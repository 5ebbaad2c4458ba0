"""From a command's bytes to a command, or to the reason why it is none."""

import json

import pytest

from schemas.commands import Republish
from udfs.intake import Intake, NoEvent, read_command

pytestmark = pytest.mark.unit

GOOD = {"command": "republish", "command_id": "c1", "user_id": "u1", "issued_at": 1}


def read(**fields):
    return read_command(json.dumps({**GOOD, **fields}).encode(), Intake())


def test_a_command_is_read():
    assert read() == Republish(command_id="c1", user_id="u1", issued_at=1)


@pytest.mark.parametrize(
    ("payload", "reason", "field"),
    [
        (b"", "not_json", ""),
        (b"{", "not_json", ""),
        (b"\xff\xfe", "not_utf8", ""),
        (b"[" * 100_000, "too_large", ""),
        (b"[" * 60_000, "wrong_type", ""),
        (b"[]", "wrong_type", ""),
        (b"{}", "missing_field", "command_id"),
        (json.dumps({**GOOD, "command": "forget"}).encode(), "wrong_type", "command"),
        (json.dumps({**GOOD, "user_id": ""}).encode(), "out_of_bounds", "user_id"),
        (json.dumps({**GOOD, "issued_at": "now"}).encode(), "wrong_type", "issued_at"),
        (json.dumps({**GOOD, "schema_version": 9}).encode(), "schema_version", "schema_version"),
    ],
)
def test_what_is_no_command_says_why(payload, reason, field):
    fault = read_command(payload, Intake())
    assert isinstance(fault, NoEvent)
    assert (fault.reason, fault.field) == (reason, field), fault


def test_a_command_that_lacks_its_user_is_told_by_field():
    fault = read_command(json.dumps({"command": "republish"}).encode(), Intake())
    assert fault.reason == "missing_field"
    assert fault.field in ("command_id", "user_id")
