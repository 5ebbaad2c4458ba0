"""The uids of the job on a cluster: state finds its operator by them, so they stay as they are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import operators

pytestmark = pytest.mark.flink

GOLDEN_UIDS = Path(__file__).parents[1] / "golden" / "cluster-uids.txt"


@pytest.fixture(scope="module")
def plans():
    done = subprocess.run(
        [sys.executable, "-m", "tests.flink.cluster_plan"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("written", ["usual", "another order", "another query"])
def test_the_uids_do_not_depend_on_how_the_job_is_written_down(plans, written):
    assert plans[written] == GOLDEN_UIDS.read_text().splitlines()


def test_a_replay_has_one_operator_more(plans):
    assert plans["replay"] == sorted([*plans["usual"], operators.CLOCK_AT_REST])
