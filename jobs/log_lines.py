"""The lines of a log file, .gz too."""

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"


class LogError(ValueError):
    """A log that cannot be read; the message says why and what to do."""


class LogLines:
    """The lines as Flink's raw format splits them: at line feeds, without them.

    `read_bytes` of the file's `size_bytes` have been read so far.

    Raises:
        LogError: the file cannot be read or is damaged, at its opening or as lines are taken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.read_bytes = 0
        try:
            self.size_bytes = os.path.getsize(path)
            with path.open("rb") as probe:
                self._zipped = probe.read(2) == GZIP_MAGIC
        except OSError as error:
            raise LogError(f"{path}: {error}") from error
        if self._zipped != (path.suffix == ".gz"):
            kind = "gzip" if self._zipped else "not gzip"
            raise LogError(f"{path}: the content is {kind}: name gzip files .gz, and no others")

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file, gzip.open(file) if self._zipped else file as log:
                for line in log:
                    self.read_bytes = file.tell()
                    yield line.removesuffix(b"\n")
        except (OSError, EOFError, zlib.error) as error:
            raise LogError(f"{self._path}: {error}") from error
