"""``python -m madhatter_provider.local.snowflake``: serve a local Snowflake over TLS."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import uvicorn

from madhatter_provider.local.snowflake.app import create_app
from madhatter_provider.local.snowflake.auth import pem_of
from madhatter_provider.local.snowflake.engine import LocalSnowflake


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m madhatter_provider.local.snowflake", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one and prints it")
    parser.add_argument("--data-dir", type=Path, required=True, help="where databases live; made if missing")
    parser.add_argument("--certfile", type=Path, required=True, help="server certificate, PEM")
    parser.add_argument("--keyfile", type=Path, required=True, help="key of the certificate, PEM")
    parser.add_argument(
        "--public-key",
        action="append",
        default=[],
        metavar="USER=FILE",
        help="who may log in with which key; repeat",
    )
    parser.add_argument("--account", default="", help="account that tokens must name; any if left out")
    parser.add_argument("--report-seconds", type=float, default=600, help="memory of insertReport")
    parser.add_argument("--faults", action="store_true", help="serve /_faults, for tests")
    parser.add_argument("--log-level", default="WARNING")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Returns 2 when it cannot start, with the reason on standard error."""
    args = _parser().parse_args(argv)
    logging.basicConfig(
        level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")  # how fakesnow reads
    logging.getLogger("fakesnow.server").setLevel(args.log_level.upper())
    try:
        keys = [_user_key(text) for text in args.public_key]
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((args.host, args.port))
        engine = LocalSnowflake(args.data_dir)
    except (OSError, ValueError) as err:
        print(f"Cannot start the local Snowflake: {err}", file=sys.stderr)
        return 2
    for user, key in keys:
        engine.catalog.set_keys(user, [key])
    app = create_app(
        engine, account=args.account, faults=args.faults, report_window=timedelta(seconds=args.report_seconds)
    )
    print(f"Local Snowflake on https://{args.host}:{sock.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app,
        ssl_certfile=args.certfile,
        ssl_keyfile=args.keyfile,
        log_level=args.log_level.lower(),
        timeout_graceful_shutdown=5,
        access_log=False,
    )
    uvicorn.Server(config).run(sockets=[sock])
    return 0


def _user_key(text: str) -> tuple[str, str]:
    user, sign, file = text.partition("=")
    if not sign or not user:
        raise ValueError(f"--public-key {text!r}: expected USER=FILE")
    return user, pem_of(Path(file).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
