"""Submitting the job to a Flink cluster: `flink run` with the wheel and the pinned jar."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from jobs.config import JobConfig
from jobs.minicluster import cause_of
from jobs.wheel import CHECKOUT, unpack

JOB_MODULE = "jobs.cluster"
CONNECTOR = "flink-sql-connector-kafka-*.jar"
SUBMIT_S_MAX = 180
REST_S_MAX = 5
RUNNING_S_MAX = 120
POLL_S = 0.25

_JOB_ID = re.compile(r"JobID ([0-9a-f]{32})")


class SubmitError(RuntimeError):
    """The job was not submitted; the message says why and what to do."""


class Submission(NamedTuple):
    """What is submitted where. `python` is the interpreter on the TaskManagers."""

    flink: str
    config: JobConfig
    wheel: Path
    connector: Path
    python: str = sys.executable
    savepoint: str | None = None


def submit(submission: Submission) -> str:
    """Hand the job to the cluster; its id. It may still be starting.

    Raises:
        SubmitError: the cluster has no room or did not take it.
    """
    _check_room(submission)
    with tempfile.TemporaryDirectory(prefix="segstream-submit-") as folder:
        code, release = unpack(submission.wheel, Path(folder))
        done = subprocess.run(
            _command(submission, code, release),
            env={
                **os.environ,
                "FLINK_LOG_DIR": folder,
                "TMPDIR": folder,
                "JVM_ARGS": f"{os.environ.get('JVM_ARGS', '')} -Djava.io.tmpdir={folder}",
            },
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SUBMIT_S_MAX,
            check=False,
        )
    found = _JOB_ID.search(done.stdout)
    if done.returncode or found is None:
        raise SubmitError(f"flink run failed:\n{_reason(done.stdout + done.stderr)}")
    return found[1]


def await_running(flink: str, job_id: str) -> None:
    """Wait until every subtask of a job runs.

    Raises:
        SubmitError: it failed or was restarted, with the cause, or does not run in time.
    """
    until = time.monotonic() + RUNNING_S_MAX
    while time.monotonic() < until:
        job = _get(flink, f"jobs/{job_id}")
        tasks = [vertex["status"] for vertex in job["vertices"]]
        if job["state"] == "RUNNING" and set(tasks) == {"RUNNING"}:
            return
        entries = _get(flink, f"jobs/{job_id}/exceptions")["exceptionHistory"]["entries"]
        if entries:
            cause = cause_of(RuntimeError(entries[0]["stacktrace"]))
            raise SubmitError(f"job {job_id} was started and failed: {cause}")
        time.sleep(POLL_S)
    raise SubmitError(f"job {job_id} does not run after {RUNNING_S_MAX} s: see {flink}")


def connector_jar() -> Path:
    """The Kafka connector that `make setup` fetched.

    Raises:
        SubmitError: it is not there.
    """
    found = sorted((CHECKOUT / "build" / "jars").glob(CONNECTOR))
    if not found:
        raise SubmitError(
            "the Kafka connector is not in build/jars: run `make setup`, or --connector"
        )
    return found[-1]


def _command(submission: Submission, code: Path, release: str) -> list[str]:
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise SubmitError("submit needs the extra `job`: pip install 'segstream[job]'")
    flink = Path(spec.origin).parent / "bin" / "flink"
    restore = [] if submission.savepoint is None else ["-s", submission.savepoint]
    return [
        *(str(flink), "run", "--detached", "--jobmanager", urlsplit(submission.flink).netloc),
        *restore,
        *("--pyClientExecutable", sys.executable, "--pyExecutable", submission.python),
        *("--pyFiles", str(code), "--pyModule", JOB_MODULE),
        *("--jarfile", str(submission.connector)),
        *(msgspec.json.encode(submission.config).decode(), submission.python, release),
    ]


def _check_room(submission: Submission) -> None:
    """See that the cluster answers and has a free slot for each subtask."""
    overview = _get(submission.flink, "overview")
    free, wanted = overview["slots-available"], submission.config.parallelism
    if free < wanted:
        raise SubmitError(
            f"--parallelism {wanted}: {free} of {overview['slots-total']} slots are free."
            " Cancel a job, or add TaskManagers"
        )


def _get(flink: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"{flink}/{path}", timeout=REST_S_MAX) as response:
            return json.load(response)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise SubmitError(f"--flink {flink}: no JobManager answers: {error}") from None


def _reason(said: str) -> str:
    """The last causes in what `flink run` said, else its end."""
    causes = [line for line in said.splitlines() if line.startswith(("Caused by:", "py4j", "E"))]
    return "\n".join(causes[-5:]) or said[-2000:]
