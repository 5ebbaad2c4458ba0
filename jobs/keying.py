"""Keying in the JVM. The one module that leans on PyFlink's internals.

`DataStream.key_by` runs a Python function for each record only to read its key. Where the rows
already are (key, value), this asks Flink's own KeyByKeySelector for the first field instead, so
that an event costs one Python call and not two.
"""

from collections.abc import Callable
from typing import Any

from pyflink.common import Types
from pyflink.datastream import DataStream, KeyedStream
from pyflink.java_gateway import get_gateway


def keyed_by_first(
    rows: DataStream, value_type: Any, key_of: Callable[[Any], str], uid: str, plain: bool = False
) -> KeyedStream:
    """Key a stream of (key STRING, value) rows by the key; functions are given the value alone.

    Where this PyFlink does not have the selector, or `plain` is set, `key_of` finds the key in the
    value, in Python; the two operators that this takes get uids behind `uid`.
    """
    selector = None if plain else _selector()
    if selector is None:
        keyed = rows.map(_value, value_type).uid(f"{uid}/value").key_by(key_of, Types.STRING())
        keyed._j_data_stream.getTransformation().getInputs().get(0).setUid(f"{uid}/key")
        return keyed
    key_type = Types.ROW([Types.STRING()]).get_java_type_info()
    return KeyedStream(rows._j_data_stream.keyBy(selector, key_type), value_type, rows)


def _selector() -> Any:
    """Flink's selector of the first field; None where there is no such class."""
    try:
        functions = get_gateway().jvm.org.apache.flink.streaming.api.functions.python
        return functions.KeyByKeySelector()
    except TypeError:
        return None


def _value(row: Any) -> Any:
    return row[1]
