"""Flink in this machine's own process tree: configuration, start, progress and failure."""

import importlib.util
import json
import os
import re
import socket
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs import operators

POLL_SECONDS = 0.25
_PYTHON_CAUSE = re.compile(r"PythonException: (?:<class '([\w.]+)'>: )?(.*)")


class JobFailedError(RuntimeError):
    """The job ended in failure; the message names the cause."""


def thread_mode_fault() -> str | None:
    """Why Python cannot run inside the JVM here; None when it can."""
    if importlib.util.find_spec("pemja") is None:
        return "the pemja package is missing (it has wheels for x86_64 Linux only)"
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return "this Python was built without a shared libpython (--enable-shared)"
    return None


def start_environment(folder: Path, mode: str) -> tuple[Any, str]:
    """Start Flink's gateway and return an execution environment and its REST address.

    `mode` is `thread` or `process`. Everything that Flink writes goes below `folder`.
    """
    os.environ["FLINK_LOG_DIR"] = str(folder)
    # On few cores the default collector's own threads take their share from the operators.
    os.environ.setdefault("JVM_ARGS", "-XX:+UseParallelGC")
    # PyFlink starts its JVM on first use, with the environment as it is then.
    from pyflink.common import Configuration  # noqa: PLC0415
    from pyflink.datastream import StreamExecutionEnvironment  # noqa: PLC0415

    port = _free_port()
    configuration = Configuration()
    for key, value in {
        "python.execution-mode": mode,
        "python.executable": sys.executable,
        "python.pythonpath": os.pathsep.join(path for path in sys.path if path),
        "python.operator-chaining.enabled": "false",
        "pipeline.auto-generate-uids": "false",
        "pipeline.object-reuse": "true",
        "parallelism.default": "1",
        "io.tmp.dirs": str(folder),
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": str(port),
        "rest.bind-port": str(port),
        "metrics.fetcher.update-interval": "500",
    }.items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    return env, f"http://127.0.0.1:{port}"


def execute(env: Any, name: str, rest: str, progress: Callable[[int], None]) -> None:
    """Run the job to its end, telling `progress` how many records TrackMembership has read.

    Raises:
        JobFailedError: the job failed.
    """
    client = env.execute_async(name)
    job_id = str(client.get_job_id())
    result = client.get_job_execution_result()
    while not result.done():
        progress(_records_read(f"{rest}/jobs/{job_id}"))
        time.sleep(POLL_SECONDS)
    try:
        result.result()
    except Exception as error:
        raise JobFailedError(f"the Flink job failed: {cause_of(error)}") from None


def stop_gateway() -> None:
    """End the JVM that `start_environment` started."""
    from pyflink import java_gateway  # noqa: PLC0415

    gateway = java_gateway._gateway
    if gateway is not None:
        gateway.shutdown()
        java_gateway._gateway = None


def _records_read(url: str) -> int:
    """What TrackMembership has read so far, from Flink's REST; 0 while that is not known."""
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            vertices = json.load(response)["vertices"]
    except (OSError, urllib.error.URLError, ValueError, KeyError):
        return 0
    return max(
        (v["metrics"]["read-records"] for v in vertices if operators.TRACK_MEMBERSHIP in v["name"]),
        default=0,
    )


def cause_of(error: Exception) -> str:
    """The Python exception inside a Java one, or the last cause that the Java one names."""
    try:
        trace = str(error)
    except Exception:
        # Py4J asks the JVM for the text; when the JVM is gone, asking fails too.
        return "the JVM ended unexpectedly"
    python = _PYTHON_CAUSE.findall(trace)
    if python:
        kind, message = python[-1]
        return f"{kind}: {message}" if kind else message
    causes = [line for line in trace.splitlines() if line.startswith("Caused by:")]
    return causes[-1].removeprefix("Caused by: ") if causes else trace.partition("\n")[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
