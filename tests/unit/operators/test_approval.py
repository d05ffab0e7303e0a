"""A question keeps its answer; another question never gets it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from madhatter_provider.core.errors import StateLostError
from madhatter_provider.operators.approval import KeptAnswerApprovalOperator


class Store(dict[str, Any]):
    """A task's state."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = value


def question(**changes: Any) -> KeptAnswerApprovalOperator:
    return KeptAnswerApprovalOperator(task_id="block", subject="Block B?", question_id="run#1", **changes)


@pytest.mark.parametrize("closed", [False, "False"])
def test_a_task_that_has_asked_something_else_does_not_ask_and_takes_no_answer(closed: bool | str) -> None:
    asks = question(closed=closed)
    store = Store(question="run#0", answer_until="2026-11-24T10:00:00+00:00")
    with pytest.raises(StateLostError, match="has asked 'run#0' before"):
        asks.execute({"task_state_store": store})  # type: ignore[typeddict-item]
    assert store["question"] == "run#0"


@pytest.mark.parametrize("closed", [True, "True"])
def test_a_question_that_is_closed_is_skipped(closed: bool | str) -> None:
    store = Store()
    with pytest.raises(AirflowSkipException):
        question(closed=closed).execute({"task_state_store": store})  # type: ignore[typeddict-item]
    assert store == {}
