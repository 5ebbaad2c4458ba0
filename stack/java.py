"""Java and the jars that Maven brings."""

import fcntl
import re
import shutil
import subprocess
from pathlib import Path

from stack.errors import StackError

HERE = Path(__file__).resolve().parent
JARS = HERE.parent / "build" / "stack"
CONF = HERE / "conf"
_READY = ".ready"


def require_java() -> str:
    """The path of Java 17.

    Raises:
        StackError: there is none, or it is another version.
    """
    java = shutil.which("java")
    if java is None:
        raise StackError(
            "Java 17 is missing. Install it (Debian: apt-get install openjdk-17-jre-headless)"
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    if not re.search(r'version "17\b', said):
        raise StackError(
            f"Java 17 is needed, and {java} is {said.partition(chr(10))[0] or 'no Java'}."
            " Install openjdk-17-jre-headless and put it first on PATH"
        )
    return java


def java_command(main: str, classpath: str, folder: Path, *options: str) -> tuple[str, ...]:
    """The start of a command line that runs `main`; its temporary files go below `folder`.

    Raises:
        StackError: there is no Java 17.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return (
        require_java(),
        *options,
        f"-Djava.io.tmpdir={temporary}",
        # Otherwise each JVM keeps a file in /tmp, which a killed one leaves there.
        "-XX:+PerfDisableSharedMem",
        "-XX:+ExitOnOutOfMemoryError",
        *("-cp", classpath, main),
    )


def maven_jars(name: str, jars: Path = JARS) -> Path:
    """The folder with the jars of `stack/NAME-pom.xml`, copied there first if need be.

    Raises:
        StackError: Maven is missing or failed.
    """
    pom = HERE / f"{name}-pom.xml"
    target = jars / name
    jars.mkdir(parents=True, exist_ok=True)
    with (jars / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = target / _READY
        if not ready.is_file() or ready.read_bytes() != pom.read_bytes():
            shutil.rmtree(target, ignore_errors=True)
            _copy_jars(pom, target)
            ready.write_bytes(pom.read_bytes())
    return target


def _copy_jars(pom: Path, target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise StackError("Maven is missing. Install it (Debian: apt-get install maven)")
    done = subprocess.run(
        [
            *(maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"),
            *("-DincludeScope=runtime", f"-DoutputDirectory={target}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StackError(f"Maven could not copy the jars of {pom}:\n{done.stdout[-3000:]}")
