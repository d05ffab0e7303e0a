"""How far is a streaming job? Its own data watermark, kept in ``OPS.JOB_WATERMARKS``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from madhatter_provider.core.warehouse.ledger import Statement

TABLE: Final = "OPS.JOB_WATERMARKS"
# Dataflow's names: of stages that windmill runs, and of newer ones.
_SUFFIXES: Final = ("windmill-data-watermark", "DataWatermark")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class JobWatermark(NamedTuple):
    """Event time up to which the active job of a name has everything."""

    job: str
    job_id: str
    watermark: datetime


def data_watermark(metrics: Iterable[Mapping[str, Any]]) -> datetime | None:
    """The oldest data watermark of a job's stages.

    :param metrics: as ``projects.locations.jobs.getMetrics`` gives them: microseconds since 1970; a negative
        number is a stage that knows none yet (-1), or has had everything (-2).
    :returns: None if no stage tells one.
    """
    stages: dict[str, float] = {}
    for metric in metrics:
        name, scalar = str(metric.get("name", {}).get("name", "")), metric.get("scalar")
        if name.endswith(_SUFFIXES) and scalar is not None and float(scalar) >= 0:
            # Each comes twice, as committed and as tentative.
            stages[name] = max(float(scalar), stages.get(name, 0.0))
    return _EPOCH + timedelta(microseconds=min(stages.values())) if stages else None


def record_watermarks(found: Sequence[JobWatermark]) -> Statement:
    """Record that the jobs told them now."""
    rows = [{"J": w.job, "I": w.job_id, "W": w.watermark.isoformat()} for w in found]
    return (
        f"MERGE INTO {TABLE} AS t USING (SELECT r.VALUE:J::VARCHAR(256) AS JOB, "
        "r.VALUE:I::VARCHAR(128) AS JOB_ID, r.VALUE:W::TIMESTAMP_TZ(6) AS WATERMARK "
        "FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r) AS s ON t.JOB = s.JOB "
        "WHEN MATCHED THEN UPDATE SET JOB_ID = s.JOB_ID, WATERMARK = s.WATERMARK, "
        "SEEN_AT = CURRENT_TIMESTAMP() WHEN NOT MATCHED THEN INSERT (JOB, JOB_ID, WATERMARK, SEEN_AT) "
        "VALUES (s.JOB, s.JOB_ID, s.WATERMARK, CURRENT_TIMESTAMP())",
        [json.dumps(rows)],
    )
