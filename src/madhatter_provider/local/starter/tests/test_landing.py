"""A stream against a real Kafka and a local Snowflake: every sample is loaded or quarantined, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from madhatter_provider.testing import crash_at

INCLUDE = Path(__file__).parents[1] / "include"
SAMPLES = (INCLUDE / "samples/orders.ndjson").read_bytes().splitlines()


def test_a_crash_neither_loses_nor_doubles_an_order(madhatter_stream: Any, madhatter_run_dag: Any) -> None:
    orders = madhatter_stream(INCLUDE / "contracts/orders.odcs.yaml")
    from dags.landing import DAGS  # reads MADHATTER_LANDING_ROOT, which the fixtures set

    orders.send(SAMPLES)
    with crash_at("land.after_rename"):
        died = madhatter_run_dag(DAGS["orders"])
    madhatter_run_dag(DAGS["orders"], again=died)
    verdict = orders.verdict()
    assert verdict.ok, verdict
    assert (verdict.loaded, verdict.quarantined) == (len(SAMPLES) - 1, 1)
