"""The lookup's ceiling: uvicorn answering every request with one constant JSON body.

Started as `python -m bench.bare_asgi BODY_BYTES`, with the settings that `segstream serve` has.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]


class Constant:
    """An ASGI app without routes, state or thought."""

    def __init__(self, body_bytes: int) -> None:
        self._body = b'{"padding":"' + b"x" * (body_bytes - 14) + b'"}'
        self._headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._body)).encode()),
        ]

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


if __name__ == "__main__":
    uvicorn.run(Constant(int(sys.argv[1])), host="127.0.0.1", port=0, access_log=False)
