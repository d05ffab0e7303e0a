"""A job's watermark out of Dataflow's metrics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlglot

from madhatter_provider.core.operations.job_watermark import JobWatermark, data_watermark, record_watermarks

MICROSECONDS = 1_790_000_000_250_000
WHEN = datetime.fromtimestamp(1_790_000_000.25, UTC)


def metric(name: str, scalar: Any, **context: str) -> dict[str, Any]:
    return {"name": {"origin": "dataflow/v1b3", "name": name, "context": context}, "scalar": scalar}


@pytest.mark.parametrize(
    ("metrics", "watermark"),
    [
        ([], None),
        ([metric("F1-windmill-data-watermark", MICROSECONDS)], WHEN),
        ([metric("F2/DataWatermark", float(MICROSECONDS))], WHEN),
        # The oldest stage counts, the newest word of each stage.
        (
            [
                metric("F1-windmill-data-watermark", MICROSECONDS + 9_000_000),
                metric("F2-windmill-data-watermark", MICROSECONDS - 5_000_000),
                metric("F2-windmill-data-watermark", MICROSECONDS, tentative="true"),
            ],
            WHEN,
        ),
        # A stage that knows none, one that has had everything, and what is no data watermark.
        (
            [
                metric("F1-windmill-data-watermark", -1),
                metric("F2-windmill-data-watermark", -2.0),
                metric("F3-windmill-system-watermark", 5),
                metric("valid", 7),
                {"name": {"name": "F4-windmill-data-watermark"}},
                metric("F5-windmill-data-watermark", MICROSECONDS),
            ],
            WHEN,
        ),
        ([metric("F1-windmill-data-watermark", -2)], None),
    ],
)
def test_the_oldest_stage_counts(metrics: list[dict[str, Any]], watermark: datetime | None) -> None:
    assert data_watermark(metrics) == watermark


def test_it_is_recorded_by_one_statement() -> None:
    statement, bindings = record_watermarks([JobWatermark("fraud", "id-1", WHEN)])
    (parsed,) = sqlglot.parse(statement, read="snowflake")
    assert parsed is not None
    assert parsed.key == "merge"
    assert json.loads(bindings[0]) == [{"J": "fraud", "I": "id-1", "W": "2026-09-21T14:13:20.250000+00:00"}]
