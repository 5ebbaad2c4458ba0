"""RouteOutputs: takes TrackMembership's one output apart.

TrackMembership cannot use side outputs itself: in thread mode Flink 2.2 passes over the side
outputs of a keyed broadcast function's timers.
"""

from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import OutputTag, ProcessFunction

from schemas import routes
from udfs.flink.own_code import OwnCode

TAGS = {
    route: OutputTag(route, Types.STRING()) for route in (routes.REJECT, routes.LATE, routes.TOTALS)
}


class RouteOutputs(OwnCode, ProcessFunction):
    """Changes go on as JSON text; everything else, as text too, to its side output."""

    def __init__(self, release: str = "") -> None:
        self.release = release

    def process_element(
        self, value: Row, _ctx: ProcessFunction.Context
    ) -> Iterator[str | tuple[OutputTag, str]]:
        route, _, payload = value
        if route == routes.CHANGE:
            yield payload.decode()
        else:
            yield TAGS[route], payload.decode()
