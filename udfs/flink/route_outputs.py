"""RouteOutputs: takes TrackMembership's one output apart.

TrackMembership cannot use side outputs itself: in thread mode Flink 2.2 passes over the side
outputs of a keyed broadcast function's timers.
"""

from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import OutputTag, ProcessFunction

from schemas import routes

PUBLICATION_TYPE = Types.ROW([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])

TAGS = {
    route: OutputTag(route, Types.STRING())
    for route in (routes.CHANGE, routes.REJECT, routes.LATE, routes.TOTALS)
}


class RouteOutputs(ProcessFunction):  # type: ignore[misc]
    """Publications go on as (user id, bytes) rows; everything else, as text, to its side output."""

    def process_element(
        self, value: Row, _ctx: ProcessFunction.Context
    ) -> Iterator[Row | tuple[OutputTag, str]]:
        route, user_id, payload = value
        if route == routes.PUBLICATION:
            yield Row(user_id, payload)
        else:
            yield TAGS[route], payload.decode()
