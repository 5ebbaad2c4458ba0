"""The peer: the same question as a first PyFlink job answers it, by the documentation's examples.

DataStream API, the default (process) execution mode, json in a Python map, a Python key, counts of
each hour in a MapState, those of the last ten days added up for an event. It has no expiry without
an event, no dedupe, no store, no late events and one rule of two, all of which would cost it time.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import Encoder
from pyflink.datastream import (
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.file_system import FileSink, FileSource, StreamFormat
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

ENTER = 0.5
LEAVE = 0.4
MIN_VIEWS = 5
HOUR_MS = 3_600_000
WINDOW_HOURS = 240


def parse(line: str) -> Iterator[dict[str, Any]]:
    """The line's event if it is a view by a user."""
    try:
        event = json.loads(line)
    except ValueError:
        return
    if not isinstance(event, dict) or event.get("type") != "view":
        return
    usable = isinstance(event.get("user_id"), str) and isinstance(event.get("occurred_at"), int)
    if usable and isinstance(event.get("attributes"), dict):
        yield event


class TrackFuel(KeyedProcessFunction):  # type: ignore[misc]
    """Keeps a user in the segment of the fuel type that is half of their views of ten days."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.counts = runtime_context.get_map_state(
            MapStateDescriptor("counts", Types.STRING(), Types.LONG())
        )
        self.segment = runtime_context.get_state(ValueStateDescriptor("segment", Types.STRING()))

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[str]:
        hour = value["occurred_at"] // HOUR_MS
        seen = str(value["attributes"].get("fuel_type")).strip().lower()
        key = f"{hour} {seen}"
        self.counts.put(key, (self.counts.get(key) or 0) + 1)
        views: Counter[str] = Counter()
        for name, count in list(self.counts.items()):
            then, fuel = name.split(" ", 1)
            if int(then) <= hour - WINDOW_HOURS:
                self.counts.remove(name)
            else:
                views[fuel] += count
        before = self.segment.value() or ""
        after = decide(before, views)
        if after != before:
            self.segment.update(after)
            yield json.dumps({"user_id": ctx.get_current_key(), "from": before, "to": after})


def decide(before: str, views: Counter[str]) -> str:
    """The fuel type whose segment the user is in now; empty for none."""
    total = views.total()
    if total < MIN_VIEWS:
        return ""
    fuel, most = views.most_common(1)[0]
    if most / total >= ENTER:
        return fuel
    return before if before and views[before] / total >= LEAVE else ""


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
        .key_by(lambda event: event["user_id"], key_type=Types.STRING())
        .process(TrackFuel(), output_type=Types.STRING())
    )
    changes.sink_to(FileSink.for_row_format(out, Encoder.simple_string_encoder()).build())
    env.execute("naive")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
