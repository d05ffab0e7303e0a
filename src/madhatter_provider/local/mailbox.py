"""A stand-in for the security team's mailbox: an SMTP server that writes what it gets to a file."""

from __future__ import annotations

import json
import time
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """The handler of one mailbox.

    :param out: NDJSON file; each line holds ``received_at`` (Unix seconds), ``to``, ``key`` (the header
        ``Idempotency-Key``), ``subject`` and ``text``.
    """

    def __init__(self, out: Path) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.touch()
        self._out = out

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Keep one message; returns the reply to the client."""
        message = message_from_bytes(envelope.content, policy=policy.default)
        body = message.get_body(("plain",))
        line = {
            "received_at": time.time(),
            "to": envelope.rcpt_tos,
            "key": message["Idempotency-Key"],
            "subject": message["Subject"],
            "text": body.get_content() if body is not None else "",
        }
        with self._out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return "250 kept"


def serve_mailbox(host: str, port: int, out: Path) -> Controller:
    """Serve in a thread of its own; stop it with ``stop()``."""
    controller = Controller(Mailbox(out), hostname=host, port=port)
    controller.start()
    return controller
