"""The wheel that goes to a cluster."""

import subprocess
import sys

import pytest

from jobs import wheel
from jobs.wheel import CHECKOUT, WheelError, can_compile, this_wheel, unpack

pytestmark = pytest.mark.unit

SAYS_WHERE = "import udfs.windows as w; print(w.__file__); print(w.Window(60_000, 60).leaves_at(3))"


def test_a_wheel_is_built_once_and_nothing_beside_the_sources():
    first = this_wheel()
    assert first == this_wheel()
    assert not list((CHECKOUT / "udfs").glob("*.so"))
    assert ("compiled" in first.parent.name) == can_compile()


def test_an_unpacked_wheel_runs_by_itself(tmp_path):
    folder, release = unpack(this_wheel(), tmp_path)
    assert folder.name == f"segstream-{release}"
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); {SAYS_WHERE}"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    where, leaves_at = said.stdout.split()
    assert where.startswith(str(folder))
    assert where.endswith(".so") == can_compile()
    assert leaves_at == "3780000"


def test_without_a_compiler_the_wheel_is_pure(monkeypatch):
    monkeypatch.setattr(wheel, "can_compile", lambda: False)
    assert this_wheel().name.endswith("-py3-none-any.whl")


def test_what_is_no_wheel_is_told(tmp_path):
    damaged = tmp_path / "damaged.whl"
    damaged.write_bytes(b"PK no more")
    with pytest.raises(WheelError, match=r"damaged\.whl: File is not a zip file"):
        unpack(damaged, tmp_path)


def test_an_installed_release_has_to_name_its_wheel(monkeypatch, tmp_path):
    monkeypatch.setattr(wheel, "CHECKOUT", tmp_path)
    with pytest.raises(WheelError, match="--wheel"):
        this_wheel()
