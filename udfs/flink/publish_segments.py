"""PublishSegments: the outbox in keyed state. It lives in TrackMembership's operator."""

from pyflink.common import Types
from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from schemas.segments import Publication
from udfs.outbox import SegmentWriter, Step, decode_outbox, encode_outbox, look, put


class PublishSegments:
    """Keeps each user's latest set in state until the store has it."""

    def __init__(self, runtime_context: RuntimeContext, writer: SegmentWriter) -> None:
        descriptor = ValueStateDescriptor("outbox", Types.PICKLED_BYTE_ARRAY())
        self._state = runtime_context.get_state(descriptor)
        self._writer = writer
        self._ticket = 0

    def put(
        self, publication: Publication, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext
    ) -> None:
        """Take the current user's new set and send it."""
        now_ms = ctx.timer_service().current_processing_time()
        # Tickets rise over runs too, so that a set restored from an earlier one stays below.
        self._ticket = max(self._ticket + 1, now_ms * 1000)
        stored = self._state.value()
        pending = None if stored is None else decode_outbox(stored)
        self._apply(put(pending, publication, self._ticket, now_ms), ctx)

    def look(self, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> None:
        """See whether the current user's set has arrived, and send it again if it is overdue."""
        stored = self._state.value()
        if stored is not None:
            pending = decode_outbox(stored)
            now_ms = ctx.timer_service().current_processing_time()
            stored_ticket = self._writer.stored(pending.current.user_id)
            self._apply(look(pending, stored_ticket, now_ms), ctx)

    def flush(self) -> None:
        """Wait until the store has everything that was sent.

        Raises:
            StoreWriteError: it has not.
        """
        self._writer.flush()

    def close(self) -> None:
        """Let go of the store."""
        self._writer.close()

    def _apply(self, step: Step, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        if step.outbox is None:
            self._state.clear()
            return
        if step.send:
            publication = Publication(step.outbox.current, step.outbox.changes)
            self._writer.send(step.outbox.ticket, publication)
        self._state.update(encode_outbox(step.outbox))
        if step.wake_at_ms is not None:
            ctx.timer_service().register_processing_time_timer(step.wake_at_ms)
