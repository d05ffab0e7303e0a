"""Drain the alert function's dead letters: what it could not deliver is given back to it, what is no alert is
kept in ``FRAUD.DEAD_LETTERS``.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

PROJECT = os.environ.get("PUBSUB_PROJECT_ID", "madhatter-local")
TOPIC = os.environ.get("MADHATTER_ALERT_TOPIC", f"projects/{PROJECT}/topics/fraud-alerts").rpartition("/")[2]
SUBSCRIPTION = os.environ.get("MADHATTER_DEAD_SUBSCRIPTION", "fraud-alerts-dead-audit")
EVERY = timedelta(minutes=10)
BATCH, BATCHES = 100, 20

with DAG(
    "dead_letters",
    # Empty where alerts go to Kafka alone: there is no function then.
    schedule=EVERY if TOPIC else None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=20)},
    tags=["fraud"],
    doc_md=__doc__,
):

    @task
    def drain(run_id: Any = None) -> dict[str, int]:
        """Record, give back, acknowledge, in this order: whoever dies in between does it again."""
        from collections import Counter

        from airflow.providers.google.cloud.hooks.pubsub import PubSubHook
        from airflow.sdk.exceptions import AirflowFailException

        from madhatter_provider.core.fraud.dead_letters import DeadLetter, record_letters
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        pubsub, sql, found = PubSubHook(), SnowflakeRestHook(), Counter[str]()
        for _ in range(BATCHES):
            pulled = pubsub.pull(
                subscription=SUBSCRIPTION, max_messages=BATCH, project_id=PROJECT, return_immediately=True
            )
            if not pulled:
                break
            messages = [p.message for p in pulled]
            letters = [DeadLetter(m.message_id, m.data, dict(m.attributes)) for m in messages]
            sql.execute(*record_letters(letters, run_id))
            again = [letter.again() for letter in letters if letter.state == "sent_again"]
            if again:
                pubsub.publish(topic=TOPIC, messages=again, project_id=PROJECT)
            pubsub.acknowledge(subscription=SUBSCRIPTION, project_id=PROJECT, messages=pulled)
            found.update(letter.state for letter in letters)
        if found["given_up"]:
            raise AirflowFailException(
                f"{found['given_up']} alerts could not be delivered for a day: see FRAUD.DEAD_LETTERS, mend "
                "the channel, and look at their cases"
            )
        return dict(found)

    drain()
