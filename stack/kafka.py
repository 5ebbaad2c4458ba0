"""Kafka: one broker that is its own controller (KRaft)."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from stack.errors import StackError
from stack.java import CONF, java_command, maven_jars
from stack.process import Command, Process
from stack.server import HOST, write_configuration

# Any id will do: the folder's broker is the only member of its cluster.
_CLUSTER_ID = "c2Vnc3RyZWFtLXN0YWNrMA"


class Kafka(NamedTuple):
    """A broker whose files are below `folder`."""

    folder: Path
    port: int
    controller_port: int

    @property
    def name(self) -> str:
        return "kafka"

    @property
    def bootstrap(self) -> str:
        """HOST:PORT, as Kafka's clients take it."""
        return f"{HOST}:{self.port}"

    @property
    def address(self) -> str:
        return self.bootstrap

    def prepare(self) -> Command:
        properties = self.folder / "server.properties"
        write_configuration(
            "kafka.properties",
            properties,
            folder=self.folder,
            port=self.port,
            controller_port=self.controller_port,
        )
        if not (self.folder / "data" / "meta.properties").is_file():
            self._format(properties)
        return Command((*self._java("kafka.Kafka"), str(properties)), self.folder)

    def is_ready(self, process: Process) -> bool:
        if self.port not in process.listening_ports():
            return False
        # Imported when asked: the other commands start without Kafka's client.
        from kafka import KafkaAdminClient  # noqa: PLC0415
        from kafka.errors import KafkaError  # noqa: PLC0415

        try:
            with KafkaAdminClient(
                bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=3_000
            ) as admin:
                brokers = admin.describe_cluster()["brokers"]
        except (KafkaError, OSError):
            return False
        return len(brokers) == 1 and not brokers[0].get("is_fenced", False)

    def _format(self, properties: Path) -> None:
        done = subprocess.run(
            [
                *self._java("kafka.tools.StorageTool"),
                *("format", "--cluster-id", _CLUSTER_ID, "--config", str(properties)),
            ],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(f"Kafka's storage cannot be formatted:\n{done.stdout}{done.stderr}")

    def _java(self, main: str) -> tuple[str, ...]:
        return java_command(
            main,
            f"{maven_jars('kafka')}/*",
            self.folder,
            "-Xmx512m",
            f"-Dlog4j2.configurationFile={CONF / 'log4j2.properties'}",
        )
