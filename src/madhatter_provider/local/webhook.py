"""Stand-ins for what tells the security team: a chat, an incident tool, a mailbox. What they get is written
to files.

``python -m madhatter_provider.local.webhook --port PORT --out FILE [--smtp-port PORT --mail-out FILE]``:
``POST /`` (chat) and ``POST /incident`` append a JSON line, ``GET /count`` counts, ``GET /health`` answers.
What is posted to ``/operations`` goes to a file beside it, ``operations.ndjson``.
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
    """The webhooks.

    :param out: NDJSON file; each line holds ``received_at`` (Unix seconds), ``path``, ``key`` (the header
        ``Idempotency-Key``) and ``body``.
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

    posts = [Route(path, receive, methods=["POST"]) for path in ("/", "/incident")]
    operations = Route("/operations", receive_operations, methods=["POST"])
    return Starlette(routes=[*posts, operations, Route("/count", count), Route("/health", health)])


async def _append(request: Request, file: Path) -> JSONResponse:
    try:
        body = json.loads(await request.body())
    except ValueError:
        return JSONResponse({"error": "not JSON"}, status_code=400)
    line = {
        "received_at": time.time(),
        "path": request.url.path,
        "key": request.headers.get("Idempotency-Key"),
        "body": body,
    }
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(line) + "\n")
    return JSONResponse({"ok": True})


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m madhatter_provider.local.webhook", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="File for what is posted (NDJSON).")
    parser.add_argument("--smtp-port", type=int, help="Port of the mailbox; without it there is none.")
    parser.add_argument("--mail-out", type=Path, help="File for what is mailed (NDJSON).")
    args = parser.parse_args(argv)
    mailbox = None
    if args.smtp_port is not None:
        from madhatter_provider.local.mailbox import serve_mailbox

        if args.mail_out is None:
            parser.error("--smtp-port needs --mail-out")
        mailbox = serve_mailbox(args.host, args.smtp_port, args.mail_out)
    uvicorn.run(webhook_app(args.out), host=args.host, port=args.port, log_level="warning")
    if mailbox is not None:
        mailbox.stop()


if __name__ == "__main__":
    main()
