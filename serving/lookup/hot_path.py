"""The way past the web framework for the one request that must be quick."""

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from serving.lookup.lookups import Lookups

PREFIX, SUFFIX = "/v1/users/", "/segments"
USER_ID_MAX = 256
_AROUND = len(PREFIX) + len(SUFFIX)


class LookupApp(FastAPI):
    """Answers a good GET of one user's segments itself and leaves everything else to the framework.

    Routing, validation and the layers around them cost more than the answer. What is answered here
    is what the documented operation answers: both call the same function. `lookups` is set when the
    app starts.
    """

    lookups: Lookups

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the framework."""
        if scope["type"] == "http" and scope["method"] == "GET":
            path: str = scope["path"]
            length = len(path) - _AROUND
            if 0 < length <= USER_ID_MAX and path.startswith(PREFIX) and path.endswith(SUFFIX):
                user_id = path[len(PREFIX) : -len(SUFFIX)]
                response = await self.lookups.respond(user_id, scope["headers"])
                await response(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
