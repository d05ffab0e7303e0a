"""A question keeps its answer; another question never gets it."""

from __future__ import annotations

from typing import Any

import pytest

from madhatter_provider.core.errors import StateLostError
from madhatter_provider.operators.approval import KeptAnswerApprovalOperator


class Store(dict[str, Any]):
    """A task's state."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = value


def test_a_task_that_has_asked_something_else_does_not_ask_and_takes_no_answer() -> None:
    asks = KeptAnswerApprovalOperator(task_id="block", subject="Block B?", question_id="run#1")
    store = Store(question="run#0", answer_until="2026-11-24T10:00:00+00:00")
    with pytest.raises(StateLostError, match="has asked 'run#0' before"):
        asks.execute({"task_state_store": store})  # type: ignore[typeddict-item]
    assert store["question"] == "run#0"
