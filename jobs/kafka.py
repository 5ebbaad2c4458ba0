"""Sources and sinks of a job on a cluster: topics in, topics out, and a clock."""

from typing import Any

from pyflink.common import Duration, Types, WatermarkStrategy
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs import operators, sql
from jobs.config import JobConfig
from jobs.pipeline import KEYED_RECORD_TYPE, Sink, Sinks, Sources
from jobs.stores.cassandra_store import CassandraLocation
from schemas import topics
from schemas.durations import SECOND_MS
from schemas.places import COMMANDS_FROM, OFFSET_BITS
from udfs.intake import EARLIEST_EVENT_MS, Intake

CONTROL_TYPE = Types.ROW([Types.STRING()])
CONTROL_IDLE_MS = SECOND_MS

# The place of a record as schemas.places has it.
_PLACE = f"CAST(`partition` AS BIGINT) * {1 << OFFSET_BITS} + `offset`"
_APPENDED_MS = "(EXTRACT(EPOCH FROM appended) * 1000 + EXTRACT(MILLISECOND FROM appended))"
_RECORD = """
    record_key STRING,
    payload BYTES,
    `partition` INT METADATA VIRTUAL,
    `offset` BIGINT METADATA VIRTUAL,
    appended TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL"""
# Event time that never moves: a topic with it is to be idle as soon as nothing comes from it.
_NO_TIME = "at_rest AS TO_TIMESTAMP_LTZ(0, 3), WATERMARK FOR at_rest AS at_rest"


def kafka_sources(env: StreamExecutionEnvironment, config: JobConfig, intake: Intake) -> Sources:
    """Read events and commands as one stream, and rule sets with the clock's ticks as another.

    Keys and times are found in the JVM: the key is the record's own where it has one. A time that
    is absent or cannot be believed does not move event time.
    """
    tables = StreamTableEnvironment.create(env)
    events = _view_events(tables, config, intake)
    commands = _user_commands(tables, config)
    rulesets = _rulesets(tables, config)
    return Sources(events.union(commands), rulesets.union(_clock(tables, config)))


def kafka_sinks(env: StreamExecutionEnvironment, config: JobConfig) -> Sinks:
    """Write each output to its topic, exactly once, and the sets to the store."""
    store = config.store
    return Sinks(
        open_writer=None if store is None else CassandraLocation(store),
        changes=_topic_sink(env, config, topics.SEGMENT_CHANGES, operators.CHANGES_SINK, "user_id"),
        rejects=_topic_sink(env, config, topics.REJECTS, operators.REJECTS_SINK),
        late=_topic_sink(env, config, topics.LATE_EVENTS, operators.LATE_SINK),
        totals=None,
    )


def _view_events(tables: Any, config: JobConfig, intake: Intake) -> DataStream:
    millis = sql.millis_of("payload", "occurred_at")
    latest_ms = f"{_APPENDED_MS} + {intake.future_skew_ms}"
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE view_events ({_RECORD},
            event_time AS TO_TIMESTAMP_LTZ(CASE
                WHEN {millis} BETWEEN {EARLIEST_EVENT_MS} AND {latest_ms} THEN {millis}
                ELSE CAST(0 AS BIGINT) END, 3),
            WATERMARK FOR event_time AS event_time - {sql.interval(config.disorder_ms)}
        ) WITH ({_records_of(config, topics.VIEW_EVENTS, config.idle_ms)})""")
    return _keyed(tables, "view_events", _PLACE, operators.EVENTS_SOURCE)


def _user_commands(tables: Any, config: JobConfig) -> DataStream:
    options = _records_of(config, topics.USER_COMMANDS, CONTROL_IDLE_MS)
    tables.execute_sql(
        f"CREATE TEMPORARY TABLE user_commands ({_RECORD}, {_NO_TIME}) WITH ({options})"
    )
    place = f"{_PLACE} + {COMMANDS_FROM}"
    return _keyed(tables, "user_commands", place, operators.COMMANDS_SOURCE)


def _rulesets(tables: Any, config: JobConfig) -> DataStream:
    options = {**_topic(config, topics.RULESETS), **_read(CONTROL_IDLE_MS)}
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE rulesets (document STRING, {_NO_TIME})
        WITH ({sql.options({**options, "format": "raw"})})""")
    rows = tables.sql_query("SELECT document FROM rulesets WHERE document IS NOT NULL")
    return sql.stream(tables, rows, CONTROL_TYPE, operators.RULESETS_SOURCE)


