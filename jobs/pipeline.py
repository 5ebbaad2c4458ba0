"""The pipeline, on one page, in the order of the data.

events, commands ──▶ keyed by user ──▶ TrackMembership ─────▶ PublishSegments ──▶ the store
rule sets, clock ──── broadcast ───────────┘      └──▶ RouteOutputs ──▶ changes
                                                            ├──▶ rejects
                                                            ├──▶ late events
                                                            └──▶ totals
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from pyflink.common import Types
from pyflink.datastream import DataStream

from jobs import operators
from jobs.keying import keyed_by_first
from schemas import routes
from schemas.rulesets import RuleSet
from udfs.flink.route_outputs import TAGS, RouteOutputs
from udfs.flink.track_membership import OUTPUT_TYPE, RULESETS_STATE, TrackMembership
from udfs.intake import Intake
from udfs.membership import Limits
from udfs.outbox import SegmentWriter

BYTES_TYPE = Types.PRIMITIVE_ARRAY(Types.BYTE())

# key, payload, place, and the epoch ms that a time in the future is judged against
RECORD_TYPE = Types.ROW([Types.STRING(), BYTES_TYPE, Types.LONG(), Types.LONG()])
KEYED_RECORD_TYPE = Types.ROW([Types.STRING(), RECORD_TYPE])

Sink = Callable[[DataStream], None]


class Sources(NamedTuple):
    """Where records come from: (key, record) rows with watermarks, and what every subtask is told.

    `events` holds commands too. `control` has a rule set as JSON text in each row, or NULL for a
    tick of the clock.
    """

    events: DataStream
    control: DataStream


class Sinks(NamedTuple):
    """Where results go. Each takes a stream of JSON text, but for the store's writer.

    `open_writer` is None where sets are not stored, `totals` where the input has no end.
    """

    open_writer: Callable[[], SegmentWriter] | None
    changes: Sink
    rejects: Sink
    late: Sink
    totals: Sink | None


class JobSettings(NamedTuple):
    """What the operators are made with.

    `run_end_ms` is None on endless input; `release` is the SHA-256 of the wheel on a cluster.
    """

    ruleset: RuleSet
    intake: Intake
    limits: Limits
    run_end_ms: int | None = None
    plain_keying: bool = False
    release: str = ""


def build_pipeline(sources: Sources, sinks: Sinks, settings: JobSettings) -> None:
    """Put the operators between the sources and the sinks."""
    events = keyed_by_first(
        sources.events,
        RECORD_TYPE,
        _key_of_record,
        operators.EVENTS_SOURCE,
        settings.plain_keying,
    )
    control = sources.control.broadcast(RULESETS_STATE)

    track = TrackMembership(
        settings.ruleset,
        settings.intake,
        settings.limits,
        sinks.open_writer,
        settings.run_end_ms,
        settings.release,
    )
    decided = _named(
        events.connect(control).process(track, OUTPUT_TYPE), operators.TRACK_MEMBERSHIP
    )

    changes = _named(
        decided.process(RouteOutputs(settings.release), Types.STRING()), operators.ROUTE_OUTPUTS
    )
    sinks.changes(changes)
    sinks.rejects(_side(changes, routes.REJECT))
    sinks.late(_side(changes, routes.LATE))
    if sinks.totals is not None:
        sinks.totals(_side(changes, routes.TOTALS))


def _side(routed: Any, route: str) -> DataStream:
    """A side output. PyFlink puts an operator of its own behind each, which needs a uid too."""
    return _named(routed.get_side_output(TAGS[route]), operators.SIDE_OUTPUTS[route])


def _named(stream: Any, uid: str) -> Any:
    return stream.name(uid).uid(uid)


def _key_of_record(record: Any) -> str:
    return str(record[0])
