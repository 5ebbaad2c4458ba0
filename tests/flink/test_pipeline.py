"""The pipeline in a mini cluster, in every way the embedded run may take."""

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from jobs import operators
from jobs.generate import Shares, generate_log
from jobs.survey import survey_log
from udfs.intake import Intake

pytestmark = pytest.mark.flink

RULESET = json.loads(resources.files("segstream").joinpath("used_cars.json").read_bytes())
GOLDEN_UIDS = Path(__file__).parents[1] / "golden" / "operator-uids.txt"
START_MS = 1_767_571_200_000
NOW_MS = START_MS + 400 * 86_400_000


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    generate_log(path, 3_000, 150, 20, START_MS, 5, Shares(0.05, 0.05, 0.01, 0.03))
    return path


@pytest.fixture(scope="module")
def run(log, tmp_path_factory):
    end_ms = survey_log(log, Intake(), NOW_MS).last_ms

    def variant(**options):
        folder = tmp_path_factory.mktemp("run")
        options = {
            "folder": str(folder),
            "log": str(log),
            "ruleset": RULESET,
            "end_ms": end_ms,
            "now_ms": NOW_MS,
            **options,
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.flink.run_variant", json.dumps(options)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return variant


@pytest.fixture(scope="module")
def usual(run):
    return run()


def test_every_operator_has_its_uid(run):
    uids = run(plan_only=True)["uids"]
    golden = GOLDEN_UIDS.read_text().splitlines()
    assert uids == golden
    # What the embedded run does not have, the cluster does: tests/flink/test_cluster_uids.py. Its
    # graph there goes by the wall clock, so that one operator is in neither.
    cluster = GOLDEN_UIDS.with_name("cluster-uids.txt").read_text().splitlines()
    found = {uid.split("/")[0] for uid in [*golden, *cluster]}
    assert set(operators.ALL) - found == {operators.CLOCK_AT_REST}


@pytest.mark.parametrize(
    "options", [{"plain_keying": True}, {"mode": "process"}], ids=["python keys", "process mode"]
)
def test_results_do_not_depend_on_the_way(run, usual, options):
    other = run(**options)
    assert len(usual["changes"]) > 100
    assert other["changes"] == usual["changes"]
    assert other["rejects"] == usual["rejects"]
    assert _outcomes(other) == _outcomes(usual)


def test_a_store_that_fails_fails_the_run(run):
    assert "the disk is full" in run(broken_store=True)["failed"]


def test_a_bad_or_unfit_rule_set_is_a_reject_and_stops_nothing(run, usual):
    unfit = {**RULESET, "version": 2, "pane": "1d"}
    stream = [json.dumps(RULESET), "{not a rule set", json.dumps(unfit)]
    result = run(ruleset_stream=stream)
    rejects = [json.loads(line) for line in result["rejects"]]
    found = sorted(r["detail"].split(":")[0] for r in rejects if r["reason"] == "ruleset")
    assert found == ["rule set has 1 fault(s)", "version 2"]
    assert result["changes"] == usual["changes"]


def _outcomes(result):
    """The totals but for the number of writes: boundaries discovered together share one."""
    totals = [json.loads(line) for line in result["totals"]]
    return [{name: n for name, n in one.items() if name != "publications"} for one in totals]