def _clock(tables: Any, config: JobConfig) -> DataStream:
    """A row of NULL each second, which moves event time where the job goes by the wall clock."""
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE clock (
            number BIGINT, now AS CURRENT_TIMESTAMP,
            WATERMARK FOR now AS now - {sql.interval(config.disorder_ms)}
        ) WITH ('connector' = 'datagen', 'rows-per-second' = '1', 'scan.parallelism' = '1')""")
    rows = tables.sql_query("SELECT CAST(NULL AS STRING) FROM clock")
    ticks = sql.stream(tables, rows, CONTROL_TYPE, operators.CLOCK_SOURCE)
    if config.clock == "wall":
        return ticks
    idle = WatermarkStrategy.no_watermarks().with_idleness(Duration.of_millis(1))
    at_rest = ticks.assign_timestamps_and_watermarks(idle)
    return at_rest.name(operators.CLOCK_AT_REST).uid(operators.CLOCK_AT_REST)


def _keyed(tables: Any, table: str, place: str, uid: str) -> DataStream:
    rows = tables.sql_query(f"""
        SELECT user_id, ROW(user_id, COALESCE(payload, X''), {place}, {_APPENDED_MS}) FROM (
            SELECT *, CASE WHEN CHAR_LENGTH(record_key) > 0 THEN record_key
                ELSE COALESCE({sql.json_value("payload", "user_id")},
                    {sql.keyless_key("`offset`")}) END AS user_id
            FROM {table})""")
    return sql.stream(tables, rows, KEYED_RECORD_TYPE, uid)


def _topic_sink(
    env: StreamExecutionEnvironment, config: JobConfig, topic: str, uid: str, key: str | None = None
) -> Sink:
    """A sink of JSON text. `key` is the field of it that becomes the record's key."""
    columns = "document STRING" if key is None else "record_key STRING, document STRING"
    found = "document" if key is None else f"JSON_VALUE(document, '$.{key}'), document"
    table = topic.replace("-", "_")
    options = {
        **_topic(config, topic),
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": f"segstream-{topic}",
        "properties.transaction.timeout.ms": config.transaction_ms,
        "properties.linger.ms": 100,
    }
    if key is not None:
        options |= {"key.format": "raw", "key.fields": "record_key"}

    def sink(stream: DataStream) -> None:
        tables = StreamTableEnvironment.create(env)
        documents = tables.from_data_stream(stream).alias("document")
        tables.create_temporary_view(f"{table}_documents", documents)
        tables.execute_sql(
            f"CREATE TEMPORARY TABLE {table} ({columns}) WITH ({sql.options(options)})"
        )
        statements = tables.create_statement_set()
        statements.add_insert_sql(f"INSERT INTO {table} SELECT {found} FROM {table}_documents")
        with operators.named_as_added(env, uid):
            statements.attach_as_datastream()

    return sink


def _records_of(config: JobConfig, topic: str, idle_ms: int | None) -> str:
    """The options of a topic of keyed records."""
    return sql.options(
        {
            **_topic(config, topic),
            **_read(idle_ms),
            "key.format": "raw",
            "key.fields": "record_key",
            "value.format": "raw",
            "value.fields-include": "EXCEPT_KEY",
        }
    )


def _topic(config: JobConfig, topic: str) -> dict[str, object]:
    return {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": config.bootstrap,
    }


def _read(idle_ms: int | None) -> dict[str, object]:
    idle = {} if idle_ms is None else {"scan.watermark.idle-timeout": f"{idle_ms} ms"}
    return {
        "properties.group.id": "segstream",
        "scan.startup.mode": "earliest-offset",
        **idle,
    }
