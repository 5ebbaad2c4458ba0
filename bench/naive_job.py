"""The peer: the same question as a first PyFlink job answers it, by the documentation's examples.

DataStream API, the default (process) execution mode, json in a Python map, a Python key, counts in
keyed state. It has no window, no dedupe, no store and no late events, all of which would cost it
time.
"""

import json
import sys
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

SHARE = 0.5
MIN_VIEWS = 5


def parse(line: str) -> Iterator[dict[str, Any]]:
    """The line's event if it is a view by a user."""
    try:
        event = json.loads(line)
    except ValueError:
        return
    if not isinstance(event, dict) or event.get("type") != "view":
        return
    if isinstance(event.get("user_id"), str) and isinstance(event.get("attributes"), dict):
        yield event


class TrackFuel(KeyedProcessFunction):  # type: ignore[misc]
    """Puts a user in the segment of the fuel type that is half of their views or more."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.counts = runtime_context.get_map_state(
            MapStateDescriptor("counts", Types.STRING(), Types.LONG())
        )
        self.total = runtime_context.get_state(ValueStateDescriptor("total", Types.LONG()))
        self.segment = runtime_context.get_state(ValueStateDescriptor("segment", Types.STRING()))

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[str]:
        fuel = str(value["attributes"].get("fuel_type")).strip().lower()
        total = (self.total.value() or 0) + 1
        count = (self.counts.get(fuel) or 0) + 1
        self.total.update(total)
        self.counts.put(fuel, count)
        before = self.segment.value() or ""
        held = before and self.counts.get(before) / total >= SHARE
        after = before if held else ""
        if total >= MIN_VIEWS and count / total >= SHARE:
            after = fuel
        if after != before:
            self.segment.update(after)
            yield json.dumps({"user_id": ctx.get_current_key(), "from": before, "to": after})


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
