"""A command: something the operators of the system ask for one user, on the topic user-commands."""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.events import UserId

COMMAND_VERSION = 1
READABLE_COMMAND_VERSIONS = (1,)


class Republish(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="command", tag="republish", gc=False
):
    """Write the user's whole set to the store again, whether or not it has changed.

    `issued_at` is epoch milliseconds by the clock of whoever asks.
    """

    command_id: Annotated[str, Meta(min_length=1, max_length=128)]
    user_id: UserId
    issued_at: int
    schema_version: int = COMMAND_VERSION


Command = Republish
