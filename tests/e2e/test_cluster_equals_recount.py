"""A log through real servers, every user read over HTTP, against the naive recount."""

import json
import time
from importlib import resources

import pytest

from tests.e2e.cluster import REPLAY, command
from tests.e2e.cluster_log import Part, closing, expected
from tests.e2e.cluster_results import await_sets, differences, results, settle
from tests.e2e.test_equals_recount import CLICKS, CLOTHING

pytestmark = pytest.mark.e2e

USED_CARS = json.loads(resources.files("segstream").joinpath("used_cars.json").read_bytes())


def hold_to_recount(cluster, ruleset, log):
    """Run a log through the cluster; what it came to."""
    now_ms = int(time.time() * 1000)
    last, end_ms = closing(cluster.folder, [log], now_ms)
    job_id = cluster.submit(ruleset, *REPLAY)
    for part in (log, last):
        cluster.produce(part)
    wanted = expected(ruleset, (log, last), end_ms, now_ms)
    settle(cluster, job_id, end_ms)
    await_sets(cluster, wanted.sets)
    assert differences(results(cluster, wanted.sets), wanted) == {}
    return wanted


def test_generated_log(cluster):
    log = cluster.folder / "log.jsonl"
    command("generate", "--out", log, "--events", 40_000, "--users", 2_000, "--days", 30)
    wanted = hold_to_recount(cluster, USED_CARS, Part(log))
    assert sum(wanted.changes.values()) > 1_000
    assert (wanted.rejected, wanted.late) == (400, 80)


@pytest.mark.full
def test_generated_month_of_half_a_million_lines(cluster):
    log = cluster.folder / "log.jsonl"
    command("generate", "--out", log, "--events", 500_000, "--users", 20_000, "--days", 30)
    wanted = hold_to_recount(cluster, USED_CARS, Part(log))
    assert sum(wanted.changes.values()) > 10_000
    assert (wanted.rejected, wanted.late) == (5_000, 1_000)


@pytest.mark.full
@pytest.mark.skipif(not CLICKS.exists(), reason=f"the real click log is not at {CLICKS}")
def test_real_clicks(cluster):
    mapping = ("--map", "ts=occurred_at,advert_id=item_id", "--default", "type=view")
    rename = {"ts": "occurred_at", "advert_id": "item_id"}
    wanted = hold_to_recount(cluster, CLOTHING, Part(CLICKS, mapping, rename))
    assert len(wanted.sets) > 24_000
    assert (wanted.rejected, wanted.late) == (0, 0)
