"""`--until` lets event time go on after the last event: members leave at their boundary."""

import json

import pytest

from tests.e2e.comparison import run_log

pytestmark = pytest.mark.e2e

HOUR_MS = 3_600_000
START_MS = 491_000 * HOUR_MS
RULESET = {
    "version": 4,
    "window": "10h",
    "pane": "1h",
    "attributes": {"fuel": {"type": "category"}},
    "rules": [
        {
            "id": "fuel",
            "kind": "share",
            "for_each": "fuel",
            "event_types": ["view"],
            "enter": 0.5,
            "leave": 0.5,
            "min_views": 2,
        }
    ],
}


@pytest.mark.parametrize(
    ("until_hours", "expected"),
    [
        (9.9, [("enter", 1_000)]),
        (10, [("enter", 1_000), ("leave", 10 * HOUR_MS)]),
    ],
)
def test_members_leave_at_the_boundary_and_not_before(tmp_path, until_hours, expected):
    log = tmp_path / "events.jsonl"
    events = [
        {
            "event_id": f"e{n}",
            "user_id": "u1",
            "type": "view",
            "occurred_at": START_MS + n * 1_000,
            "attributes": {"fuel": "electric"},
        }
        for n in range(2)
    ]
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    until_ms = START_MS + int(until_hours * HOUR_MS)
    result = run_log(tmp_path, log, RULESET, "--dedupe", "10h", "--until", str(until_ms))
    changes = result.lines("changes.jsonl")
    assert [(c["change"], c["at"] - START_MS) for c in changes] == expected
    assert all(c["ruleset_version"] == 4 for c in changes)
    held = [s["segment"] for s in result.stored()["u1"]["segments"]]
    assert held == (["fuel=electric"] if len(expected) == 1 else [])
