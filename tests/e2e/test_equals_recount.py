"""Whole runs of the command line, in a mini cluster, against the naive recount."""

import json
import time
from importlib import resources
from pathlib import Path

import pytest

from tests.e2e.comparison import differences, nothing, run_log, segstream

pytestmark = pytest.mark.e2e

CLICKS = Path(__file__).parents[3] / "shared" / "data" / "eshop_clothing_2008.jsonl.gz"
CLOTHING = {
    "version": 1,
    "window": "10d",
    "pane": "1h",
    "attributes": {
        "category": {"type": "category"},
        "colour": {"type": "category"},
        "price_band": {"type": "category"},
        "above_category_avg": {"type": "boolean"},
        "price": {"type": "number", "unit": "usd"},
    },
    "rules": [
        {
            "id": name,
            "kind": "share",
            "for_each": name,
            "event_types": ["view"],
            "enter": enter,
            "leave": leave,
            "min_views": 3,
        }
        for name, enter, leave in (
            ("category", 0.5, 0.4),
            ("colour", 0.4, 0.3),
            ("above_category_avg", 0.7, 0.6),
        )
    ],
}


@pytest.mark.skipif(not CLICKS.exists(), reason=f"the real click log is not at {CLICKS}")
def test_real_clicks(tmp_path):
    now_ms = int(time.time() * 1000)
    result = run_log(
        *(tmp_path, CLICKS, CLOTHING),
        *("--map", "ts=occurred_at,advert_id=item_id", "--default", "type=view"),
    )
    rename = {"ts": "occurred_at", "advert_id": "item_id"}
    found = differences(result, CLICKS, CLOTHING, now_ms, rename)
    assert nothing(found), found
    assert "165,474 read = 165,474 accepted" in " ".join(result.output.split())


def test_generated_month_of_half_a_million_lines(tmp_path):
    log = tmp_path / "month.jsonl.gz"
    said = segstream(
        *("generate", "--out", log, "--events", 500_000, "--users", 20_000, "--days", 30),
        *("--duplicates", 0.05, "--disorder", 0.05, "--late", 0.002, "--malformed", 0.01),
    )
    assert "25,000 duplicates, 1,000 late, 5,000 malformed" in " ".join(said.split())
    ruleset = json.loads(resources.files("segstream").joinpath("used_cars.json").read_bytes())
    now_ms = int(time.time() * 1000)
    result = run_log(tmp_path, log, ruleset)
    found = differences(result, log, ruleset, now_ms)
    assert nothing(found), found
    assert len(result.lines("changes.jsonl")) > 10_000
    assert len(result.lines("late.jsonl")) == 1_000
    assert len(result.lines("rejects.jsonl")) == 5_000
