"""The peers as they are built: a jar by Maven, an environment of its own for Quix Streams."""

import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "bench"
JAVA = HERE / "java"
QUIX_REQUIREMENTS = HERE / "requirements-quix.txt"


def build_java() -> Path:
    """Package the Java peer; its jar.

    Raises:
        RuntimeError: Maven failed.
    """
    _run(["mvn", "-q", "-B", "-f", str(JAVA / "pom.xml"), "package"])
    return BUILD / "java" / "java-peer.jar"


def build_quix() -> Path:
    """Install Quix Streams, unless this version of it is there; its Python.

    Raises:
        RuntimeError: pip failed.
    """
    folder = BUILD / "quix"
    ready = folder / ".ready"
    python = folder / "bin" / "python"
    wanted = QUIX_REQUIREMENTS.read_bytes()
    if not ready.is_file() or ready.read_bytes() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        _run([str(python), "-m", "pip", "install", "-q", "-r", str(QUIX_REQUIREMENTS)])
        ready.write_bytes(wanted)
    return python


def flink_home() -> Path:
    """The folder of the apache-flink wheel."""
    found = find_spec("pyflink")
    if found is None or found.origin is None:
        raise RuntimeError(f"{sys.executable} has no apache-flink")
    return Path(found.origin).parent


def load_log(jar: Path, bootstrap: str, topic: str, log: Path) -> None:
    """Write a log to a topic, keyed by user; the events' times are the records' timestamps.

    Raises:
        RuntimeError: a record was not written.
    """
    classpath = f"{jar}:{flink_home() / 'lib'}/*"
    _run(["java", "-cp", classpath, "segstream.bench.LoadLog", bootstrap, topic, str(log)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}")
