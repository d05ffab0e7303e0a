"""One fraud case: notifications link to it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from madhatter_provider.control_room.access import ViewerDep
from madhatter_provider.control_room.api.dashboards import in_words, readable
from madhatter_provider.control_room.json_values import fault_of, row_of, rows_of
from madhatter_provider.control_room.queries import case as queries
from madhatter_provider.core.errors import SqlError

router = APIRouter()

PAGE = "fraud"
"""The dashboard that cases belong to: who may see it may see them."""


@router.get("/api/case")
def case(one: ViewerDep, case_id: Annotated[str, Query(alias="id", min_length=1, max_length=256)]) -> Any:
    """A case with its alerts and what was done. Of a case that there is not, or not yet, ``case`` is null."""
    readable(one, PAGE)
    questions = [queries.facts(case_id), queries.alerts(case_id), queries.steps(case_id)]
    try:
        facts, alerts, steps = one.room.answers.gather(questions)
    except SqlError as err:
        raise in_words(err, "FRAUD_CASES") from err
    return {
        "as_of": min(a.as_of for a in (facts, alerts, steps)).isoformat(),
        "fault": next((fault_of(a.fault) for a in (facts, alerts, steps) if a.fault), None),
        "case": row_of(facts.rows[0]) if facts.rows else None,
        "alerts": rows_of(alerts.rows),
        "steps": rows_of(steps.rows),
    }
