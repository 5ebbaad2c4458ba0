"""How far one subtask of the job has come."""

import msgspec


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One subtask's word that it lives, and how far event time has come there.

    `watermark` is event time in epoch ms and `written_at` the subtask's wall clock in epoch ms. Of
    several parallelisms, the one written last counts: `subtask` is below `parallelism`.
    """

    subtask: int
    parallelism: int
    watermark: int
    ruleset_version: int
    written_at: int
