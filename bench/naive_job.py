"""The peer: the same rules as a first PyFlink job applies them, by the documentation's examples.

DataStream API, the default (process) execution mode, json in a Python map, a Python key, event-time
timers for expiry, ids seen and counts of each hour in MapStates, those of the last ten days added
up whenever they are needed. It has the duplicates and both rules of the rule set; it has no store,
no late output, no rejects and no `valid_until`, all of which would cost it time.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pyflink.common import Configuration, Duration, Types, WatermarkStrategy
from pyflink.common.serialization import Encoder
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import (
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.file_system import FileSink, FileSource, StreamFormat
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

HOUR_MS = 3_600_000
START_MS, END_MS = 946_684_800_000, 4_102_444_800_000
WINDOW_HOURS = 240
DEDUPE_HOURS = 24

# attribute: event types, enter, leave, fewest views
RULES = {
    "fuel_type": (("view",), 0.5, 0.4, 5),
    "body_type": (("view", "click"), 0.6, 0.5, 6),
}


class EventTime(TimestampAssigner):  # type: ignore[misc]
    """Reads an event's own time."""

    def extract_timestamp(self, value: dict[str, Any], record_timestamp: int) -> int:  # noqa: ARG002
        at_ms: int = value["occurred_at"]
        return at_ms


def parse(line: str) -> Iterator[dict[str, Any]]:
    """The line's event if it is a view or a click of a user."""
    try:
        event = json.loads(line)
    except ValueError:
        return
    if not isinstance(event, dict) or event.get("type") not in ("view", "click"):
        return
    usable = isinstance(event.get("user_id"), str) and isinstance(event.get("occurred_at"), int)
    if usable and START_MS < event["occurred_at"] < END_MS and "event_id" in event:
        yield event


class TrackSegments(KeyedProcessFunction):  # type: ignore[misc]
    """Keeps a user in the segments that their events of the last ten days qualify them for."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.counts = runtime_context.get_map_state(
            MapStateDescriptor("counts", Types.STRING(), Types.LONG())
        )
        self.ids = runtime_context.get_map_state(
            MapStateDescriptor("ids", Types.STRING(), Types.LONG())
        )
        self.segments = runtime_context.get_state(
            ValueStateDescriptor("segments", Types.PICKLED_BYTE_ARRAY())
        )

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[str]:
        hour = value["occurred_at"] // HOUR_MS
        if self.ids.contains(value["event_id"]):
            return
        self.ids.put(value["event_id"], hour)
        attributes = value.get("attributes", {})
        for rule, (types, *_) in RULES.items():
            if value["type"] in types:
                word = str(attributes.get(rule)).strip().lower()
                key = f"{hour} {rule}={word}"
                self.counts.put(key, (self.counts.get(key) or 0) + 1)
        ctx.timer_service().register_event_time_timer((hour + WINDOW_HOURS) * HOUR_MS)
        yield from self._decide(ctx.get_current_key(), hour)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        yield from self._decide(ctx.get_current_key(), timestamp // HOUR_MS)

    def _decide(self, user_id: str, hour: int) -> Iterator[str]:
        for name, then in list(self.ids.items()):
            if then <= hour - DEDUPE_HOURS:
                self.ids.remove(name)
        views: Counter[str] = Counter()
        for name, count in list(self.counts.items()):
            then, segment = name.split(" ", 1)
            if int(then) <= hour - WINDOW_HOURS:
                self.counts.remove(name)
            else:
                views[segment] += count
        before = self.segments.value() or set()
        after = decide(before, views)
        if after != before:
            self.segments.update(after)
            yield json.dumps({"user_id": user_id, "from": sorted(before), "to": sorted(after)})


def decide(before: set[str], views: Counter[str]) -> set[str]:
    """The segments that these counts keep the user in or take them into."""
    after = set()
    for rule, (_, enter, leave, fewest) in RULES.items():
        mine = {name: n for name, n in views.items() if name.startswith(f"{rule}=")}
        total = sum(mine.values())
        for name, count in mine.items():
            enough = leave if name in before else enter
            if total >= fewest and count / total >= enough and not name.endswith("=None"):
                after.add(name)
    return after


def main(log: str, out: str) -> None:
    """Run the log through the job and write the changes."""
    configuration = Configuration()
    configuration.set_string("python.executable", sys.executable)
    configuration.set_string("rest.bind-address", "127.0.0.1")
    configuration.set_string("rest.bind-port", "0")
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.set_parallelism(1)
    source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), log).build()
    changes = (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "events")
        .flat_map(parse)
        .assign_timestamps_and_watermarks(
            WatermarkStrategy.for_bounded_out_of_orderness(
                Duration.of_minutes(1)
            ).with_timestamp_assigner(EventTime())
        )
        .key_by(lambda event: event["user_id"], key_type=Types.STRING())
        .process(TrackSegments(), output_type=Types.STRING())
    )
    changes.sink_to(FileSink.for_row_format(out, Encoder.simple_string_encoder()).build())
    env.execute("naive")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
