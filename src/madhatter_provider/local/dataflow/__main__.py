"""``python -m madhatter_provider.local.dataflow --port PORT --work-dir DIR --templates FILE``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.dataflow import Launcher, dataflow_app, load_templates


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM; then drain the jobs."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m madhatter_provider.local.dataflow", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--work-dir", type=Path, required=True, help="Folder for jobs, logs and counters.")
    parser.add_argument("--templates", type=Path, required=True, help="JSON: template path to command.")
    args = parser.parse_args(argv)
    try:
        launcher = Launcher(args.work_dir.resolve(), load_templates(args.templates))
    except ConfigurationError as err:
        sys.exit(str(err))
    for name in ("counters", "logs"):
        (launcher.work / name).mkdir(parents=True, exist_ok=True)
    uvicorn.run(dataflow_app(launcher), host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
