"""TrackMembership and PublishSegments: one operator, one call an event, keyed by user."""

import base64
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext, TimeDomain
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from schemas import routes
from schemas.commands import Republish
from schemas.errors import InvalidDocumentError
from schemas.events import Event
from schemas.outputs import LateEvent, Reject, RunTotals
from schemas.places import COMMANDS_FROM, Place, place_of
from schemas.progress import Progress
from schemas.rulesets import RuleSet, parse_ruleset
from schemas.state import Profile, decode_profile, encode_profile
from schemas.topics import RULESETS
from udfs.flink.own_code import OwnCode
from udfs.flink.publish_segments import PublishSegments
from udfs.flink.thread_mode import subtask_of, watermark_of
from udfs.intake import Intake, NoEvent, count_cells, read_command, read_event, time_fault
from udfs.membership import (
    COUNTED,
    DUPLICATE,
    Limits,
    Outcome,
    Tracking,
    is_empty,
    republish,
    track_event,
    track_time,
)
from udfs.outbox import SegmentWriter
from udfs.rules import RulePlan
from udfs.windows import spread

REJECT_BYTES_MAX = 2_048
END_OF_INPUT_MS = 2**63 - 1
SPREAD_MS_MAX = 30_000
RECENT_USERS_MAX = 20_000

OUTPUT_TYPE = Types.ROW([Types.STRING(), Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])
RULESETS_STATE = MapStateDescriptor("rulesets", Types.STRING(), Types.STRING())

_ACTIVE = "active"
_json = msgspec.json.Encoder().encode


class _Recent(NamedTuple):
    """A profile as this run last wrote it, and the wake-ups this run has timers for."""

    profile: Profile
    wake_at: int | None
    look_at: int | None


_UNKNOWN = _Recent(Profile(0), None, None)


