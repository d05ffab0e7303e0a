"""Ask a person, and do not lose the answer."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.timezone import utcnow

if TYPE_CHECKING:
    from airflow.sdk import Context

_DEADLINE = "answer_until"


class KeptAnswerApprovalOperator(ApprovalOperator):
    """The official operator, whose retry takes the answer that was given before instead of asking again.

    Airflow marks a task as failed that was answered so soon that its scheduler still believed it to be
    running; a worker may also die while it takes the answer in. The official operator then deletes the answer
    and asks anew. This one:

    1. Asks, and notes in the task's state that it has, and until when an answer is waited for.
    2. On a retry, or when cleared, finds that note and waits in the triggerer, which sees an answer that is
       there already. The deadline does not move.
    """

    def execute(self, context: Context) -> Any:
        """Ask, or wait for the answer to what was asked."""
        store: Any = cast("Any", context)["task_state_store"]
        asked = store.get(_DEADLINE, None)
        if asked is not None:
            self._wait_again(context, datetime.fromisoformat(asked) if asked else None)
        try:
            return super().execute(context)
        except TaskAwaitingInput:
            until = utcnow() + self.response_timeout if self.response_timeout else None
            store.set(_DEADLINE, until.isoformat() if until else "")
            raise

    def _wait_again(self, context: Context, until: datetime | None) -> None:
        from airflow.providers.standard.triggers.hitl import HITLTrigger

        self.log.info("This was asked before: the answer is taken if there is one")
        trigger = HITLTrigger(
            ti_id=context["task_instance"].id,
            options=self.options,
            defaults=self.defaults,
            params=self.serialized_params,
            multiple=self.multiple,
            timeout_datetime=until,
        )
        self.defer(trigger=trigger, method_name="execute_complete")
