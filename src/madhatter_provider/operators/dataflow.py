"""See to it that a Dataflow job runs: desired state by job name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink

from madhatter_provider.core.errors import ConfigurationError, TransientError
from madhatter_provider.core.job_plan import (
    ENDED,
    ON_CHANGE,
    Action,
    JobSpec,
    OnChange,
    Until,
    phase_of,
    plan,
    settled,
)
from madhatter_provider.operators.retrying import retry_defaults
from madhatter_provider.triggers.dataflow import DataflowJobTrigger, raise_for_event

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import TaskInstanceKey

    from madhatter_provider.hooks.dataflow import MadhatterDataflowHook

JOB_KEY = "dataflow_job_id"


class DataflowJobLink(BaseOperatorLink):
    """Leads from the task to its job: the console, or the local service."""

    @property
    def name(self) -> str:
        """Name of the button."""
        return "Dataflow job"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The job's page; empty before there is a job."""
        return str(getattr(operator, "job_url", ""))


class DataflowEnsureJobOperator(BaseOperator):
    """Make the job of this name run this template with these parameters, and wait for it.

    Steps, each of which finds what an earlier try has done:

    1. Ask for the active job of the name and plan (:func:`core.job_plan.plan`): adopt it, launch, update in
       place, drain and replace, or fail. The plan is logged before it is carried out.
    2. Carry it out. The job carries its specification's digest as label ``madhatter-spec``: a retry or a
       clear adopts it.
    3. Remember the job id (task state store; XCom ``dataflow_job_id``).
    4. Wait until it runs (``wait_until="running"``, for streaming) or is done (``"done"``, for batch),
       deferred.

    Killing the task leaves the job alone, as the job is wanted whether or not somebody waits for it; with
    ``cancel_on_kill=True`` the job is cancelled, in both states of the task, running and deferred.

    :param job_name: exact name; no suffix is added. (templated)
    :param template: path of the Flex Template's container spec. (templated)
    :param parameters: the template's parameters. (templated)
    :param environment: ``FlexTemplateRuntimeEnvironment`` (workers, network, labels …). (templated)
    :param on_change: what to do when the active job runs something else: ``update`` in place,
        ``drain_and_replace``, ``fail``.
    :param name_mappings: old transform names to new ones, for ``update``.
    :param wait_until: ``running`` or ``done``.
    :param deferrable: wait in the triggerer; else in the worker.
    :param poll_seconds: time between two looks at the job.
    :param wait_timeout: seconds until a wait fails the try.
    :returns: the job id.
    :raises JobError: the job failed, was stopped, or runs something else and ``on_change`` is ``fail``.
    :raises ConfigurationError: connection, template or an option is wrong.
    """

    template_fields: Sequence[str] = (
        "job_name",
        "template",
        "parameters",
        "environment",
        "location",
        "project_id",
    )
    operator_extra_links = (DataflowJobLink(),)

    def __init__(
        self,
        *,
        job_name: str,
        template: str,
        parameters: Mapping[str, str] | None = None,
        environment: Mapping[str, Any] | None = None,
        location: str = "us-central1",
        project_id: str | None = None,
        gcp_conn_id: str = "google_cloud_default",
        on_change: OnChange = "drain_and_replace",
        name_mappings: Mapping[str, str] | None = None,
        wait_until: Until = "running",
        deferrable: bool = True,
        poll_seconds: float = 5.0,
        wait_timeout: float = 1800.0,
        cancel_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**retry_defaults(kwargs))
        if on_change not in ON_CHANGE or wait_until not in ("running", "done"):
            raise ConfigurationError(
                f"on_change={on_change!r}, wait_until={wait_until!r}",
                where=f"task {kwargs.get('task_id')}",
                remedy=f"on_change is one of {', '.join(ON_CHANGE)}; wait_until is running or done.",
            )
        self.job_name, self.template = job_name, template
        self.parameters, self.environment = dict(parameters or {}), dict(environment or {})
        self.location, self.project_id, self.gcp_conn_id = location, project_id, gcp_conn_id
        self.on_change, self.name_mappings, self.wait_until = on_change, name_mappings, wait_until
        self.deferrable, self.poll_seconds, self.wait_timeout = deferrable, poll_seconds, wait_timeout
        self.cancel_on_kill = cancel_on_kill
        self.job_url = ""
        self._job_id: str | None = None

    @cached_property
    def hook(self) -> MadhatterDataflowHook:
        """Imported when the task runs: Google's provider is not light."""
        from madhatter_provider.hooks.dataflow import MadhatterDataflowHook

        return MadhatterDataflowHook(self.gcp_conn_id, self.location, self.project_id)

    @property
    def spec(self) -> JobSpec:
        """What is wanted."""
        parameters = {name: str(value) for name, value in self.parameters.items()}
        return JobSpec(self.job_name, self.template, parameters, self.environment)

    def execute(self, context: Context) -> str:
        """Plan, act, wait."""
        active = self.hook.active_job(self.job_name)
        action = plan(active, self.spec, self.on_change)
        self.log.info(
            "Job %s, wanted %s; active: %s; plan: %s",
            self.job_name,
            self.spec.digest,
            f"{active['id']} {active.get('currentState')}" if active else "none",
            action.value,
        )
        if active is None or action is Action.LAUNCH:
            return self._launch(context)
        if action is Action.ADOPT:
            return self._wait(context, active)
        if action is Action.UPDATE:
            return self._launch(context, update=True)
        if action is Action.DRAIN_THEN_LAUNCH:
            self.hook.stop_job(active["id"], "JOB_STATE_DRAINED")
        return self._replace_when_ended(context, active["id"])

    def replace(self, context: Context, event: dict[str, Any]) -> str:
        """The job in the way has ended: go on from the beginning, since others may have acted meanwhile."""
        raise_for_event(event)
        return self.execute(context)

    def finish(self, context: Context, event: dict[str, Any]) -> str:
        """The wait is over."""
        self._remember(context, event.get("job_id") or event["job"]["id"])
        raise_for_event(event)
        self.log.info("Job %s is %s", event["job"]["id"], event["job"]["currentState"])
        return str(event["job"]["id"])

    def on_kill(self) -> None:
        """Cancel the job if that was asked for."""
        if self.cancel_on_kill and self._job_id:
            self.hook.stop_job(self._job_id, "JOB_STATE_CANCELLED")

    def _launch(self, context: Context, *, update: bool = False) -> str:
        job = self.hook.launch(self.spec.launch_body(update=update, name_mappings=self.name_mappings))
        self.log.info("Launched %s", job["id"])
        return self._wait(context, job)

    def _wait(self, context: Context, job: Mapping[str, Any]) -> str:
        self._remember(context, str(job["id"]))
        if settled(job, self.wait_until):
            return str(job["id"])
        if self.deferrable:
            self.defer(trigger=self._trigger(str(job["id"]), self.wait_until), method_name="finish")
        deadline = time.monotonic() + self.wait_timeout
        while not settled(job := self.hook.job(str(job["id"])), self.wait_until):
            self._sleep(deadline, str(job["id"]))
        return str(job["id"])

    def _replace_when_ended(self, context: Context, job_id: str) -> str:
        if self.deferrable:
            self.defer(trigger=self._trigger(job_id, "ended"), method_name="replace")
        deadline = time.monotonic() + self.wait_timeout
        while phase_of(self.hook.job(job_id)) not in ENDED:
            self._sleep(deadline, job_id)
        return self.execute(context)

    def _sleep(self, deadline: float, job_id: str) -> None:
        if time.monotonic() > deadline:
            raise TransientError(
                f"The job did not get there in {self.wait_timeout:.0f} s",
                where=f"{self.job_name} ({job_id})",
                remedy="Read the job's messages; give it more time with wait_timeout.",
            )
        time.sleep(self.poll_seconds)

    def _remember(self, context: Context, job_id: str) -> None:
        """For the retry, for later tasks, for the link."""
        self._job_id, self.job_url = job_id, self.hook.job_url(job_id)
        store: Any = context.get("task_state_store")
        if store is not None:
            store.set(JOB_KEY, job_id)
        context["ti"].xcom_push(key=JOB_KEY, value=job_id)

    def _trigger(self, job_id: str, until: str) -> DataflowJobTrigger:
        return DataflowJobTrigger(
            job_id=job_id,
            until=until,
            gcp_conn_id=self.gcp_conn_id,
            location=self.location,
            project_id=self.project_id,
            poll_seconds=self.poll_seconds,
            timeout=self.wait_timeout,
            cancel_on_kill=self.cancel_on_kill and until != "ended",
        )
