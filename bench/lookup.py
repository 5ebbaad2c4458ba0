"""`segstream serve` beside a bare ASGI endpoint whose answers are as long."""

import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import fmean, median
from threading import Event, Thread
from typing import NamedTuple

import msgspec
import psutil

from bench.load import CONNECTIONS, Load
from bench.processes import seconds_of, segstream, server
from bench.report import print_table, progress
from jobs.stores.cassandra_store import CassandraLocation
from jobs.stores.migrate import migrate
from jobs.stores.sqlite_store import SqliteLocation, create_store, write_run
from schemas.durations import HOUR_MS
from schemas.locations import CassandraUrl, parse_store
from schemas.progress import Progress
from schemas.segments import Publication, Segment, UserSegments
from serving.lookup.answers import body_and_etag, head, tail
from stack.servers import StackSpec, up
from udfs.outbox import SegmentWriter

SEED = 1
USERS = 20_000
HOT_USERS = 500
AS_OF_MS = 1_770_203_101_524
VALUES = ("electric", "hybrid", "petrol", "diesel")
ROUNDS = 5
ROUND_S = 2.0
WARM_UP_S = 2.0
FLOOR = 0.4
BARE = "ceiling: bare ASGI"
HOT = f"default configuration, {HOT_USERS} hot users"


class Subject(NamedTuple):
    """A server, and the file that names the users it is asked for."""

    name: str
    command: list[str]
    users: Path


class Round(NamedTuple):
    """One round of one subject. `server_us` is the server's own CPU time for each lookup."""

    load: Load
    server_us: float

    @property
    def rate(self) -> float:
        return self.load.answered / self.load.seconds


def run(folder: Path) -> None:
    """Fill both stores, start every server, ask each in turn, print them."""
    names = [f"user-{number}" for number in range(USERS)]
    sets = list(_sets(names))
    everybody, hot = folder / "users.txt", folder / "hot.txt"
    everybody.write_text("\n".join(names))
    hot.write_text("\n".join(names[:HOT_USERS]))
    body_bytes = _mean_body_bytes(sets)
    bare = [sys.executable, "-m", "bench.bare_asgi", str(body_bytes)]
    with _cassandra(folder / "stack", sets) as cassandra:
        stores = {"SQLite": _sqlite(folder / "segments.db", sets), "Cassandra": cassandra}
        subjects = [Subject(BARE, bare, hot)]
        for name, url in stores.items():
            subjects += _subjects(name, url, everybody, hot)
        rounds = _measure(subjects, folder)
    _print(rounds, body_bytes)
    for name in stores:
        ratio = _of_bare(rounds, f"{name}: {HOT}")
        verdict = "kept" if ratio >= FLOOR else "MISSED"
        print(f"  floor {FLOOR} of bare, {name}, {HOT}: {ratio:.2f}, {verdict}")


def _subjects(name: str, url: str, everybody: Path, hot: Path) -> list[Subject]:
    serve = ("serve", "--store", url, "--port", 0)
    return [
        Subject(f"{name}: {HOT}", segstream(*serve), hot),
        Subject(f"{name}: default configuration, all users", segstream(*serve), everybody),
        Subject(f"{name}: read each time", segstream(*serve, "--fresh-ms", 0), everybody),
        Subject(f"{name}: kept for 10 min", segstream(*serve, "--fresh-ms", 600_000), hot),
    ]


def _measure(subjects: list[Subject], folder: Path) -> dict[str, list[Round]]:
    rounds: dict[str, list[Round]] = {subject.name: [] for subject in subjects}
    with ExitStack() as stack:
        ports = [stack.enter_context(server(subject.command, folder)) for subject in subjects]
        servers = [_listener(port) for port in ports]
        for number in range(ROUNDS + 1):
            for subject, port, process in zip(subjects, ports, servers, strict=True):
                # What is warm is warm: a hot set has cooled down while the others were asked.
                _load(port, WARM_UP_S / 4 if number else WARM_UP_S, subject.users, folder, number)
                before_s = _cpu_s(process)
                load = _load(port, ROUND_S, subject.users, folder, number)
                measured = Round(load, (_cpu_s(process) - before_s) / load.answered * 1e6)
                if number:
                    rounds[subject.name].append(measured)
                    progress(f"round {number}: {subject.name}, {measured.rate:,.0f} a second")
    return rounds


