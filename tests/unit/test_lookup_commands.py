"""Serving's commands: what they say, and what they say of a store that cannot be asked."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from serving.commands import app
from tests.unit.builders import START, publication, user_segments
from tests.unit.lookups import fill_store, get

pytestmark = pytest.mark.unit

NOBODY = "cassandra://127.0.0.1:1/segstream"
QUESTIONS = [["lookup", "u1"], ["explain", "u1", "fuel_type=electric"], ["sizes"]]


@pytest.fixture
def store(tmp_path):
    fill_store(tmp_path / "s.db", publication(), as_of=START + 500)
    return tmp_path / "s.db"


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_lookup_prints_what_the_api_answers(store):
    done = call("lookup", "u1", "--store", f"sqlite:///{store}")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == get(store, "/v1/users/u1/segments")[0].json()


def test_explain_and_sizes_read_the_same_store(store):
    explained = call("explain", "u1", "fuel_type=electric", "--store", f"sqlite:///{store}")
    assert explained.stdout.startswith("u1 is in fuel_type=electric as of 2026-02-02")
    sizes = call("sizes", "--store", f"sqlite:///{store}", "--json")
    assert json.loads(sizes.stdout) == {user_segments().segments[0].segment: 1}


@pytest.mark.parametrize("question", [*QUESTIONS, ["serve"]], ids=lambda question: question[0])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://localhost", "write sqlite:///PATH or cassandra://HOST"),
        ("cassandra://localhost", "write sqlite:///PATH or cassandra://HOST"),
        ("sqlite:///nowhere/s.db", "there is no such file"),
    ],
)
def test_a_store_that_is_none_is_refused(question, url, said):
    done = call(*question, "--store", url)
    assert done.exit_code == 1
    assert f"error: --store {url}: " in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question[0])
def test_a_cluster_that_does_not_answer_is_told(question):
    done = call(*question, "--store", NOBODY)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {NOBODY}: no node of data centre datacenter1 answers")
    assert "refused" in done.stderr


def test_a_duration_that_is_none_is_refused(store):
    done = call("serve", "--store", f"sqlite:///{store}", "--job-dead-after", "ten")
    assert done.exit_code == 1
    assert "error: --job-dead-after: 'ten' is not a duration" in done.stderr


def test_the_embedded_store_needs_no_driver(store):
    code = "import sys; sys.modules['cassandra'] = None; from serving.commands import app; app()"
    command = [sys.executable, "-c", code, "lookup", "u1", "--store", f"sqlite:///{store}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["version"] == 1, done.stderr
    command = [sys.executable, "-c", code, "lookup", "u1", "--store", NOBODY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'segstream[serving]'" in done.stderr
