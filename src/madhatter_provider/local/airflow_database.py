"""A migrated, empty Airflow database (SQLite), made once and copied: 0.01 s in place of 10."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from madhatter_provider.core.errors import ConfigurationError

_MIGRATE_SECONDS = 300


def template_database(cache: Path, env: Mapping[str, str]) -> Path:
    """The template for the installed Airflow; made by ``airflow db migrate`` when the cache lacks it.

    :param env: environment of the migration; its database address is replaced.
    :raises ConfigurationError: the migration failed.
    """
    key = hashlib.sha256(f"{version('apache-airflow-core')} {sys.version}".encode()).hexdigest()[:12]
    template = cache / f"airflow-{key}.db"
    if template.exists():
        return template
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="airflow-") as scratch:
        database = Path(scratch) / "airflow.db"
        address = {
            "AIRFLOW_HOME": scratch,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
        }
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"], env={**env, **address}, capture_output=True,
            text=True, timeout=_MIGRATE_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ConfigurationError(
                f"airflow db migrate failed: {(done.stdout + done.stderr).strip()[-2000:]}",
                where=str(database),
                remedy="Reinstall the environment (make venv) and look at the message above.",
            )
        _single_file(database)
        os.replace(database, template)
    return template


def _single_file(database: Path) -> None:
    """Fold the write-ahead log into the file: a copy of the file alone is then whole."""
    connection = sqlite3.connect(database)
    try:
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("pragma journal_mode=delete")
    finally:
        connection.close()


def copy_database(template: Path, target: Path) -> None:
    """Put a fresh copy of the template at ``target``, which no process may have open."""
    for suffix in ("", "-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, target)
