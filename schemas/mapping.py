"""Reading a foreign log: its field names mapped onto the event's."""

from typing import Any

import msgspec

from schemas.events import Event

_TARGETS = frozenset(field.encode_name for field in msgspec.structs.fields(Event))


class FieldMapping(msgspec.Struct, frozen=True):
    """Which foreign field becomes which event field, and what stands in for an absent one.

    `fields` holds (source, target) pairs, `defaults` (target, value) pairs. Names may be dotted
    paths: `payload.when=occurred_at`, `fuel=attributes.fuel_type`. A source that is mapped is
    moved, so nothing counts twice; a record's own field of the target's name is overwritten only
    if the source is there.
    """

    fields: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, Any], ...] = ()

    def read(self, payload: bytes) -> Event:
        """Decode one record.

        Raises:
            msgspec.DecodeError: not JSON, or not an event after mapping.
        """
        record = msgspec.json.decode(payload)
        if isinstance(record, dict):
            for source, target in self.fields:
                parent, name = _parent(record, source)
                if parent is not None and name in parent:
                    _put(record, target, parent.pop(name))
            for target, value in self.defaults:
                parent, name = _parent(record, target)
                if parent is None or name not in parent:
                    _put(record, target, value)
        return msgspec.convert(record, Event)

    def source_of(self, target: str) -> str:
        """The dotted path under which the foreign log has the event's field `target`."""
        return next((source for source, name in self.fields if name == target), target)


def parse_mapping(fields: str, defaults: list[str]) -> FieldMapping | None:
    """Read `--map ts=occurred_at,advert_id=item_id` and `--default type=view`.

    A default's value is read as JSON if it is JSON, else as text. None when neither is given.

    Raises:
        ValueError: a part is not `name=name`, or the target is no field of an event.
    """
    pairs = tuple(_pair("--map", part) for part in fields.split(",") if part)
    for _, target in pairs:
        _check_target("--map", target)
    values = []
    for part in defaults:
        target, text = _pair("--default", part)
        _check_target("--default", target)
        if target in ("user_id", "occurred_at", "event_id"):
            raise ValueError(f"--default {part}: {target} must come from each record")
        try:
            values.append((target, msgspec.json.decode(text)))
        except msgspec.DecodeError:
            values.append((target, text))
    return FieldMapping(pairs, tuple(values)) if pairs or values else None


def _pair(option: str, part: str) -> tuple[str, str]:
    left, separator, right = part.partition("=")
    if not (left.strip() and separator and right.strip()):
        raise ValueError(f"{option} {part!r}: write name=name")
    return left.strip(), right.strip()


def _check_target(option: str, target: str) -> None:
    head, dot, rest = target.partition(".")
    if target not in _TARGETS and not (head == "attributes" and dot and rest):
        known = ", ".join(sorted(_TARGETS))
        raise ValueError(
            f"{option}: {target!r} is no event field (known: {known}, attributes.NAME)"
        )


def _parent(record: dict[str, Any], path: str) -> tuple[dict[str, Any] | None, str]:
    *folders, name = path.split(".")
    place: Any = record
    for folder in folders:
        place = place.get(folder) if isinstance(place, dict) else None
    return (place if isinstance(place, dict) else None), name


def _put(record: dict[str, Any], path: str, value: object) -> None:
    *folders, name = path.split(".")
    place = record
    for folder in folders:
        inner = place.get(folder)
        if not isinstance(inner, dict):
            inner = place[folder] = {}
        place = inner
    place[name] = value
