"""The uid of every operator. Append only: state in a savepoint is found by uid, so a uid that is
renamed or given to another operator loses or swaps state.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRACK_MEMBERSHIP = "track-membership"
ROUTE_OUTPUTS = "route-outputs"
CHANGES_SINK = "segment-changes"
REJECTS_SINK = "rejects"
LATE_SINK = "late-events"
TOTALS_SINK = "run-totals"
EVENTS_SOURCE = "view-events"
RULESETS_SOURCE = "rulesets"
COMMANDS_SOURCE = "user-commands"
CLOCK_SOURCE = "clock"
CLOCK_AT_REST = "clock-at-rest"
SIDE_OUTPUTS = {route: f"side-output-{route}" for route in ("reject", "late", "totals")}

ALL = (
    TRACK_MEMBERSHIP,
    ROUTE_OUTPUTS,
    CHANGES_SINK,
    REJECTS_SINK,
    LATE_SINK,
    TOTALS_SINK,
    EVENTS_SOURCE,
    RULESETS_SOURCE,
    *SIDE_OUTPUTS.values(),
    COMMANDS_SOURCE,
    CLOCK_SOURCE,
    CLOCK_AT_REST,
)

# The planner's numbers, which tell in which order tables were declared: calc[2], *source$1*.
_POSITION = re.compile(r"\[\d+\]|\$\d+|\*")


def name_table_operators(stream: Any, prefix: str) -> list[str]:
    """Give every operator behind a stream that came from a table a uid of its own.

    The planner gives none, and the ones it can generate depend on the order in which tables are
    declared. These are the operator's kind behind `prefix`, numbered from the sink towards the
    source where a kind occurs twice. Returns the uids, sorted.
    """
    return _name_behind(stream._j_data_stream.getTransformation(), prefix)


@contextmanager
def named_as_added(env: Any, prefix: str) -> Iterator[None]:
    """Give every operator that is added to the environment meanwhile a uid of its own.

    A table written to has no stream to start from: its operators hang off the environment.
    """
    added = env._j_stream_execution_environment.getTransformations()
    before = added.size()
    yield
    for index in range(before, added.size()):
        _name_behind(added.get(index), prefix)


def _name_behind(transformation: Any, prefix: str) -> list[str]:
    uids: list[str] = []
    kinds: Counter[str] = Counter()
    seen: set[int] = set()
    waiting = [transformation]
    while waiting:
        transformation = waiting.pop(0)
        if transformation.getId() in seen or transformation.getUid() is not None:
            continue
        seen.add(transformation.getId())
        kind = _POSITION.sub("", transformation.getName()).split(":")[0].strip().lower()
        kinds[kind] += 1
        uid = f"{prefix}/{kind}" + (f"-{kinds[kind]}" if kinds[kind] > 1 else "")
        transformation.setUid(uid)
        uids.append(uid)
        waiting.extend(transformation.getInputs())
    return sorted(uids)
