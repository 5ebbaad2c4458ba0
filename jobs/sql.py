"""The Flink SQL that both kinds of source share, and tables turned into streams."""

from typing import Any

from pyflink.datastream import DataStream

from jobs import operators

# Records without a usable key would all meet in one; spread over these they do not.
KEYLESS_SPREAD = 32


def stream(tables: Any, table: Any, row_type: Any, uid: str) -> DataStream:
    """The stream of an append-only table, each operator behind it with its uid."""
    rows = tables.to_append_stream(table, row_type)
    operators.name_table_operators(rows, uid)
    return rows


def json_value(column: str, dotted: str) -> str:
    """The text at a dotted path in a column of JSON bytes; NULL where there is none."""
    return f"JSON_VALUE(CAST({column} AS STRING), {_json_path(dotted)})"


def millis_of(column: str, dotted: str) -> str:
    """The whole number at a dotted path in a column of JSON bytes; NULL where there is none."""
    return f"TRY_CAST({json_value(column, dotted)} AS BIGINT)"


def keyless_key(number: str) -> str:
    """A key for a record that has none of its own."""
    return f"CONCAT('keyless-', CAST(MOD({number}, {KEYLESS_SPREAD}) AS STRING))"


def interval(length_ms: int) -> str:
    """A length of time below 100 days."""
    seconds, ms = divmod(length_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}' DAY TO SECOND(3)"


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def options(values: dict[str, object]) -> str:
    """A connector's options, as WITH takes them."""
    return ", ".join(f"{quoted(name)} = {quoted(str(value))}" for name, value in values.items())


def _json_path(dotted: str) -> str:
    escaped = [name.replace("\\", "\\\\").replace("'", "\\'") for name in dotted.split(".")]
    return quoted("$" + "".join(f"['{name}']" for name in escaped))
