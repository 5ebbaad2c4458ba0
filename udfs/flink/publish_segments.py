"""PublishSegments: the outbox, keyed by user."""

from collections.abc import Callable, Iterator

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from schemas.segments import Publication
from udfs.flink.track_membership import END_OF_INPUT_MS
from udfs.outbox import SegmentWriter, Step, decode_outbox, encode_outbox, look, put

_decode = msgspec.msgpack.Decoder(Publication).decode


class PublishSegments(KeyedProcessFunction):  # type: ignore[misc]
    """Keeps each user's latest set in state until the store has it. Puts nothing out.

    Input is the bytes of a Publication. `open_writer` is called once a subtask.
    `bounded` makes the end of the input wait for the store, so that a run that ends well has
    stored everything, and one whose store failed fails.
    """

    def __init__(self, open_writer: Callable[[], SegmentWriter], bounded: bool = False) -> None:
        self._open_writer = open_writer
        self._bounded = bounded

    def open(self, runtime_context: RuntimeContext) -> None:
        descriptor = ValueStateDescriptor("outbox", Types.PICKLED_BYTE_ARRAY())
        self._state = runtime_context.get_state(descriptor)
        self._writer = self._open_writer()
        self._ticket = 0
        self._end_awaited = not self._bounded

    def close(self) -> None:
        if hasattr(self, "_writer"):
            self._writer.close()

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        if not self._end_awaited:
            ctx.timer_service().register_event_time_timer(END_OF_INPUT_MS)
            self._end_awaited = True
        now_ms = ctx.timer_service().current_processing_time()
        # Tickets rise over runs too, so that one restored with its set stays below a later one.
        self._ticket = max(self._ticket + 1, now_ms * 1000)
        stored = self._state.value()
        pending = None if stored is None else decode_outbox(stored)
        self._apply(put(pending, _decode(value), self._ticket, now_ms), ctx)
        yield from ()

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        if timestamp == END_OF_INPUT_MS:
            self._writer.flush()
            return
        stored = self._state.value()
        if stored is not None:
            pending = decode_outbox(stored)
            now_ms = ctx.timer_service().current_processing_time()
            stored_ticket = self._writer.stored(pending.current.user_id)
            self._apply(look(pending, stored_ticket, now_ms), ctx)
        yield from ()

    def _apply(self, step: Step, ctx: KeyedProcessFunction.Context) -> None:
        if step.outbox is None:
            self._state.clear()
            return
        if step.send:
            publication = Publication(step.outbox.current, step.outbox.changes)
            self._writer.send(step.outbox.ticket, publication)
        self._state.update(encode_outbox(step.outbox))
        if step.wake_at_ms is not None:
            ctx.timer_service().register_processing_time_timer(step.wake_at_ms)
