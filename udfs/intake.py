"""From a record's bytes to an event, or to the reason why it is none."""

from typing import NamedTuple

import msgspec

from schemas.commands import READABLE_COMMAND_VERSIONS, Command
from schemas.durations import MINUTE_MS
from schemas.events import READABLE_EVENT_VERSIONS, Event
from schemas.mapping import FieldMapping
from schemas.outputs import RejectReason
from udfs.rules import AttributeFaultError, RulePlan

# 2000-01-01: anything earlier is a unit mistake (seconds for milliseconds) or a broken clock.
EARLIEST_EVENT_MS = 946_684_800_000


class NoEvent(NamedTuple):
    """Why a record is no event, and which field is at fault."""

    reason: RejectReason
    detail: str
    field: str = ""


class Intake(NamedTuple):
    """What bounds an event: the largest record, and how far ahead of `now` its time may be."""

    event_bytes_max: int = 65_536
    future_skew_ms: int = 5 * MINUTE_MS
    mapping: FieldMapping | None = None


class _VersionOnly(msgspec.Struct):
    schema_version: object = READABLE_EVENT_VERSIONS[-1]


_decode = msgspec.json.Decoder(Event).decode
_decode_command = msgspec.json.Decoder(Command).decode
_decode_version = msgspec.json.Decoder(_VersionOnly).decode


def read_event(payload: bytes, intake: Intake) -> Event | NoEvent:
    """Decode and check one record, but for its time and its attributes."""
    if len(payload) > intake.event_bytes_max:
        return NoEvent("too_large", f"{len(payload)} bytes (at most {intake.event_bytes_max})")
    try:
        event = _decode(payload) if intake.mapping is None else intake.mapping.read(payload)
    except msgspec.ValidationError as error:
        return _shape_fault(payload, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _text_fault(payload, error)
    if event.schema_version not in READABLE_EVENT_VERSIONS:
        return _unreadable_version(event.schema_version)
    return event


def read_command(payload: bytes, intake: Intake) -> Command | NoEvent:
    """Decode and check one command."""
    if len(payload) > intake.event_bytes_max:
        return NoEvent("too_large", f"{len(payload)} bytes (at most {intake.event_bytes_max})")
    try:
        command = _decode_command(payload)
    except msgspec.ValidationError as error:
        return _shape_fault(payload, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _text_fault(payload, error)
    if command.schema_version not in READABLE_COMMAND_VERSIONS:
        return _unreadable_version(command.schema_version)
    return command


def time_fault(occurred_at: int, now_ms: int, intake: Intake) -> NoEvent | None:
    """Why an event's time cannot be believed at `now_ms` (epoch ms); None when it can."""
    if occurred_at < EARLIEST_EVENT_MS:
        detail = f"{occurred_at} is before the year 2000: epoch milliseconds are expected"
        return NoEvent("time_absurd", detail, "occurred_at")
    ahead_ms = occurred_at - now_ms
    if ahead_ms > intake.future_skew_ms:
        detail = f"{occurred_at} is {ahead_ms} ms ahead of {now_ms}"
        return NoEvent("time_future", detail, "occurred_at")
    return None


def count_cells(event: Event, plan: RulePlan) -> list[str] | NoEvent:
    """The cells an event counts in, or which attribute the dictionary does not allow."""
    try:
        return plan.cells_of(event)
    except AttributeFaultError as error:
        return NoEvent("attribute_value", str(error), f"attributes.{error.name}")


def _shape_fault(payload: bytes, message: str) -> NoEvent:
    """Name the field from msgspec's message, `problem - at `$.path``."""
    try:
        version = _decode_version(payload).schema_version
        if version not in READABLE_EVENT_VERSIONS:
            return _unreadable_version(version)
    except (msgspec.DecodeError, RecursionError):
        pass
    except UnicodeDecodeError as error:
        return _text_fault(payload, error)
    problem, _, path = message.partition(" - at `")
    field = path.rstrip("`").removeprefix("$").removeprefix(".")
    if "missing required field" in problem:
        missing = problem.rsplit("`", 2)[1]
        return NoEvent("missing_field", problem, f"{field}.{missing}" if field else missing)
    bounds = ("length", "matching regex", "range", "too big", "out of")
    reason: RejectReason = "out_of_bounds" if any(b in problem for b in bounds) else "wrong_type"
    return NoEvent(reason, problem, field)


def _text_fault(payload: bytes, error: Exception) -> NoEvent:
    try:
        payload.decode()
    except UnicodeDecodeError as fault:
        return NoEvent("not_utf8", f"{fault.reason} at byte {fault.start}")
    return NoEvent("not_json", str(error) or type(error).__name__)


def _unreadable_version(version: object) -> NoEvent:
    readable = ", ".join(map(str, READABLE_EVENT_VERSIONS))
    shown = repr(version)[:40]
    return NoEvent("schema_version", f"{shown} is not readable here ({readable})", "schema_version")
