"""Flink: a JobManager and TaskManagers of one slot each, from the jars inside the wheel."""

import http.client
import importlib.util
import json
import os
import re
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

from stack.errors import StackError
from stack.java import CONF, java_command
from stack.process import Command, Process
from stack.server import HOST, write_configuration

# Whatever proxy the environment names: the cluster is on this machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_JOB_MANAGER_MAIN = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER_MAIN = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
# In what REST calls a TaskManager's path: pekko.tcp://flink@127.0.0.1:PORT/user/rpc/...
_RPC_PORT = re.compile(r"@[^:/]+:(\d+)/")
_JOB_MANAGER_MEMORY = ("-Xms256m", "-Xmx512m", "-XX:MaxMetaspaceSize=256m")


class TaskManagerMemory(NamedTuple):
    """What one TaskManager may take, about 1.7 GB: Flink's parts, and the JVM's flags for them."""

    framework_heap_mb: int = 128
    task_heap_mb: int = 384
    framework_direct_mb: int = 128
    task_direct_mb: int = 128
    network_mb: int = 64
    managed_mb: int = 384
    metaspace_mb: int = 256
    overhead_mb: int = 192

    def flags(self) -> tuple[str, ...]:
        """RocksDB's managed memory and the overhead are outside of what the JVM limits."""
        heap_mb = self.framework_heap_mb + self.task_heap_mb
        direct_mb = self.framework_direct_mb + self.task_direct_mb + self.network_mb
        return (
            *(f"-Xms{heap_mb}m", f"-Xmx{heap_mb}m"),
            f"-XX:MaxDirectMemorySize={direct_mb}m",
            f"-XX:MaxMetaspaceSize={self.metaspace_mb}m",
        )


_TASK_MANAGER_MEMORY = TaskManagerMemory()


class Flink(NamedTuple):
    """A cluster whose files are below `folder`."""

    folder: Path
    port: int
    rpc_port: int

    @property
    def rest(self) -> str:
        """The URL of the JobManager's REST, as `--flink` takes it."""
        return f"http://{HOST}:{self.port}"

    @property
    def job_manager(self) -> "JobManager":
        return JobManager(self)

    def task_managers(self, count: int) -> "list[TaskManager]":
        return [TaskManager(self, f"task-manager-{number + 1}") for number in range(count)]

    def get(self, path: str) -> dict[str, object] | None:
        """What REST answers to `path`; None while it does not answer."""
        try:
            with _DIRECT.open(f"{self.rest}{path}", timeout=5) as response:
                answer: dict[str, object] = json.load(response)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return answer

    def command(self, main: str, memory: tuple[str, ...], *arguments: str) -> Command:
        """The command that starts one of the cluster's JVMs.

        Raises:
            StackError: the apache-flink wheel is missing.
        """
        configuration = self.folder / "conf" / "config.yaml"
        write_configuration(
            "flink.yaml",
            configuration,
            folder=self.folder,
            port=self.port,
            rpc_port=self.rpc_port,
            python=sys.executable,
            **_TASK_MANAGER_MEMORY._asdict(),
        )
        java = java_command(
            main,
            _classpath(),
            self.folder,
            f"@{CONF / 'flink.options'}",
            *memory,
            f"-Dlog4j2.configurationFile={CONF / 'log4j2.properties'}",
        )
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return Command(
            (*java, "--configDir", str(configuration.parent), *arguments),
            self.folder,
            {"PATH": path},
        )


class JobManager(NamedTuple):
    """The one that takes jobs. It keeps none over its own end: submit them again."""

    flink: Flink

    @property
    def name(self) -> str:
        return "job-manager"

    @property
    def address(self) -> str:
        return self.flink.rest

    def prepare(self) -> Command:
        return self.flink.command(_JOB_MANAGER_MAIN, _JOB_MANAGER_MEMORY)

    def is_ready(self, process: Process) -> bool:
        listens = self.flink.port in process.listening_ports()
        return listens and self.flink.get("/overview") is not None


class TaskManager(NamedTuple):
    """A TaskManager of one slot; `id` is its name in the cluster's REST too."""

    flink: Flink
    id: str

    @property
    def name(self) -> str:
        return self.id

    @property
    def address(self) -> str:
        return f"{self.flink.rest}/taskmanagers/{self.id}"

    def prepare(self) -> Command:
        arguments = ("-D", f"taskmanager.resource-id={self.id}")
        return self.flink.command(_TASK_MANAGER_MAIN, _TASK_MANAGER_MEMORY.flags(), *arguments)

    def is_ready(self, process: Process) -> bool:
        """Registered, and as this process: one that was killed stays registered for seconds."""
        registered = self.flink.get(f"/taskmanagers/{self.id}")
        if registered is None or registered["slotsNumber"] != 1:
            return False
        port = _RPC_PORT.search(str(registered["path"]))
        return port is not None and int(port[1]) in process.listening_ports()


def _classpath() -> str:
    """The wheel's `lib`, and Python's jar: it must be the cluster's own, not only each job's."""
    wheel = importlib.util.find_spec("pyflink")
    if wheel is None or wheel.origin is None:
        raise StackError("Flink is missing: pip install 'segstream[job]'")
    home = Path(wheel.origin).parent
    python_jars = [str(jar) for jar in (home / "opt").glob("flink-python-*.jar")]
    return os.pathsep.join([f"{home / 'lib'}/*", *python_jars])
