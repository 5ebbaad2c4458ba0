"""The wheel of this checkout, with the core compiled where a C compiler is at hand."""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
BUILT = CHECKOUT / "build" / "wheels"
PACKAGES = ("jobs", "schemas", "segstream", "serving", "stack", "udfs")


class WheelError(RuntimeError):
    """There is no wheel to submit; the message says why and what to do."""


def this_wheel() -> Path:
    """This checkout's wheel, built unless its sources are those of one built before.

    Raises:
        WheelError: this is no checkout, or the build failed.
    """
    if not (CHECKOUT / "pyproject.toml").is_file():
        raise WheelError("this is an installed release: name its wheel with --wheel")
    compiled = can_compile()
    target = BUILT / f"{_digest()}-{'compiled' if compiled else 'pure'}"
    if not target.is_dir():
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            # In a copy: a compiler leaves its modules beside the sources, which would then be used.
            built = _build(_copy(Path(folder) / "sources"), Path(folder) / "wheel", compiled)
            if not target.is_dir():
                built.rename(target)
    return next(target.glob("*.whl"))


def can_compile() -> bool:
    """Whether there is a C compiler, and Python's headers for it."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which("cc") is not None and headers.is_file()


def unpack(wheel: Path, folder: Path) -> tuple[Path, str]:
    """Unpack a wheel below `folder`, under the name of its release; where, and the release.

    Unpacked because compiled modules cannot be loaded from inside a zip file.

    Raises:
        WheelError: it is no wheel.
    """
    try:
        release = hashlib.sha256(wheel.read_bytes()).hexdigest()
        target = folder / f"segstream-{release}"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    except (OSError, zipfile.BadZipFile) as error:
        raise WheelError(f"{wheel}: {error}") from error
    return target, release


def _copy(target: Path) -> Path:
    """Copy what the wheel is made of."""
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(CHECKOUT / name, target / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(CHECKOUT / name, target)
    return target


def _build(sources: Path, folder: Path, compiled: bool) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=sources,
        env={**os.environ, "HATCH_BUILD_HOOK_ENABLE_MYPYC": str(compiled).lower()},
        capture_output=True,
        text=True,
        check=False,
    )
    version = importlib.metadata.version("segstream")
    if done.returncode or not list(folder.glob(f"segstream-{version}-*.whl")):
        raise WheelError(f"the wheel could not be built:\n{(done.stdout + done.stderr)[-2000:]}")
    return folder


def _digest() -> str:
    """What the wheel is made of, in 16 hex digits."""
    digest = hashlib.sha256((CHECKOUT / "pyproject.toml").read_bytes())
    for package in PACKAGES:
        for path in sorted((CHECKOUT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(CHECKOUT)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
