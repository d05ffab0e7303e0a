"""Faults on demand, for tests: slow answers, 429, 500, dropped connections. Only there when the server is
told so.

``POST /_faults`` with ``{"path": "insertFiles", "status": 429, "times": 3}`` makes the next three requests
whose path contains the text fail. ``status`` may be any HTTP status, ``"drop"`` (no answer; ``"drop-after"``:
the request is carried out first) or ``"delay"`` with ``seconds``. ``DELETE /_faults`` forgets them all.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from madhatter_provider.local.snowflake.rest import error

PATH = "/_faults"


@dataclass(slots=True)
class Fault:
    """One fault. ``times`` counts down; ``seconds`` delays the answer."""

    path: str
    status: int | str
    times: int = 1
    seconds: float = 0.0


class Faults:
    """ASGI middleware that fails requests as it was told to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._faults: list[Fault] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == PATH:
            await (await self._admin(Request(scope, receive)))(scope, receive, send)
            return
        fault = next((f for f in self._faults if f.path in scope["path"] and f.times > 0), None)
        if fault is None:
            await self._app(scope, receive, send)
            return
        fault.times -= 1
        await asyncio.sleep(fault.seconds)
        if fault.status == "delay":
            await self._app(scope, receive, send)
        elif fault.status == "drop":
            await _break_off(send)
        elif fault.status == "drop-after":
            await self._app(scope, receive, _nowhere)
            await _break_off(send)
        else:
            await error(int(fault.status), "390000", "Injected fault.")(scope, receive, send)

    async def _admin(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._faults.clear()
        else:
            given: dict[str, Any] = json.loads(await request.body())
            self._faults.append(Fault(**given))
        return JSONResponse(
            {"faults": [{"path": f.path, "status": f.status, "times": f.times} for f in self._faults]}
        )


async def _nowhere(message: Any) -> None:
    """Swallow an answer."""


async def _break_off(send: Send) -> None:
    """Begin an answer and stop: the server closes the connection, as if it had died."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