class TrackMembership(OwnCode, KeyedBroadcastProcessFunction):
    """Reads a user's profile, lets the core decide, writes the profile, the outputs and the set.

    Input rows are (key, payload, place, now): where the record was read, as schemas.places has it,
    and the epoch ms against which a time in the future is judged. Output rows are (route, user id,
    bytes). Broadcast rows are (rule set as JSON text,), or (None,) for a tick of the clock;
    `ruleset` is the rule set that the job was submitted with.

    `open_writer` opens the store, once a subtask; None where sets are not stored at all.
    `run_end_ms` is None on endless input. On bounded input it is where event time stops: the
    largest possible watermark that ends the input then expires nobody later than that.
    A bounded run starts from nothing, with a store of its own.
    """

    def __init__(
        self,
        ruleset: RuleSet,
        intake: Intake,
        limits: Limits,
        open_writer: Callable[[], SegmentWriter] | None,
        run_end_ms: int | None = None,
        release: str = "",
    ) -> None:
        self._ruleset = ruleset
        self._intake = intake
        self._limits = limits
        self._open_writer = open_writer
        self._run_end_ms = run_end_ms
        self.release = release

    def open(self, runtime_context: RuntimeContext) -> None:
        # PICKLED_BYTE_ARRAY: PRIMITIVE_ARRAY(BYTE) state fails on its first read in thread mode.
        profile = ValueStateDescriptor("profile", Types.PICKLED_BYTE_ARRAY())
        self._state = runtime_context.get_state(profile)
        self._subtask = subtask_of(runtime_context)
        self._writer = None if self._open_writer is None else self._open_writer()
        self._publish = None if self._writer is None else PublishSegments(self._writer)
        self._recent: dict[str, _Recent] = {}
        self._totals = RunTotals()
        self._started = False
        self._use(self._ruleset)

    def close(self) -> None:
        writer: SegmentWriter | None = getattr(self, "_writer", None)
        if writer is not None:
            writer.close()

    def process_element(
        self, value: Row, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext
    ) -> Sequence[Row]:
        if not self._started:
            self._start(ctx)
        key, payload, place, now_ms = value
        if place >= COMMANDS_FROM:
            return self._command(key, payload, place, ctx)
        event, cells = self._read(key, payload, now_ms)
        if isinstance(event, NoEvent):
            return self._rejected(event, payload, place)
        profile = self._profile(key)
        outcome = track_event(profile, event, cells, self._tracking)
        outputs = self._apply(key, outcome, profile is not None, ctx)
        if outcome.verdict == COUNTED:
            self._totals.accepted += 1
        elif outcome.verdict == DUPLICATE:
            self._totals.duplicate += 1
        elif profile is not None:
            return (*outputs, self._late(event, profile, place))
        return outputs

    def process_broadcast_element(
        self, value: Row, ctx: KeyedBroadcastProcessFunction.Context
    ) -> Sequence[Row]:
        document: str | None = value[0]
        if document is None:
            self._note_progress(watermark_of(ctx))
            return ()
        try:
            ruleset = parse_ruleset(document.encode())
        except InvalidDocumentError as error:
            return (_reject(NoEvent("ruleset", str(error)), document.encode(), _NO_PLACE),)
        plan = self._tracking.plan
        if RulePlan(ruleset).window != plan.window:
            problem = f"its panes are not those of version {plan.version}, which state is kept in"
            fault = NoEvent("ruleset", f"version {ruleset.version}: {problem}", "window")
            return (_reject(fault, document.encode(), _NO_PLACE),)
        if ruleset.version > plan.version:
            ctx.get_broadcast_state(RULESETS_STATE).put(_ACTIVE, document)
            self._use(ruleset)
        return ()

    def on_timer(
        self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext
    ) -> Sequence[Row]:
        if not self._started:
            self._start(ctx)
        if timestamp == END_OF_INPUT_MS:
            if self._writer is not None:
                self._writer.flush()
            return (Row(routes.TOTALS, "", _json(self._totals)),)
        user_id = ctx.get_current_key()
        profile = self._profile(user_id)
        if profile is None:
            return ()
        if ctx.time_domain() is TimeDomain.PROCESSING_TIME:
            self._look(user_id, profile, ctx)
            return ()
        due_ms = timestamp - spread(user_id, self._spread_ms)
        if self._run_end_ms is not None and due_ms > self._run_end_ms:
            return ()
        outcome = track_time(user_id, profile, due_ms, self._tracking)
        return self._apply(user_id, outcome, True, ctx)

    def _start(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """What needs a context: the rule set of a restored job, and the end of a bounded input."""
        self._started = True
        active = ctx.get_broadcast_state(RULESETS_STATE).get(_ACTIVE)
        if active is not None:
            ruleset = parse_ruleset(active.encode())
            if ruleset.version > self._tracking.plan.version:
                self._use(ruleset)
        if self._run_end_ms is not None:
            ctx.timer_service().register_event_time_timer(END_OF_INPUT_MS)

    def _use(self, ruleset: RuleSet) -> None:
        plan = RulePlan(ruleset)
        bounded = self._run_end_ms is not None
        # A new rule set counts as a new run: each user is evaluated whole at their first touch.
        run_id = random.getrandbits(31) + 1
        self._tracking = Tracking(plan, self._limits, run_id, store_is_new=bounded)
        if self._writer is not None:
            self._writer.note_ruleset(ruleset.version, _json(ruleset))
        self._spread_ms = min(max(plan.window.pane_ms // 120, 1), SPREAD_MS_MAX)

    def _read(self, key: str, payload: bytes, now_ms: int) -> tuple[Event | NoEvent, list[str]]:
        """The event and the cells it counts in, or why the record is no event."""
        event = read_event(payload, self._intake)
        if isinstance(event, NoEvent):
            return event, []
        if event.user_id != key:
            return NoEvent("key_mismatch", f"the record's key is {key[:64]!r}", "user_id"), []
        fault = time_fault(event.occurred_at, now_ms, self._intake)
        if fault is not None:
            return fault, []
        cells = count_cells(event, self._tracking.plan)
        return (cells, []) if isinstance(cells, NoEvent) else (event, cells)

    def _profile(self, user_id: str) -> Profile | None:
        """The user's profile: as this run last wrote it, else from state."""
        recent = self._recent.get(user_id)
        if recent is not None:
            return recent.profile
        stored = self._state.value()
        return None if stored is None else decode_profile(stored)

    def _command(
        self,
        key: str,
        payload: bytes,
        place: int,
        ctx: KeyedBroadcastProcessFunction.ReadOnlyContext,
    ) -> Sequence[Row]:
        command = read_command(payload, self._intake)
        if isinstance(command, Republish) and command.user_id != key:
            command = NoEvent("key_mismatch", f"the record's key is {key[:64]!r}", "user_id")
        if isinstance(command, NoEvent):
            return self._rejected(command, payload, place)
        self._totals.commands += 1
        profile = self._profile(key)
        outcome = republish(key, profile, self._tracking)
        return self._apply(key, outcome, profile is not None, ctx)

    def _apply(
        self,
        user_id: str,
        outcome: Outcome,
        had_state: bool,
        ctx: KeyedBroadcastProcessFunction.ReadOnlyContext,
    ) -> Sequence[Row]:
        recent = self._recent.get(user_id, _UNKNOWN)
        profile, wake_at, look_at = outcome.profile, outcome.wake_at, recent.look_at
        if wake_at is not None and wake_at != recent.wake_at:
            # All panes end together: each user is looked at a little later, at their own moment.
            wake_ms = wake_at + spread(user_id, self._spread_ms)
            ctx.timer_service().register_event_time_timer(wake_ms)
        publication = outcome.publication
        if publication is not None and self._publish is not None:
            look_at = self._publish.put(profile, publication, _now_ms()).wake_at_ms
            if look_at != recent.look_at:
                ctx.timer_service().register_processing_time_timer(look_at)
        self._keep(user_id, _Recent(profile, wake_at, look_at), outcome.dirty, had_state)
        self._totals.saturated_values += outcome.saturated_values
        self._totals.forgotten_ids += outcome.forgotten_ids
        if publication is None:
            return ()
        self._totals.publications += 1
        self._totals.changes += len(publication.changes)
        return [Row(routes.CHANGE, user_id, _json(change)) for change in publication.changes]

    def _look(
        self, user_id: str, profile: Profile, ctx: KeyedBroadcastProcessFunction.OnTimerContext
    ) -> None:
        """Ask the store about the user's pending set."""
        if self._publish is None:
            return
        step = self._publish.look(user_id, profile, _now_ms())
        if step.wake_at_ms is not None:
            ctx.timer_service().register_processing_time_timer(step.wake_at_ms)
        wake_at = self._recent.get(user_id, _UNKNOWN).wake_at
        self._keep(user_id, _Recent(profile, wake_at, step.wake_at_ms), step.dirty, True)

    def _keep(self, user_id: str, recent: _Recent, dirty: bool, had_state: bool) -> None:
        """Write a profile to state, or clear the state of one in which nothing is left."""
        if is_empty(recent.profile):
            self._recent.pop(user_id, None)
            if had_state:
                self._state.clear()
            return
        if dirty:
            self._state.update(encode_profile(recent.profile))
        if len(self._recent) >= RECENT_USERS_MAX and user_id not in self._recent:
            self._recent.clear()
        self._recent[user_id] = recent

    def _note_progress(self, watermark_ms: int) -> None:
        """Tell the store how far event time has come; nothing before it has begun."""
        if self._writer is None or watermark_ms <= 0:
            return
        progress = Progress(
            subtask=self._subtask.number,
            parallelism=self._subtask.parallelism,
            watermark=watermark_ms,
            ruleset_version=self._tracking.plan.version,
            written_at=_now_ms(),
        )
        self._writer.note_progress(progress)

    def _rejected(self, fault: NoEvent, payload: bytes, place: int) -> Sequence[Row]:
        counts = self._totals.rejected
        counts[fault.reason] = counts.get(fault.reason, 0) + 1
        return (_reject(fault, payload, place_of(place)),)

    def _late(self, event: Event, profile: Profile, place: int) -> Row:
        self._totals.late += 1
        window = self._tracking.plan.window
        late = LateEvent(
            reason="before_window",
            clock=profile.clock_ms,
            window_start=window.first_pane(profile.clock_ms) * window.pane_ms,
            partition=place_of(place).partition,
            offset=place_of(place).offset,
            event=event,
        )
        return Row(routes.LATE, event.user_id, _json(late))


_NO_PLACE = Place(RULESETS, 0, 0)


def _reject(fault: NoEvent, payload: bytes, place: Place) -> Row:
    reject = Reject(
        reason=fault.reason,
        detail=fault.detail,
        field=fault.field,
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
        payload_bytes=len(payload),
        payload_base64=base64.b64encode(payload[:REJECT_BYTES_MAX]).decode("ascii"),
    )
    return Row(routes.REJECT, "", _json(reject))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
