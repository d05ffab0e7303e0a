"""Ask a person, and do not lose the answer."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from airflow.sdk.timezone import utcnow

from madhatter_provider.core.errors import StateLostError
from madhatter_provider.operators.flags import Flag, is_true
from madhatter_provider.operators.retrying import retry_defaults

if TYPE_CHECKING:
    from airflow.sdk import Context

_QUESTION = "question"
_DEADLINE = "answer_until"


class KeptAnswerApprovalOperator(ApprovalOperator):
    """The official operator, whose retry takes the answer that was given before instead of asking again.

    Airflow marks a task as failed that was answered so soon that its scheduler still believed it to be
    running; a worker may also die while it takes the answer in. The official operator then deletes the answer
    and asks anew. This one:

    1. Is skipped if the question is closed: nobody waits for an answer.
    2. Notes in the task's state which question it asks. If it has asked another one before, it fails: Airflow
       keeps the words and the answer of a task for as long as its run is kept, so that people would see the
       old question, or its answer would be taken for the new one.
    3. Asks, and notes that it has, and until when an answer is waited for.
    4. On a retry, or when cleared, finds that note and waits in the triggerer, which sees an answer that is
       there already. The deadline does not move.

    :param question_id: what the question is about. Needed where the task is mapped: a cleared run may map it
        over other questions. (templated)
    :param closed: the question needs no answer any more. (templated)
    :raises StateLostError: this task has asked another question.
    """

    template_fields: Collection[str] = (*ApprovalOperator.template_fields, "question_id", "closed")

    def __init__(self, *, question_id: str = "", closed: Flag = False, **kwargs: Any) -> None:
        super().__init__(**retry_defaults(kwargs))
        self.question_id, self.closed = question_id, closed

    def execute(self, context: Context) -> Any:
        """Ask, or wait for the answer to what was asked."""
        if is_true(self.closed):
            raise AirflowSkipException(f"Question {self.question_id} needs no answer any more")
        store: Any = cast("Any", context)["task_state_store"]
        self._refuse_another(store.get(_QUESTION, None))
        store.set(_QUESTION, self.question_id, retention=NEVER_EXPIRE)
        asked = store.get(_DEADLINE, None)
        if asked is not None:
            self._wait_again(context, datetime.fromisoformat(asked) if asked else None)
        try:
            return super().execute(context)
        except TaskAwaitingInput:
            until = utcnow() + self.response_timeout if self.response_timeout else None
            store.set(_DEADLINE, until.isoformat() if until else "", retention=NEVER_EXPIRE)
            raise

    def _refuse_another(self, asked: str | None) -> None:
        if asked is None or asked == self.question_id:
            return
        raise StateLostError(
            f"This task has asked {asked!r} before: it cannot ask {self.question_id!r}",
            where=f"task {self.task_id}",
            remedy="Start a new run of the DAG: it asks what is open.",
        )

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
