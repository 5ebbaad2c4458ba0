"""PublishSegments: sends what a user's outbox holds. It lives in TrackMembership's operator."""

from schemas.segments import Publication
from schemas.state import Profile
from udfs.membership import published_set
from udfs.outbox import SegmentWriter, Step, look, put


class PublishSegments:
    """Keeps each user's latest set pending until the store has it.

    Times are epoch ms of the wall clock. The caller keeps the profile and sets the timer.
    """

    def __init__(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self._ticket = 0

    def put(self, profile: Profile, publication: Publication, now_ms: int) -> Step:
        """Take a user's new set and send it."""
        # Tickets rise over runs too, so that a set restored from an earlier one stays below.
        self._ticket = max(self._ticket + 1, now_ms * 1000)
        step = put(profile, publication, self._ticket, now_ms)
        self._send(publication.current.user_id, profile)
        return step

    def look(self, user_id: str, profile: Profile, now_ms: int) -> Step:
        """See whether a user's set has arrived, and send it again if it is overdue."""
        step = look(user_id, profile, self._writer.stored(user_id), now_ms)
        if step.send:
            self._send(user_id, profile)
        return step

    def _send(self, user_id: str, profile: Profile) -> None:
        outbox = profile.outbox
        if outbox is not None:
            pending = Publication(published_set(user_id, profile), tuple(outbox.changes))
            self._writer.send(outbox.ticket, pending)
