"""Calling the commands as a user does, and the logs that they are given."""

import gzip
import json
import subprocess
import sys
import time
from collections import defaultdict
from importlib import resources

from schemas.topics import TOPICS

NOW_MS = 1_770_000_000_000
COMMAND = (sys.executable, "-m", "segstream")
NAMES = [topic.name for topic in TOPICS]
RULESET = json.loads(resources.files("segstream").joinpath("used_cars.json").read_bytes())


def wait_until(condition, within_s=60):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def segstream(*arguments, status=0):
    """Call a command; what it says on both streams, in one line each."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def event_line(number, user="u1", **fields):
    event = {"event_id": f"e{number}", "user_id": user, "type": "view", "occurred_at": NOW_MS}
    return json.dumps({**event, **fields}).encode()


def write_log(path, lines):
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def by_user(records):
    """The values of each key in the order of the log, and where keys are."""
    values = defaultdict(list)
    for record in records:
        values[record.key].append(record.value)
    return dict(values)
