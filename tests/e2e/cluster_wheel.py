"""Another release of the job: this checkout with some lines changed, as a wheel."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[2]
PACKAGED = ("jobs", "schemas", "segstream", "serving", "stack", "udfs")


class Edit(NamedTuple):
    """What stands in a file, once, and what is to stand there."""

    file: str
    old: str
    new: str


def changed_wheel(folder: Path, *edits: Edit) -> Path:
    """Build a changed copy of this checkout below a folder."""
    copy = folder / "checkout"
    for package in PACKAGED:
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(CHECKOUT / package, copy / package, ignore=ignored)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(CHECKOUT / file, copy / file)
    for edit in edits:
        text = (copy / edit.file).read_text()
        assert text.count(edit.old) == 1, f"{edit.file} has not once: {edit.old}"
        (copy / edit.file).write_text(text.replace(edit.old, edit.new))
    done = subprocess.run(
        [sys.executable, "-c", "from jobs.wheel import this_wheel; print(this_wheel())"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])
