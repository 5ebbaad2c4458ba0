"""The peer: the same rules as a first PyFlink job applies them, by the documentation's examples.

DataStream API, the default (process) execution mode, json in a Python map, a Python key, event-time
timers for expiry, ids seen and counts of each hour in MapStates, those of the last ten days added
up whenever they are needed. It has the duplicates and the rules of the rule set; it has no store,
no late output, no rejects and no `valid_until`, all of which would cost it time.

This reads a file; `bench.peers.naive_cluster_job` is the same between Kafka topics.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from pyflink.common import Configuration, Duration, Types, WatermarkStrategy
from pyflink.common.serialization import Encoder
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import (
    DataStream,
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
DISORDER_MINUTES = 1
SYNONYMS = {"ev": "electric", "gasoline": "petrol"}
NONE = ""


class Rule(NamedTuple):
    """A share rule over the values of one attribute."""

    event_types: tuple[str, ...]
    enter: float
    leave: float
    views_min: int


Rules = Mapping[str, Rule]
FUEL_TYPE = {"fuel_type": Rule(("view",), 0.5, 0.4, 5)}
RULES = {**FUEL_TYPE, "body_type": Rule(("view", "click"), 0.6, 0.5, 6)}


class EventTime(TimestampAssigner):  # type: ignore[misc]
    """Reads an event's own time."""

    def extract_timestamp(self, value: dict[str, Any], record_timestamp: int) -> int:  # noqa: ARG002
        at_ms: int = value["occurred_at"]
        return at_ms


def parse(line: str, rules: Rules) -> Iterator[dict[str, Any]]:
    """The line's event, if it is one that a rule counts."""
    try:
        event = json.loads(line)
    except ValueError:
        return
    counted = {name for rule in rules.values() for name in rule.event_types}
    if not isinstance(event, dict) or event.get("type") not in counted:
        return
    usable = isinstance(event.get("user_id"), str) and isinstance(event.get("occurred_at"), int)
    if usable and START_MS < event["occurred_at"] < END_MS and "event_id" in event:
        yield event


class TrackSegments(KeyedProcessFunction):  # type: ignore[misc]
    """Keeps a user in the segments that their events of the last ten days qualify them for."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

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
        at_ms = value["occurred_at"]
        hour = at_ms // HOUR_MS
        if self.ids.contains(value["event_id"]):
            return
        self.ids.put(value["event_id"], hour)
        counts = dict(self.counts.items())
        yield from self._expire(ctx.get_current_key(), counts, hour)
        attributes = value.get("attributes", {})
        for name, rule in self._rules.items():
            if value["type"] in rule.event_types:
                word = str(attributes.get(name) or NONE).strip().lower()
                key = f"{hour} {name}={SYNONYMS.get(word, word)}"
                counts[key] = counts.get(key, 0) + 1
                self.counts.put(key, counts[key])
        ctx.timer_service().register_event_time_timer((hour + WINDOW_HOURS) * HOUR_MS)
        yield from self._decide(ctx.get_current_key(), counts, at_ms)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        counts = dict(self.counts.items())
        yield from self._expire(ctx.get_current_key(), counts, timestamp // HOUR_MS)

    def _expire(self, user_id: str, counts: dict[str, int], hour: int) -> Iterator[str]:
        """Let the hours that the window has left behind go, one after the other."""
        for name, then in list(self.ids.items()):
            if then <= hour - DEDUPE_HOURS:
                self.ids.remove(name)
        gone = {name: int(name.split(" ", 1)[0]) + WINDOW_HOURS for name in counts}
        for leaves in sorted({leaves for leaves in gone.values() if leaves <= hour}):
            for name in [name for name in counts if gone[name] == leaves]:
                self.counts.remove(name)
                del counts[name]
            yield from self._decide(user_id, counts, leaves * HOUR_MS)

    def _decide(self, user_id: str, counts: dict[str, int], at_ms: int) -> Iterator[str]:
        views: Counter[str] = Counter()
        for name, count in counts.items():
            views[name.split(" ", 1)[1]] += count
        before = self.segments.value() or set()
        after = decide(before, views, self._rules)
        if after != before:
            self.segments.update(after)
            for change, segments in (("leave", before - after), ("enter", after - before)):
                for segment in sorted(segments):
                    fields = {"user_id": user_id, "segment": segment, "change": change, "at": at_ms}
                    yield json.dumps(fields)


def decide(before: set[str], views: Counter[str], rules: Rules) -> set[str]:
    """The segments that these counts keep the user in or take them into."""
    after = set()
    for attribute, rule in rules.items():
        mine = {name: n for name, n in views.items() if name.startswith(f"{attribute}=")}
        total = sum(mine.values())
        for name, count in mine.items():
            enough = rule.leave if name in before else rule.enter
            if name == f"{attribute}={NONE}":
                continue
            if total >= rule.views_min and count / total >= enough:
                after.add(name)
    return after


def track(events: DataStream, rules: Rules) -> DataStream:
    """The changes, as JSON, of a stream of parsed events with event time."""
    return events.key_by(lambda event: event["user_id"], key_type=Types.STRING()).process(
        TrackSegments(rules), output_type=Types.STRING()
    )


def main(log: str, out: str) -> None:
    """Run the log through the job and write the changes."""
    configuration = Configuration()
    configuration.set_string("python.executable", sys.executable)
    configuration.set_string("rest.bind-address", "127.0.0.1")
    configuration.set_string("rest.bind-port", "0")
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.set_parallelism(1)
    source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), log).build()
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(
        Duration.of_minutes(DISORDER_MINUTES)
    )
    events = (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "events")
        .flat_map(partial(parse, rules=RULES))
        .assign_timestamps_and_watermarks(watermarks.with_timestamp_assigner(EventTime()))
    )
    changes = track(events, RULES)
    changes.sink_to(FileSink.for_row_format(out, Encoder.simple_string_encoder()).build())
    env.execute("naive")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