def _print(rounds: dict[str, list[Round]], body_bytes: int) -> None:
    rows = [
        (
            name,
            f"{median(one.rate for one in measured):,.0f}",
            f"{_of_bare(rounds, name):.2f}",
            f"{median(one.load.p50_ms for one in measured):.2f}",
            f"{median(one.load.p99_ms for one in measured):.2f}",
            f"{sum(one.load.failed for one in measured)}",
            f"{median(one.server_us for one in measured):.0f}",
        )
        for name, measured in rounds.items()
    ]
    print_table(
        "lookup: GET one user's segments over HTTP, one server process",
        [
            f"{USERS:,} users, {body_bytes} bytes an answer, drawn at random (seed {SEED}),"
            f" {CONNECTIONS} connections kept alive",
            f"medians of {ROUNDS} rounds of {ROUND_S:.0f} s, in turn, and of each round's share of"
            " bare; load, servers and Cassandra on the same machine",
        ],
        ("", "lookups/s", "of bare", "p50 ms", "p99 ms", "failed", "server's CPU, µs"),
        rows,
    )


def _of_bare(rounds: dict[str, list[Round]], name: str) -> float:
    pairs = zip(rounds[name], rounds[BARE], strict=True)
    return median(one.rate / bare.rate for one, bare in pairs)


def _listener(port: int) -> psutil.Process:
    """Which of the processes started here listens."""
    for child in psutil.Process().children():
        if any(one.laddr.port == port for one in child.net_connections()):
            return child
    raise RuntimeError(f"no process started here listens on port {port}")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _load(port: int, seconds: float, users: Path, folder: Path, seed: int) -> Load:
    command = [sys.executable, "-m", "bench.load", str(port), str(seconds), str(users), str(seed)]
    seconds_of(command, folder)
    return msgspec.json.decode((folder / "output.txt").read_bytes(), type=Load)


def _sets(names: list[str]) -> Iterator[UserSegments]:
    """A set for each user, of one or two segments."""
    chance = random.Random(SEED)
    for user_id in names:
        views = chance.randint(5, 40)
        segments = tuple(
            Segment(
                segment=f"fuel_type={value}",
                score=round(0.5 + chance.random() / 2, 3),
                since=AS_OF_MS - chance.randrange(240) * HOUR_MS,
                valid_until=AS_OF_MS + chance.randrange(1, 240) * HOUR_MS,
                matching=views // 2 + 1,
                views=views,
            )
            for value in chance.sample(VALUES, chance.choice((1, 1, 2)))
        )
        yield UserSegments(
            user_id=user_id, version=1, ruleset_version=1, as_of=AS_OF_MS, segments=segments
        )


def _mean_body_bytes(sets: list[UserSegments]) -> int:
    last = tail(AS_OF_MS)
    bodies = (body_and_etag(head(one.user_id, one, AS_OF_MS), last)[0] for one in sets)
    return round(fmean(map(len, bodies)))


def _fill(writer: SegmentWriter, sets: list[UserSegments]) -> None:
    for one in sets:
        writer.send(1, Publication(one))
    writer.flush()


def _sqlite(database: Path, sets: list[UserSegments]) -> str:
    """A store of one file."""
    create_store(database)
    with closing(SqliteLocation(database)()) as writer:
        _fill(writer, sets)
    write_run(database, AS_OF_MS, {})
    return f"sqlite:///{database}"


@contextmanager
def _cassandra(folder: Path, sets: list[UserSegments]) -> Iterator[str]:
    """A store of one node, and a job that goes on saying how far it is."""
    progress("starting Cassandra")
    with up(StackSpec(folder, parts=("cassandra",))) as stack:
        url = parse_store(stack.cassandra.store())
        assert isinstance(url, CassandraUrl)
        migrate(url, None, progress)
        ended = Event()
        with closing(CassandraLocation(url)()) as writer:
            _fill(writer, sets)
            notes = Thread(target=_note_progress, args=(writer, ended))
            notes.start()
            try:
                yield str(url)
            finally:
                ended.set()
                notes.join()


def _note_progress(writer: SegmentWriter, ended: Event) -> None:
    while not ended.wait(1.0):
        now_ms = time.time_ns() // 1_000_000
        writer.note_progress(
            Progress(
                subtask=0, parallelism=1, watermark=AS_OF_MS, ruleset_version=1, written_at=now_ms
            )
        )
