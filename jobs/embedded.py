"""Sources and sinks of a bounded run: one file in, files out, in a mini cluster."""

from pathlib import Path
from typing import NamedTuple

import msgspec
from pyflink.common import Types
from pyflink.common.serialization import Encoder
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink
from pyflink.table import StreamTableEnvironment

from jobs import operators, sql
from jobs.pipeline import KEYED_RECORD_TYPE, Sink, Sinks, Sources
from jobs.stores.sqlite_store import SqliteLocation
from schemas.rulesets import RuleSet
from udfs.intake import EARLIEST_EVENT_MS, Intake


class RunFiles(NamedTuple):
    """The files of one run. All but `events` lie in the run's temporary folder."""

    events: Path
    rulesets: Path
    store: Path
    changes: Path
    rejects: Path
    late: Path
    totals: Path


def file_sources(
    env: StreamExecutionEnvironment, files: RunFiles, intake: Intake, disorder_ms: int, now_ms: int
) -> Sources:
    """Read events, one JSON object a line (.gz too), and rule sets, one a line.

    The key and the time are found in the JVM. A record whose time is absent or cannot be believed
    does not move event time.
    """
    tables = StreamTableEnvironment.create(env)
    mapping = intake.mapping
    user_id = mapping.source_of("user_id") if mapping else "user_id"
    occurred_at = mapping.source_of("occurred_at") if mapping else "occurred_at"
    millis = sql.millis_of("payload", occurred_at)
    latest_ms = now_ms + intake.future_skew_ms
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE view_events (
            payload BYTES,
            read_at AS PROCTIME(),
            event_time AS TO_TIMESTAMP_LTZ(CASE
                WHEN {millis} BETWEEN {EARLIEST_EVENT_MS} AND {latest_ms} THEN {millis}
                ELSE CAST(0 AS BIGINT) END, 3),
            WATERMARK FOR event_time AS event_time - {sql.interval(disorder_ms)}
        ) WITH ({_lines_of(files.events)})""")
    tables.execute_sql(
        f"CREATE TEMPORARY TABLE rulesets (document STRING) WITH ({_lines_of(files.rulesets)})"
    )
    # The running count is the line's number: one subtask reads the file, in order.
    events = tables.sql_query(f"""
        SELECT user_id, ROW(user_id, payload, line, CAST({now_ms} AS BIGINT)) FROM (
            SELECT payload, line, COALESCE(
                {sql.json_value("payload", user_id)},
                {sql.keyless_key("line")}) AS user_id
            FROM (
                SELECT payload, COUNT(*) OVER (ORDER BY read_at
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS line
                FROM view_events))""")
    rulesets = tables.sql_query("SELECT document FROM rulesets")
    return Sources(
        sql.stream(tables, events, KEYED_RECORD_TYPE, operators.EVENTS_SOURCE),
        sql.stream(tables, rulesets, Types.ROW([Types.STRING()]), operators.RULESETS_SOURCE),
    )


def file_sinks(files: RunFiles) -> Sinks:
    """Write results as lines under the run's temporary folder, and the set to a SQLite store."""
    return Sinks(
        open_writer=SqliteLocation(files.store),
        changes=_lines_to(files.changes, operators.CHANGES_SINK),
        rejects=_lines_to(files.rejects, operators.REJECTS_SINK),
        late=_lines_to(files.late, operators.LATE_SINK),
        totals=_lines_to(files.totals, operators.TOTALS_SINK),
    )


def write_rulesets(path: Path, ruleset: RuleSet) -> None:
    """Write the rule set stream of a run: the one rule set it is submitted with."""
    path.write_bytes(msgspec.json.encode(ruleset) + b"\n")


def _lines_to(folder: Path, uid: str) -> Sink:
    encoder = Encoder.simple_string_encoder()

    def sink(stream: DataStream) -> None:
        file_sink = FileSink.for_row_format(str(folder), encoder).build()
        stream.sink_to(file_sink).name(uid).uid(uid)

    return sink


def _lines_of(path: Path) -> str:
    """The connector's options for a file of lines."""
    return f"'connector' = 'filesystem', 'format' = 'raw', 'path' = {sql.quoted(path.as_uri())}"
