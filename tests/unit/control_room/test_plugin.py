"""Every Airflow process imports the plugin: it must cost nothing."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = (
    "great_expectations", "apache_beam", "confluent_kafka", "snowflake.connector", "google.cloud", "pandas",
    "pyarrow", "duckdb", "fastapi", "airflow.api_fastapi", "madhatter_provider.control_room.app",
    "madhatter_provider.core", "madhatter_provider.hooks",
)  # fmt: skip
IMPORT = """
import json, sys
import airflow.sdk, airflow.plugins_manager
from airflow.providers.common.compat.sdk import AirflowPlugin
from airflow.sdk import BaseOperator, BaseOperatorLink, conf
before = set(sys.modules)
import madhatter_provider.control_room.plugin
print("RESULT" + json.dumps(sorted(set(sys.modules) - before)))
"""


def test_the_plugin_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    imported = json.loads(done.stdout.partition("RESULT")[2])
    assert "madhatter_provider.control_room.plugin" in imported
    assert [m for m in imported if m.startswith(HEAVY)] == []
