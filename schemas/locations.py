"""Where a store is, as its URL says."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

CASSANDRA_PORT = 9042
_FORMS = "sqlite:///PATH or cassandra://HOST[,HOST...][:PORT]/KEYSPACE[?dc=NAME]"


class SqliteUrl(msgspec.Struct, frozen=True, tag="sqlite"):
    """The embedded store: one file."""

    path: str


class CassandraUrl(msgspec.Struct, frozen=True, tag="cassandra"):
    """A keyspace of a Cassandra cluster; `datacenter` is the one whose nodes are asked."""

    hosts: tuple[str, ...]
    port: int
    keyspace: str
    datacenter: str = "datacenter1"

    def __str__(self) -> str:
        return f"cassandra://{','.join(self.hosts)}:{self.port}/{self.keyspace}"


StoreUrl = SqliteUrl | CassandraUrl


def parse_store(url: str) -> StoreUrl:
    """Read a store's URL.

    Raises:
        ValueError: it is neither `sqlite:///PATH` nor `cassandra://HOST/KEYSPACE`.
    """
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        return SqliteUrl(url.removeprefix("sqlite:///"))
    parts = urlsplit(url)
    keyspace = parts.path.removeprefix("/")
    hosts, _, port = parts.netloc.partition(":")
    named = all(hosts.split(","))
    if parts.scheme == "cassandra" and named and keyspace.isidentifier() and _is_port(port):
        datacenter = parse_qs(parts.query).get("dc", ["datacenter1"])[0]
        return CassandraUrl(
            tuple(hosts.split(",")), int(port or CASSANDRA_PORT), keyspace, datacenter
        )
    raise ValueError(f"--store {url}: write {_FORMS}")


def sqlite_path(url: str) -> Path:
    """The file that the URL of an embedded store names.

    Raises:
        ValueError: the URL is not `sqlite:///PATH`.
    """
    location = parse_store(url)
    if isinstance(location, SqliteUrl):
        return Path(location.path)
    raise ValueError(f"--store {url}: write sqlite:///PATH (sqlite:////PATH if absolute)")


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and 0 < int(text) < 65536)
