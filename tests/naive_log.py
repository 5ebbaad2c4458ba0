"""A log read the naive way: what is an event and what is not, written apart from the job."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from schemas.events import Event

YEAR_2000_MS = 946_684_800_000


def naive_events(
    path: Path, now_ms: int, rename: dict[str, str] | None = None
) -> Iterator[Event | None]:
    """Every line in order: its event, or None where it must be a reject."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as log:
        for line in log:
            yield _event(line, now_ms, rename or {})


def _event(line: bytes, now_ms: int, rename: dict[str, str]) -> Event | None:
    try:
        record = json.loads(line.decode())
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    record = {rename.get(name, name): value for name, value in record.items()}
    record.setdefault("type", "view" if rename else None)
    texts = [record.get(name) for name in ("event_id", "user_id", "type")]
    at = record.get("occurred_at")
    attributes = record.get("attributes", {})
    if not all(isinstance(text, str) and text for text in texts) or not isinstance(at, int):
        return None
    if record.get("schema_version", 1) != 1 or not YEAR_2000_MS <= at <= now_ms + 300_000:
        return None
    if not all(isinstance(value, str | int | float | bool | list) for value in attributes.values()):
        return None
    return Event(
        event_id=texts[0], user_id=texts[1], type=texts[2], occurred_at=at, attributes=attributes
    )
