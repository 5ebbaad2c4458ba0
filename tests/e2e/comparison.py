"""A run of the command line held to the recount of the same log."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from schemas.rulesets import parse_ruleset
from tests.naive_log import naive_events
from tests.recount import Recount


class Result(NamedTuple):
    """Where a run put its results."""

    folder: Path
    output: str

    def lines(self, name: str) -> list[dict]:
        return [json.loads(line) for line in (self.folder / name).read_bytes().splitlines()]

    def stored(self) -> dict[str, dict]:
        with sqlite3.connect(self.folder / "segments.db") as connection:
            rows = connection.execute("SELECT user_id, document FROM user_segments").fetchall()
        return {user_id: json.loads(document) for user_id, document in rows}


def segstream(*arguments: object, fails: bool = False) -> str:
    """Call the command as a user does; its output, both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "segstream", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, said
    return said


def run_log(folder: Path, log: Path, ruleset: dict, *options: str) -> Result:
    rules = folder / "ruleset.json"
    rules.write_text(json.dumps(ruleset))
    said = segstream(
        *("run", "--events", log, "--ruleset", rules),
        *("--store", f"sqlite:///{folder / 'segments.db'}"),
        *("--changes", folder / "changes.jsonl", "--rejects", folder / "rejects.jsonl"),
        *("--late", folder / "late.jsonl", *options),
    )
    return Result(folder, said)


def differences(
    result: Result, log: Path, ruleset: dict, now_ms: int, rename: dict[str, str] | None = None
) -> dict[str, object]:
    """What differs between a run and the recount: empty counts and sets where nothing does."""
    recount = Recount(parse_ruleset(json.dumps(ruleset).encode()))
    totals: Counter[str] = Counter()
    last = 0
    for event in naive_events(log, now_ms, rename):
        totals["rejected" if event is None else recount.event(event)] += 1
        last = last if event is None else max(last, event.occurred_at)
    recount.finish(last)
    stored = result.stored()
    expected = {user_id: user.stored for user_id, user in recount.users.items() if user.known}
    found = {
        user_id: {s["segment"]: (s["score"], s["since"], s["valid_until"]) for s in doc["segments"]}
        for user_id, doc in stored.items()
    }
    users = {u for u in expected.keys() | found.keys() if expected.get(u) != found.get(u)}
    changes = Counter(
        (c["user_id"], c["segment"], c["change"], c["at"]) for c in result.lines("changes.jsonl")
    )
    said = " ".join(result.output.split())
    rejected, late = len(result.lines("rejects.jsonl")), len(result.lines("late.jsonl"))
    return {
        "users": sorted(users)[:10],
        "changes missing": Counter(recount.changes) - changes,
        "changes extra": changes - Counter(recount.changes),
        "rejected": rejected - totals["rejected"],
        "late": late - totals["late"],
        "accepted said": f"{totals['accepted']:,} accepted" not in said,
        "duplicate said": f"{totals['duplicate']:,} duplicate" not in said,
    }


def nothing(found: dict[str, object]) -> bool:
    return not any(found.values())
