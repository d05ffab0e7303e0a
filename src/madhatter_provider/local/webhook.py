"""A stand-in for the security team's chat: writes what is posted to a file.

``python -m madhatter_provider.local.webhook --port PORT --out FILE``: ``POST /`` appends a JSON line, ``GET
/count`` counts, ``GET /health`` answers. What is posted to ``/operations`` goes to a file beside it,
``operations.ndjson``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def webhook_app(out: Path) -> Starlette:
    """The service.

    :param out: NDJSON file; each line holds ``received_at`` (Unix seconds) and ``body``.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.touch()
    state = {"count": sum(1 for _ in out.open("rb"))}

    async def receive(request: Request) -> JSONResponse:
        answer = await _append(request, out)
        state["count"] += answer.status_code == 200
        return answer

    async def receive_operations(request: Request) -> JSONResponse:
        return await _append(request, out.with_name("operations.ndjson"))

    async def count(_request: Request) -> JSONResponse:
        return JSONResponse({"count": state["count"]})

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/", receive, methods=["POST"]),
            Route("/operations", receive_operations, methods=["POST"]),
            Route("/count", count),
            Route("/health", health),
        ]
    )


async def _append(request: Request, file: Path) -> JSONResponse:
    try:
        body = json.loads(await request.body())
    except ValueError:
        return JSONResponse({"error": "not JSON"}, status_code=400)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"received_at": time.time(), "body": body}) + "\n")
    return JSONResponse({"ok": True})


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m madhatter_provider.local.webhook", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="File for what is posted (NDJSON).")
    args = parser.parse_args(argv)
    uvicorn.run(webhook_app(args.out), host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
