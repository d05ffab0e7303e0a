"""Replay a range of a stream, or judge its quarantined messages again. Started by hand; the form asks what is
to be done. Take a dry run first: its log shows the plan.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param
from streams import CONTRACTS, LANDING_ROOT, raw_asset

from madhatter_provider.operators.replay import ReplayQuarantineOperator, ReplaySliceOperator

STREAM = Param(sorted(CONTRACTS)[0], type="string", enum=sorted(CONTRACTS), title="Stream")
REASON = Param(type="string", minLength=3, title="Reason", description="Stands in OPS.REPLAYS.")
DRY_RUN = Param(
    True, type="boolean", title="Dry run", description="Show the plan in the task's log and stop."
)
COMMON: dict[str, Any] = {
    "task_id": "replay",
    "contract": f"{Path(CONTRACTS[sorted(CONTRACTS)[0]]).parent}/{{{{ params.stream }}}}.odcs.yaml",
    "landing_root": LANDING_ROOT,
    "reason": "{{ params.reason }}",
    "plan_only": "{{ params.dry_run }}",
    "loaded": {stream: raw_asset(stream) for stream in CONTRACTS},
}
DAG_ARGUMENTS: dict[str, Any] = {
    "schedule": None,
    "start_date": datetime(2026, 1, 1),
    "default_args": {"retries": 3, "retry_delay": timedelta(seconds=10)},
    "tags": ["replay"],
    "doc_md": __doc__,
}


def optional(title: str, description: str) -> Param:
    """A text that may be left empty."""
    return Param(None, type=["null", "string"], title=title, description=description)


with DAG(
    "replay",
    params={
        "stream": STREAM,
        "from": optional("From", "Offset (1000), offsets (0:100,1:50) or time (2026-11-24T09:30:00Z)."),
        "to": optional("To", "The same; what is replayed lies before it."),
        "of_run": optional("Run", "Instead of from and to: a landing run whose slice is replayed."),
        "topic_id": optional(
            "Epoch", "Id of the topic that the offsets belong to; the present one, if empty."
        ),
        "reason": REASON,
        "dry_run": DRY_RUN,
        "allow_gone": Param(False, type="boolean", title="Allow gone", description="Replay what is left."),
    },
    **DAG_ARGUMENTS,
):
    ReplaySliceOperator(
        start="{{ params['from'] }}",
        end="{{ params['to'] }}",
        of_run="{{ params.of_run }}",
        topic_id="{{ params.topic_id }}",
        allow_gone="{{ params.allow_gone }}",
        **COMMON,
    )

with DAG(
    "replay_quarantine",
    params={
        "stream": STREAM,
        "rules": Param(
            [], type="array", items={"type": "string"}, title="Rules", description="All, if empty."
        ),
        "since": optional("Since", "Only messages since this time (2026-11-24T09:30:00Z)."),
        "reason": REASON,
        "dry_run": DRY_RUN,
    },
    **DAG_ARGUMENTS,
):
    ReplayQuarantineOperator(rules="{{ params.rules | join(',') }}", since="{{ params.since }}", **COMMON)
