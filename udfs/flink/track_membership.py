"""TrackMembership and PublishSegments: one operator, one call an event, keyed by user."""

import base64
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext, TimeDomain
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from schemas import routes
from schemas.errors import InvalidDocumentError
from schemas.events import Event
from schemas.outputs import LateEvent, Reject, RunTotals
from schemas.rulesets import RuleSet, parse_ruleset
from schemas.state import Profile, decode_profile, encode_profile
from udfs.flink.publish_segments import PublishSegments
from udfs.intake import Intake, NoEvent, count_cells, read_event, time_fault
from udfs.membership import COUNTED, DUPLICATE, Limits, Outcome, Tracking, track_event, track_time
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
    """A profile as this run last wrote it, and the wake-up this run has a timer for."""

    profile: Profile
    wake_at: int | None


class TrackMembership(KeyedBroadcastProcessFunction):
    """Reads a user's profile, lets the core decide, writes the profile, the outputs and the set.

    Input rows are (key, payload, partition, offset, now): `now` is the epoch ms against which a
    time in the future is judged. Output rows are (route, user id, bytes). Broadcast rows are
    (rule set as JSON text,); `ruleset` is the one the job was submitted with.

    `open_writer` opens the store, once a subtask.
    `run_end_ms` is None on endless input. On bounded input it is where event time stops: the
    largest possible watermark that ends the input then expires nobody later than that.
    A bounded run starts from nothing, with a store of its own.
    """

    def __init__(
        self,
        ruleset: RuleSet,
        intake: Intake,
        limits: Limits,
        open_writer: Callable[[], SegmentWriter],
        run_end_ms: int | None = None,
    ) -> None:
        self._ruleset = ruleset
        self._intake = intake
        self._limits = limits
        self._open_writer = open_writer
        self._run_end_ms = run_end_ms

    def open(self, runtime_context: RuntimeContext) -> None:
        # PICKLED_BYTE_ARRAY: PRIMITIVE_ARRAY(BYTE) state fails on its first read in thread mode.
        profile = ValueStateDescriptor("profile", Types.PICKLED_BYTE_ARRAY())
        self._state = runtime_context.get_state(profile)
        self._publish = PublishSegments(runtime_context, self._open_writer())
        self._recent: dict[str, _Recent] = {}
        self._totals = RunTotals()
        self._started = False
        self._use(self._ruleset)

    def close(self) -> None:
        if hasattr(self, "_publish"):
            self._publish.close()

    def process_element(
        self, value: Row, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext
    ) -> Sequence[Row]:
        if not self._started:
            self._start(ctx)
        key, payload, partition, offset, now_ms = value
        event, cells = self._read(key, payload, now_ms)
        if isinstance(event, NoEvent):
            counts = self._totals.rejected
            counts[event.reason] = counts.get(event.reason, 0) + 1
            return (_reject(event, payload, partition, offset),)
        profile = self._profile(key)
        outcome = track_event(profile, event, cells, self._tracking)
        outputs = self._apply(key, outcome, profile is not None, ctx)
        if outcome.verdict == COUNTED:
            self._totals.accepted += 1
        elif outcome.verdict == DUPLICATE:
            self._totals.duplicate += 1
        elif profile is not None:
            return (*outputs, self._late(event, profile, partition, offset))
        return outputs

    def process_broadcast_element(
        self, value: Row, ctx: KeyedBroadcastProcessFunction.Context
    ) -> Sequence[Row]:
        document: str = value[0]
        try:
            ruleset = parse_ruleset(document.encode())
        except InvalidDocumentError as error:
            return (_reject(NoEvent("ruleset", str(error)), document.encode(), 0, 0),)
        plan = self._tracking.plan
        if RulePlan(ruleset).window != plan.window:
            problem = f"its panes are not those of version {plan.version}, which state is kept in"
            fault = NoEvent("ruleset", f"version {ruleset.version}: {problem}", "window")
            return (_reject(fault, document.encode(), 0, 0),)
        if ruleset.version > plan.version:
            ctx.get_broadcast_state(RULESETS_STATE).put(_ACTIVE, document)
            self._use(ruleset)
        return ()

    def on_timer(
        self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext
    ) -> Sequence[Row]:
        if not self._started:
            self._start(ctx)
        if ctx.time_domain() is TimeDomain.PROCESSING_TIME:
            self._publish.look(ctx)
            return ()
        if timestamp == END_OF_INPUT_MS:
            self._publish.flush()
            return (Row(routes.TOTALS, "", _json(self._totals)),)
        user_id = ctx.get_current_key()
        due_ms = timestamp - spread(user_id, self._spread_ms)
        profile = self._profile(user_id)
        if profile is None or (self._run_end_ms is not None and due_ms > self._run_end_ms):
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

    def _apply(
        self,
        user_id: str,
        outcome: Outcome,
        had_state: bool,
        ctx: KeyedBroadcastProcessFunction.ReadOnlyContext,
    ) -> Sequence[Row]:
        recent = self._recent.pop(user_id, None)
        if outcome.profile is None:
            if had_state:
                self._state.clear()
        else:
            if outcome.dirty:
                self._state.update(encode_profile(outcome.profile))
            if len(self._recent) >= RECENT_USERS_MAX:
                self._recent.clear()
            self._recent[user_id] = _Recent(outcome.profile, outcome.wake_at)
        if outcome.wake_at is not None and (recent is None or recent.wake_at != outcome.wake_at):
            # All panes end together: each user is looked at a little later, at their own moment.
            wake_ms = outcome.wake_at + spread(user_id, self._spread_ms)
            ctx.timer_service().register_event_time_timer(wake_ms)
        self._totals.saturated_values += outcome.saturated_values
        self._totals.forgotten_ids += outcome.forgotten_ids
        publication = outcome.publication
        if publication is None:
            return ()
        self._totals.publications += 1
        self._totals.changes += len(publication.changes)
        self._publish.put(publication, ctx)
        return [Row(routes.CHANGE, user_id, _json(change)) for change in publication.changes]

    def _late(self, event: Event, profile: Profile, partition: int, offset: int) -> Row:
        self._totals.late += 1
        window = self._tracking.plan.window
        late = LateEvent(
            reason="before_window",
            clock=profile.clock_ms,
            window_start=window.first_pane(profile.clock_ms) * window.pane_ms,
            partition=partition,
            offset=offset,
            event=event,
        )
        return Row(routes.LATE, event.user_id, _json(late))


def _reject(fault: NoEvent, payload: bytes, partition: int, offset: int) -> Row:
    reject = Reject(
        reason=fault.reason,
        detail=fault.detail,
        field=fault.field,
        partition=partition,
        offset=offset,
        payload_bytes=len(payload),
        payload_base64=base64.b64encode(payload[:REJECT_BYTES_MAX]).decode("ascii"),
    )
    return Row(routes.REJECT, "", _json(reject))
