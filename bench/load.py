"""A load generator: a few connections kept alive, each asking again as soon as it is answered.

Started as `python -m bench.load PORT SECONDS USERS_FILE SEED`; prints one JSON object. It only ever
talks to 127.0.0.1.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import cast
from urllib.parse import quote

import msgspec
import uvloop

CONNECTIONS = 32
SECONDS_MAX = 30.0
_LENGTH = b"content-length: "


class Load(msgspec.Struct):
    """What one round measured. `cpu_share` is the generator's own use of one CPU."""

    answered: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_share: float


class _Asker(asyncio.Protocol):
    """One connection: a request, its whole answer, the next request, until the time is up."""

    def __init__(self, draw: Callable[[], bytes], until: float, took: list[float]) -> None:
        self._draw = draw
        self._until = until
        self._took = took
        self._received = b""
        self.failed = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        start = self._received.find(_LENGTH) + len(_LENGTH)
        length = int(self._received[start : self._received.find(b"\r\n", start)])
        if len(self._received) < head_end + 4 + length:
            return
        now = time.perf_counter()
        if self._received.startswith(b"HTTP/1.1 200"):
            self._took.append(now - self._asked)
        else:
            self.failed += 1
        self._received = b""
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed += exc is not None
        if not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._draw())


async def measure(port: int, seconds: float, users: list[str], seed: int) -> Load:
    """Ask for users drawn at random."""
    chance = random.Random(seed)
    requests = [
        f"GET /v1/users/{quote(user)}/segments HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
        for user in users
    ]
    took: list[float] = []
    loop = asyncio.get_running_loop()
    started, cpu_started = time.perf_counter(), time.process_time()
    until = started + min(seconds, SECONDS_MAX)
    askers = [
        (
            await loop.create_connection(
                lambda: _Asker(lambda: chance.choice(requests), until, took), "127.0.0.1", port
            )
        )[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.wait_for(asyncio.gather(*(asker.done for asker in askers)), SECONDS_MAX + 10)
    elapsed = time.perf_counter() - started
    percentiles = quantiles(took, n=100)
    return Load(
        answered=len(took),
        failed=sum(asker.failed for asker in askers),
        seconds=elapsed,
        p50_ms=percentiles[49] * 1000,
        p99_ms=percentiles[98] * 1000,
        cpu_share=(time.process_time() - cpu_started) / elapsed,
    )


def main(port: str, seconds: str, users_file: str, seed: str) -> None:
    """Measure once and print it."""
    users = Path(users_file).read_text().split("\n")
    load = uvloop.run(measure(int(port), float(seconds), users, int(seed)))
    print(msgspec.json.encode(load).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
