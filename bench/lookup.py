"""`segstream serve` beside a bare ASGI endpoint whose answers are as long."""

import sqlite3
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import fmean, median

import msgspec

from bench.core import RULESET
from bench.load import CONNECTIONS, Load
from bench.logs import SEED, write_log
from bench.processes import seconds_of, segstream, server
from bench.report import print_table, progress
from schemas.segments import decode_user_segments
from serving.lookup.answers import answer, body_and_etag
from serving.lookup.store import Stored

LINES = 40_000
LINES_PER_USER = 8
ROUNDS = 3
ROUND_S = 3.0
WARM_UP_S = 2.0
BARE = "ceiling: bare ASGI"


def run(folder: Path) -> None:
    """Build a store, start every server, ask each in turn, print them."""
    database = folder / "segments.db"
    _build_store(folder, database)
    users, body_bytes = _users_and_mean_body(database)
    (folder / "users.txt").write_text("\n".join(users))
    store = ("serve", "--store", f"sqlite:///{database}", "--port", 0)
    commands = {
        BARE: [sys.executable, "-m", "bench.bare_asgi", str(body_bytes)],
        "segstream, cache warm": segstream(*store, "--fresh-ms", 600_000),
        "segstream, fresh for 1 s": segstream(*store),
        "segstream, SQLite each time": segstream(*store, "--fresh-ms", 0),
    }
    loads: dict[str, list[Load]] = {name: [] for name in commands}
    with ExitStack() as stack:
        ports = {n: stack.enter_context(server(c, folder)) for n, c in commands.items()}
        for port in ports.values():
            _load(port, WARM_UP_S, folder, 0)
        for number in range(1, ROUNDS + 1):
            for name, port in ports.items():
                load = _load(port, ROUND_S, folder, number)
                loads[name].append(load)
                progress(f"round {number}: {name}, {load.answered / load.seconds:,.0f} a second")
    _print(loads, len(users), body_bytes)


def _print(loads: dict[str, list[Load]], users: int, body_bytes: int) -> None:
    bare = _rate(loads[BARE])
    rows = [
        (
            name,
            f"{_rate(rounds):,.0f}",
            f"{_rate(rounds) / bare:.2f}",
            f"{median(load.p50_ms for load in rounds):.2f}",
            f"{median(load.p99_ms for load in rounds):.2f}",
            f"{sum(load.failed for load in rounds)}",
            f"{median(load.cpu_share for load in rounds):.0%}",
        )
        for name, rounds in loads.items()
    ]
    print_table(
        "lookup: GET one user's segments over HTTP, one server process",
        [
            f"{users:,} users drawn at random (seed {SEED}), {body_bytes} bytes an answer,"
            f" {CONNECTIONS} connections kept alive",
            f"medians of {ROUNDS} rounds of {ROUND_S:.0f} s, in turn; the load comes from a process"
            " on the same machine",
        ],
        ("", "lookups/s", "of bare", "p50 ms", "p99 ms", "failed", "load's CPU"),
        rows,
    )


def _rate(rounds: list[Load]) -> float:
    return median(load.answered / load.seconds for load in rounds)


def _load(port: int, seconds: float, folder: Path, seed: int) -> Load:
    users = folder / "users.txt"
    command = [sys.executable, "-m", "bench.load", str(port), str(seconds), str(users), str(seed)]
    seconds_of(command, folder)
    return msgspec.json.decode((folder / "output.txt").read_bytes(), type=Load)


def _build_store(folder: Path, database: Path) -> None:
    log = folder / "events.jsonl"
    write_log(log, LINES, LINES_PER_USER)
    changes = folder / "changes.jsonl"
    store = f"sqlite:///{database}"
    command = segstream(
        *("run", "--events", log, "--ruleset", RULESET, "--store", store, "--changes", changes)
    )
    progress(f"a store from {LINES:,} lines, {seconds_of(command, folder):.1f} s")


def _users_and_mean_body(database: Path) -> tuple[list[str], int]:
    """Every user in the store, and how long an answer is in the mean."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT user_id, document FROM user_segments").fetchall()
        (as_of,) = connection.execute("SELECT MIN(as_of) FROM job_progress").fetchone()
    answers = [answer(user, Stored(decode_user_segments(found), as_of)) for user, found in rows]
    return [user for user, _ in rows], round(fmean(len(body_and_etag(a)[0]) for a in answers))
