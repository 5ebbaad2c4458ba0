"""What may be set about a lookup server."""

from typing import NamedTuple


class LookupSettings(NamedTuple):
    """How old an answer may be, how long who waits, and when the job counts as dead.

    A user's set is asked for again `fresh_seconds` after it was. A caller waits `deadline_seconds`
    for that; the question itself may take `read_seconds` and then serves the callers that come
    later. Progress is asked for every `progress_seconds`.
    """

    fresh_seconds: float = 0.25
    deadline_seconds: float = 0.05
    read_seconds: float = 0.2
    users_max: int = 100_000
    progress_seconds: float = 1.0
    job_dead_after_seconds: float = 10.0
