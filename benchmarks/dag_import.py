"""What importing the DAG files costs over importing Airflow: CPU seconds, each in a process of its own.

.madhatter/venv/bin/python benchmarks/dag_import.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

DAGS = Path(__file__).parents[1] / "dags"
CODE = """
import importlib, sys, time
sys.path.insert(0, sys.argv[1])
from airflow.sdk import DAG, Asset, AssetWatcher, BaseOperator, ExceptionRetryPolicy, Param, TaskGroup, task
import airflow.triggers.base
began = time.process_time()
for name in sys.argv[2:]:
    importlib.import_module(name)
print(time.process_time() - began)
"""
ROUNDS = 5


def cpu_seconds(*names: str) -> float:
    """Median over some rounds."""
    command = [sys.executable, "-c", CODE, str(DAGS), *names]
    return statistics.median(
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
        for _ in range(ROUNDS)
    )


def main() -> None:
    """Print a table (Markdown)."""
    names = [f.stem for f in sorted(DAGS.glob("*.py")) if f.stem != "streams"]
    print("| DAG file | CPU s over Airflow |\n|---|---|")
    for name in names:
        print(f"| {name} | {cpu_seconds(name):.3f} |")
    print(f"| all | {cpu_seconds(*names):.3f} |")


if __name__ == "__main__":
    main()
