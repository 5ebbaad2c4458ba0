"""Cassandra: one node."""

from pathlib import Path
from typing import NamedTuple

from stack.java import CONF, java_command, maven_jars
from stack.process import Command, Process
from stack.server import HOST, write_configuration

DATACENTER = "datacenter1"
_PROTOCOL_VERSION = 5


class Cassandra(NamedTuple):
    """A node whose files are below `folder`."""

    folder: Path
    port: int
    storage_port: int

    @property
    def name(self) -> str:
        return "cassandra"

    @property
    def host(self) -> str:
        return HOST

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def store(self, keyspace: str = "segstream") -> str:
        """The URL of a keyspace, as `--store` takes it."""
        return f"cassandra://{self.address}/{keyspace}"

    def prepare(self) -> Command:
        configuration = self.folder / "cassandra.yaml"
        write_configuration(
            "cassandra.yaml",
            configuration,
            folder=self.folder,
            port=self.port,
            storage_port=self.storage_port,
        )
        jars = maven_jars("cassandra")
        (agent,) = jars.glob("jamm-*.jar")
        arguments = java_command(
            "org.apache.cassandra.service.CassandraDaemon",
            f"{jars}/*",
            self.folder,
            f"@{CONF / 'cassandra.options'}",
            f"-javaagent:{agent}",
            f"-Dcassandra.config={configuration.as_uri()}",
            f"-Dcassandra.storagedir={self.folder}",
            f"-Dlogback.configurationFile={CONF / 'logback.xml'}",
        )
        return Command(arguments, self.folder)

    def is_ready(self, process: Process) -> bool:
        if self.port not in process.listening_ports():
            return False
        # Imported when asked: the other commands start without Cassandra's driver.
        from cassandra import DriverException  # noqa: PLC0415
        from cassandra.cluster import (  # noqa: PLC0415
            EXEC_PROFILE_DEFAULT,
            Cluster,
            ExecutionProfile,
            NoHostAvailable,
        )
        from cassandra.policies import DCAwareRoundRobinPolicy  # noqa: PLC0415

        profile = ExecutionProfile(DCAwareRoundRobinPolicy(DATACENTER), request_timeout=5)
        cluster = Cluster(
            [HOST],
            port=self.port,
            protocol_version=_PROTOCOL_VERSION,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        )
        try:
            row = cluster.connect().execute("SELECT bootstrapped FROM system.local").one()
        except (DriverException, NoHostAvailable, OSError):
            return False
        finally:
            cluster.shutdown()
        return bool(row.bootstrapped == "COMPLETED")
