"""The uid of every operator. Append only: state in a savepoint is found by uid, so a uid that is
renamed or given to another operator loses or swaps state.
"""

import re
from collections import Counter
from typing import Any

TRACK_MEMBERSHIP = "track-membership"
ROUTE_OUTPUTS = "route-outputs"
CHANGES_SINK = "segment-changes"
REJECTS_SINK = "rejects"
LATE_SINK = "late-events"
TOTALS_SINK = "run-totals"
EVENTS_SOURCE = "view-events"
RULESETS_SOURCE = "rulesets"
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
)

_POSITION = re.compile(r"\[\d+\]")


def name_table_operators(stream: Any, prefix: str) -> list[str]:
    """Give every operator behind a stream that came from a table a uid of its own.

    The planner gives none, and the ones it can generate depend on the order in which tables are
    declared. These are the operator's kind behind `prefix`, numbered from the sink towards the
    source where a kind occurs twice. Returns the uids, sorted.
    """
    uids: list[str] = []
    kinds: Counter[str] = Counter()
    seen: set[int] = set()
    waiting = [stream._j_data_stream.getTransformation()]
    while waiting:
        transformation = waiting.pop(0)
        if transformation.getId() in seen:
            continue
        seen.add(transformation.getId())
        kind = _POSITION.sub("", transformation.getName()).split(":")[0].strip().lower()
        kinds[kind] += 1
        uid = f"{prefix}/{kind}" + (f"-{kinds[kind]}" if kinds[kind] > 1 else "")
        transformation.setUid(uid)
        uids.append(uid)
        waiting.extend(transformation.getInputs())
    return sorted(uids)
