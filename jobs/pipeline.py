"""The pipeline, on one page, in the order of the data.

    events ──▶ keyed by user ──▶ TrackMembership ──▶ RouteOutputs ──▶ PublishSegments ──▶ the store
    rule sets ── broadcast ──────────┘                  ├──▶ changes
                                                        ├──▶ rejects
                                                        ├──▶ late events
                                                        └──▶ totals
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from pyflink.common import Types
from pyflink.datastream import DataStream

from jobs import operators
from jobs.keying import keyed_by_first
from schemas import routes
from schemas.rulesets import RuleSet
from schemas.segments import Publication
from udfs.flink.publish_segments import PublishSegments
from udfs.flink.route_outputs import PUBLICATION_TYPE, TAGS, RouteOutputs
from udfs.flink.track_membership import OUTPUT_TYPE, RULESETS_STATE, TrackMembership
from udfs.intake import Intake
from udfs.membership import Limits
from udfs.outbox import SegmentWriter

BYTES_TYPE = Types.PRIMITIVE_ARRAY(Types.BYTE())

# key, payload, partition, offset, and the epoch ms that a time in the future is judged against
RECORD_TYPE = Types.ROW([Types.STRING(), BYTES_TYPE, Types.INT(), Types.LONG(), Types.LONG()])
KEYED_RECORD_TYPE = Types.ROW([Types.STRING(), RECORD_TYPE])

Sink = Callable[[DataStream], None]


class Sources(NamedTuple):
    """Where records come from: (key, record) rows with watermarks, and rule sets as JSON text."""

    events: DataStream
    rulesets: DataStream


class Sinks(NamedTuple):
    """Where results go. Each takes a stream of JSON text, but for the store's writer."""

    open_writer: Callable[[], SegmentWriter]
    changes: Sink
    rejects: Sink
    late: Sink
    totals: Sink


class JobSettings(NamedTuple):
    """What the operators are made with. `run_end_ms` is None on endless input."""

    ruleset: RuleSet
    intake: Intake
    limits: Limits
    run_end_ms: int | None = None
    plain_keying: bool = False


def build_pipeline(sources: Sources, sinks: Sinks, settings: JobSettings) -> None:
    """Put the operators between the sources and the sinks."""
    bounded = settings.run_end_ms is not None

    events = keyed_by_first(sources.events, RECORD_TYPE, _key_of_record, settings.plain_keying)
    rulesets = sources.rulesets.broadcast(RULESETS_STATE)

    track = TrackMembership(
        settings.ruleset, settings.intake, settings.limits, settings.run_end_ms
    )
    decided = _named(
        events.connect(rulesets).process(track, OUTPUT_TYPE), operators.TRACK_MEMBERSHIP
    )

    routed = _named(decided.process(RouteOutputs(), PUBLICATION_TYPE), operators.ROUTE_OUTPUTS)
    sinks.changes(_side(routed, routes.CHANGE))
    sinks.rejects(_side(routed, routes.REJECT))
    sinks.late(_side(routed, routes.LATE))
    sinks.totals(_side(routed, routes.TOTALS))

    publications = keyed_by_first(routed, BYTES_TYPE, _key_of_publication, settings.plain_keying)
    publish = PublishSegments(sinks.open_writer, bounded)
    _named(publications.process(publish, Types.STRING()), operators.PUBLISH_SEGMENTS)


def _side(routed: Any, route: str) -> DataStream:
    """A side output. PyFlink puts an operator of its own behind each, which needs a uid too."""
    return _named(routed.get_side_output(TAGS[route]), operators.SIDE_OUTPUTS[route])


def _named(stream: Any, uid: str) -> Any:
    return stream.name(uid).uid(uid)


def _key_of_record(record: Any) -> str:
    return str(record[0])


def _key_of_publication(value: bytes) -> str:
    return msgspec.msgpack.decode(value, type=Publication).current.user_id
