"""A job runs the code that it was submitted with, whatever its interpreter ran before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PICKLE = """
import sys
import cloudpickle
sys.path.insert(0, sys.argv[1])
from udfs import sample
sys.stdout.buffer.write(cloudpickle.dumps(sample.Sample(sys.argv[2])))
"""
LOAD = """
import shutil, sys
import cloudpickle
gone, *releases = sys.argv[1:]
for wheel, pickled in zip(releases[::2], releases[1::2]):
    sys.path.append(wheel)
    with open(pickled, "rb") as payload:
        functions = [cloudpickle.loads(payload.read()), None]
        payload.seek(0)
        functions[1] = cloudpickle.loads(payload.read())
    print(functions[0].said(), type(functions[0]) is type(functions[1]))
    if gone == "gone":
        shutil.rmtree(wheel)
"""


def unpacked(folder, said):
    """A release's folder with one module of the package udfs."""
    own_code = (ROOT / "udfs" / "flink" / "own_code.py").read_text()
    sample = (
        "from udfs.flink.own_code import OwnCode\n"
        "class Sample(OwnCode):\n"
        "    def __init__(self, release): self.release = release\n"
        f"    def said(self): return {said!r}\n"
    )
    path = folder / f"segstream-{said}"
    for name, text in {
        "__init__.py": "",
        "flink/__init__.py": "",
        "flink/own_code.py": own_code,
        "sample.py": sample,
    }.items():
        file = path / "udfs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("gone", ["there", "gone"])
def test_a_release_runs_its_own_modules_after_another_one(tmp_path, gone):
    releases = []
    for name in ("first", "second"):
        path = unpacked(tmp_path, name)
        pickled = tmp_path / f"{name}.pickle"
        pickled.write_bytes(python(PICKLE, path, name))
        releases += [path, pickled]
    said = python(LOAD, gone, *releases).decode().splitlines()
    # The second column: two functions of one release share its modules.
    assert said == ["first True", "second True"]
