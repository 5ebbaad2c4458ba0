"""`python -m schemas.generate`: the JSON Schema files of every message, made from the types.

With `--check` nothing is written: the command fails where a file is not current.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

from schemas.changes import Change
from schemas.commands import Command
from schemas.events import Event
from schemas.outputs import LateEvent, Reject, RunTotals
from schemas.rulesets import RuleSet
from schemas.segments import UserSegments

FOLDER = Path(__file__).parent / "json"

TYPES: dict[str, Any] = {
    "change": Change,
    "command": Command,
    "event": Event,
    "late-event": LateEvent,
    "reject": Reject,
    "ruleset": RuleSet,
    "run-totals": RunTotals,
    "user-segments": UserSegments,
}


def schema_text(expected: Any) -> str:
    """The JSON Schema (2020-12) of a type, as the file holds it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **msgspec.json.schema(expected),
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def stale_files() -> list[Path]:
    """The schema files that are missing, not current, or no longer of any type."""
    wanted = {FOLDER / f"{name}.schema.json": schema_text(t) for name, t in TYPES.items()}
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text() != text]
    return stale + sorted(set(FOLDER.glob("*")) - wanted.keys())


def main(arguments: list[str]) -> int:
    """Write the files, or check them."""
    stale = stale_files()
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.name} is not current: run `python -m schemas.generate`")
        return bool(stale)
    FOLDER.mkdir(exist_ok=True)
    for name, expected in TYPES.items():
        (FOLDER / f"{name}.schema.json").write_text(schema_text(expected))
    for path in stale_files():
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
