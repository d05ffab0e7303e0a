"""Prism, Beam's portable runner: built once from the Go module proxy."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

_MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_BUILD_SECONDS = 900


def prism_path(cache: Path, release: str) -> Path:
    """Where the runner of this Beam release is, or will be."""
    return cache / f"prism-{release}" / "prism"


def ensure_prism(cache: Path, release: str, env: Mapping[str, str]) -> str:
    """Build the runner if the cache lacks it. Returns a few words for the summary.

    Without Go, or when the build fails, there is no file and Beam fetches a ready one by itself.

    :param release: of apache-beam, as in 2.77.0; the runner must be of the same.
    """
    target = prism_path(cache, release)
    if target.exists():
        return "kept"
    go = shutil.which("go", path=env.get("PATH"))
    if go is None:
        return "no Go here; Beam fetches it when a job starts"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="prism-") as scratch:
        built = subprocess.run(
            [go, "install", f"{_MODULE}@v{release}"], env={**env, "GOBIN": scratch}, capture_output=True,
            text=True, timeout=_BUILD_SECONDS, check=False,
        )  # fmt: skip
        if built.returncode:
            last = (built.stderr.strip() or built.stdout.strip()).splitlines()[-1:]
            return f"go install failed ({' '.join(last)}); Beam fetches it when a job starts"
        target.parent.mkdir(exist_ok=True)
        os.replace(Path(scratch) / "prism", target)
    return "built"
