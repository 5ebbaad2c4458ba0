"""Sources and sinks of a bounded run: one file in, files out, in a mini cluster."""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from pyflink.common import Types
from pyflink.common.serialization import Encoder
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink
from pyflink.table import StreamTableEnvironment

from jobs import operators
from jobs.pipeline import KEYED_RECORD_TYPE, Sink, Sinks, Sources
from jobs.stores.sqlite_store import SqliteLocation
from schemas.rulesets import RuleSet
from udfs.intake import EARLIEST_EVENT_MS, Intake

# Records without a usable key would all meet in one; spread over these they do not.
KEYLESS_SPREAD = 32


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
    millis = f"TRY_CAST(JSON_VALUE(CAST(payload AS STRING), {_json_path(occurred_at)}) AS BIGINT)"
    latest_ms = now_ms + intake.future_skew_ms
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE view_events (
            payload BYTES,
            read_at AS PROCTIME(),
            event_time AS TO_TIMESTAMP_LTZ(CASE
                WHEN {millis} BETWEEN {EARLIEST_EVENT_MS} AND {latest_ms} THEN {millis}
                ELSE CAST(0 AS BIGINT) END, 3),
            WATERMARK FOR event_time AS event_time - {_interval(disorder_ms)}
        ) WITH ({_lines_of(files.events)})""")
    tables.execute_sql(
        f"CREATE TEMPORARY TABLE rulesets (document STRING) WITH ({_lines_of(files.rulesets)})"
    )
    # The running count is the line's number: one subtask reads the file, in order.
    events = tables.sql_query(f"""
        SELECT user_id, ROW(user_id, payload, 0, line, CAST({now_ms} AS BIGINT)) FROM (
            SELECT payload, line, COALESCE(
                JSON_VALUE(CAST(payload AS STRING), {_json_path(user_id)}),
                CONCAT('keyless-', CAST(MOD(line, {KEYLESS_SPREAD}) AS STRING))) AS user_id
            FROM (
                SELECT payload, COUNT(*) OVER (ORDER BY read_at
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS line
                FROM view_events))""")
    rulesets = tables.sql_query("SELECT document FROM rulesets")
    return Sources(
        _stream(tables, events, KEYED_RECORD_TYPE, operators.EVENTS_SOURCE),
        _stream(tables, rulesets, Types.ROW([Types.STRING()]), operators.RULESETS_SOURCE),
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


def _stream(tables: Any, table: Any, row_type: Any, uid: str) -> DataStream:
    stream = tables.to_append_stream(table, row_type)
    operators.name_table_operators(stream, uid)
    return stream


def _lines_to(folder: Path, uid: str) -> Sink:
    encoder = Encoder.simple_string_encoder()

    def sink(stream: DataStream) -> None:
        file_sink = FileSink.for_row_format(str(folder), encoder).build()
        stream.sink_to(file_sink).name(uid).uid(uid)

    return sink


def _lines_of(path: Path) -> str:
    """The connector's options for a file of lines."""
    return f"'connector' = 'filesystem', 'format' = 'raw', 'path' = {_quoted(path.as_uri())}"


def _interval(length_ms: int) -> str:
    """A length of time below 100 days as SQL writes it."""
    seconds, ms = divmod(length_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}' DAY TO SECOND(3)"


def _json_path(dotted: str) -> str:
    escaped = [name.replace("\\", "\\\\").replace("'", "\\'") for name in dotted.split(".")]
    return _quoted("$" + "".join(f"['{name}']" for name in escaped))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
