"""Checks with states: measurements of a view in Snowflake become ok, warning or critical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from madhatter_provider.core.operations.evaluation import evaluate, new_measurements, record
from madhatter_provider.operators.retrying import retry_defaults

if TYPE_CHECKING:
    from airflow.sdk import Context


class HealthCheckOperator(BaseOperator):
    """Evaluates the measurements of a view, and records states and changes (``OPS.HEALTH``,
    ``OPS.HEALTH_CHANGES``).

    The steps; each may be repeated, and a retry or a replay changes nothing that was recorded:

    1. If ``topics`` are given, ask Kafka for their ends and record them in ``OPS.TOPIC_ENDS``; if ``jobs``
       are given, ask Dataflow for their watermarks and record them in ``OPS.JOB_WATERMARKS``.
    2. Read the measurements that are newer than what was evaluated before, with limits and states.
    3. Fold them and record the result, in one transaction.

    Give the task a :class:`~madhatter_provider.notifications.health.HealthNotifier` as
    ``on_success_callback``, and every change is told to people. The return value is the number of changes.

    :param measurements: view with the columns of ``OPS.PLATFORM_MEASUREMENTS``.
    :param checks: view with the columns of ``OPS.CHECKS``.
    :param topics: topic by stream.
    :param jobs: names of streaming jobs on Dataflow.
    :param location: Dataflow region of the jobs. (templated)
    :param project_id: project of the jobs; default: the connection's. (templated)
    :raises ConfigurationError: limits of a check contradict each other.
    """

    template_fields = (
        "measurements",
        "checks",
        "snowflake_conn_id",
        "kafka_config_id",
        "gcp_conn_id",
        "location",
        "project_id",
    )

    def __init__(
        self,
        *,
        measurements: str,
        checks: str = "OPS.CHECKS",
        topics: Mapping[str, str] | None = None,
        jobs: Sequence[str] = (),
        location: str = "us-central1",
        project_id: str | None = None,
        snowflake_conn_id: str = "snowflake_default",
        kafka_config_id: str = "kafka_default",
        gcp_conn_id: str = "google_cloud_default",
        **kwargs: Any,
    ) -> None:
        # Two evaluations at once would fold the same measurements from the same state.
        super().__init__(**retry_defaults({"max_active_tis_per_dag": 1, **kwargs}))
        self.measurements, self.checks, self.topics = measurements, checks, dict(topics or {})
        self.jobs, self.location, self.project_id = tuple(jobs), location, project_id
        self.snowflake_conn_id, self.kafka_config_id = snowflake_conn_id, kafka_config_id
        self.gcp_conn_id = gcp_conn_id

    def execute(self, context: Context) -> int:
        """All steps."""
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        with SnowflakeRestHook(self.snowflake_conn_id).client as sql:
            if self.topics:
                self._record_ends(sql)
            if self.jobs:
                self._record_watermarks(sql)
            rows = sql.execute(new_measurements(self.measurements, self.checks))
            found = evaluate(rows, self.dag_id, str(context["run_id"]))
            if statements := record(found):
                sql.transact(statements, repeatable=True)
        for change in found.changes:
            self.log.warning(
                "%s of %s: %s -> %s (%s)",
                change["CHECK_NAME"], change["SUBJECT"], change["FROM_STATE"], change["TO_STATE"],
                change["DETAIL"],
            )  # fmt: skip
        self.log.info("%d measurements, %d changes of state", len(rows), len(found.changes))
        return len(found.changes)

    def _record_ends(self, sql: Any) -> None:
        from madhatter_provider.core.operations.topic_ends import forget_old_ends, record_ends
        from madhatter_provider.hooks.stream_ends import stream_ends

        if ends := stream_ends(self.topics, self.kafka_config_id):
            sql.execute(*record_ends(ends))
            sql.execute(*forget_old_ends())

    def _record_watermarks(self, sql: Any) -> None:
        from madhatter_provider.core.operations.job_watermark import record_watermarks
        from madhatter_provider.hooks.job_watermarks import job_watermarks

        if found := job_watermarks(self.jobs, self.gcp_conn_id, self.location, self.project_id):
            sql.execute(*record_watermarks(found))
