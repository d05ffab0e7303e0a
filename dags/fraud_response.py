"""Open a case for every customer with new alerts, hold the orders of the grave ones, and ask the security
team whether to block the account.

Two DAGs, because people take hours and orders must be held at once: ``fraud_response`` reads a slice of
alerts and is done in seconds; ``fraud_decisions`` asks and waits, without taking a worker.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import (
    DAG,
    Asset,
    AssetAlias,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    task,
    task_group,
)
from streams import topic_asset

from madhatter_provider.operators.approval import KeptAnswerApprovalOperator
from madhatter_provider.operators.kafka import KafkaClaimSliceOperator
from madhatter_provider.operators.retrying import retry_defaults

STREAM = "fraud_alerts"
TOPIC = topic_asset(STREAM)
MOST_ALERTS = 5_000
CASES = Asset("fraud_cases_to_ask", uri="x-madhatter://fraud/cases_to_ask")
FOUND = AssetAlias("fraud_response_cases")

# Ids of users as Airflow's auth manager knows them; empty: whoever may edit the DAG.
SECURITY_USERS = [u.strip() for u in os.environ.get("MADHATTER_SECURITY_USERS", "").split(",") if u.strip()]
ANSWER_WITHIN = timedelta(minutes=float(os.environ.get("MADHATTER_ANSWER_MINUTES", "240")))
MOST_QUESTIONS = int(os.environ.get("MADHATTER_MOST_QUESTIONS", "20"))
SCHEDULE = {"start_date": datetime(2026, 1, 1), "catchup": False, "tags": ["fraud"], "doc_md": __doc__}
RETRIES = {"retries": 5, "retry_delay": timedelta(seconds=10)}

with DAG("fraud_response", schedule=[TOPIC], max_active_runs=2, default_args=RETRIES, **SCHEDULE):
    claimed = KafkaClaimSliceOperator(task_id="claim", topic=STREAM, asset=TOPIC, max_messages=MOST_ALERTS)

    # One case is computed by one task at a time: two that overlap would count the same alerts.
    @task(max_active_tis_per_dag=1, outlets=[FOUND])
    def open_cases(
        slices: list[dict[str, Any]], run_id: Any = None, outlet_events: Any = None
    ) -> dict[str, int]:
        """Record the cases of the slice's alerts and hold their orders; a repetition changes nothing."""
        from dataclasses import asdict

        from madhatter_provider.core.fraud import cases
        from madhatter_provider.core.slices.offsets import Slice
        from madhatter_provider.hooks.kafka import KafkaSliceHook
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        kafka = KafkaSliceHook()
        batches = (batch for owned in slices for batch in kafka.read(Slice.from_json(owned)))
        alerts = cases.read_alerts(value for batch in batches for value in batch.values)
        opened = cases.open_cases(SnowflakeRestHook(), alerts, "fraud_response", run_id)
        if opened.to_ask:
            outlet_events[FOUND].add(CASES)
        return asdict(opened)

    open_cases(claimed.output)

# Every ten minutes too: for cases that did not fit before, and those whose run died while it asked.
WHEN = AssetOrTimeSchedule(timetable=CronTriggerTimetable("*/10 * * * *", timezone="UTC"), assets=[CASES])


def optional(longest: int, title: str, description: str | None = None) -> Param:
    """A text that may be left empty."""
    return Param(None, description, type=["null", "string"], maxLength=longest, title=title)


AGAIN = optional(64, "Ask again", "An unanswered case; all: every one")

with DAG(
    "fraud_decisions",
    schedule=WHEN,
    max_active_runs=MOST_QUESTIONS + 4,
    params={"case_id": AGAIN},
    default_args=RETRIES,
    **SCHEDULE,
):

    @task(**retry_defaults({"max_active_tis_per_dag": 1}))
    def take_questions(run_id: Any = None, params: Any = None) -> list[dict[str, Any]]:
        """The questions of this run, about cases that nobody is being asked about; the same when cleared."""
        from dataclasses import asdict

        from airflow.sdk.exceptions import AirflowSkipException

        from madhatter_provider.core.fraud import questions
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        again = (params["case_id"] or "").strip()
        asking = questions.Asking("fraud_decisions", run_id, MOST_QUESTIONS, ANSWER_WITHIN, again)
        taken = questions.take_questions(SnowflakeRestHook(), asking)
        if not taken:
            raise AirflowSkipException("No case to ask about, or enough questions wait for people")
        return [asdict(question) for question in taken]

    @task_group
    def question(question_id: str, subject: str, body: str, closed: bool) -> None:
        """One question: asked, answered, acted on."""
        block = KeptAnswerApprovalOperator(
            task_id="block",
            question_id=question_id,
            closed=closed,
            subject=subject,
            body=body,
            defaults=KeptAnswerApprovalOperator.REJECT,
            response_timeout=ANSWER_WITHIN,
            assigned_users=[{"id": user, "name": user} for user in SECURITY_USERS],
            params={"note": optional(2000, "Why (kept with the case)")},
        )

        @task(trigger_rule="none_failed", outlets=[FOUND])
        def record(question_id: str, ti: Any = None, outlet_events: Any = None) -> int:
            """Block or release, label, close the cases; a repetition changes nothing."""
            from madhatter_provider.core.fraud.decisions import Decision, record_decision
            from madhatter_provider.core.fraud.questions import count_to_ask
            from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

            sql = SnowflakeRestHook()
            answer = ti.xcom_pull(task_ids="question.block", map_indexes=ti.map_index)
            if answer is None:  # closed before this run was cleared
                return 0
            person = answer["responded_by_user"]
            yes = answer["chosen_options"] == [KeptAnswerApprovalOperator.APPROVE]
            decision = Decision(
                question_id,
                "unanswered" if person is None else "blocked" if yes else "released",
                person and person["name"],
                answer["responded_at"],
                answer["params_input"].get("note") or "",
            )
            closed = record_decision(sql, decision)
            if count_to_ask(sql):  # they had to wait for this answer
                outlet_events[FOUND].add(CASES)
            return closed

        # Skipped when rejected: that shows the answer in the grid. No process is started for it.
        block >> EmptyOperator(task_id="approved") >> record(question_id)

    question.expand_kwargs(take_questions())
