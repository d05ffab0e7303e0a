"""Wait for a Dataflow job without holding a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from madhatter_provider.core import errors
from madhatter_provider.core.errors import MadHatterError, TransientError
from madhatter_provider.core.job_plan import ENDED, phase_of, settled

if TYPE_CHECKING:
    from madhatter_provider.hooks.dataflow import MadhatterDataflowHook

WAITS = ("running", "done", "ended")


class DataflowJobTrigger(BaseTrigger):
    """Looks at a job until it is ``running``, ``done``, or ``ended`` in any way.

    An outage of the service shorter than ``give_up_after`` is waited out. Nothing is cancelled when the
    waiting task is killed, unless ``cancel_on_kill`` says so.

    :param job_id: the job.
    :param until: one of :data:`WAITS`.
    :param poll_seconds: time between two looks.
    :param timeout: seconds until it gives up waiting.
    :param give_up_after: seconds of failing requests in a row until it gives up.
    """

    def __init__(
        self,
        *,
        job_id: str,
        until: str,
        gcp_conn_id: str = "google_cloud_default",
        location: str = "us-central1",
        project_id: str | None = None,
        poll_seconds: float = 5.0,
        timeout: float = 3600.0,
        give_up_after: float = 120.0,
        cancel_on_kill: bool = False,
    ) -> None:
        super().__init__()
        self.job_id, self.until = job_id, until
        self.gcp_conn_id, self.location, self.project_id = gcp_conn_id, location, project_id
        self.poll_seconds, self.timeout, self.give_up_after = poll_seconds, timeout, give_up_after
        self.cancel_on_kill = cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        names = (
            "job_id",
            "until",
            "gcp_conn_id",
            "location",
            "project_id",
            "poll_seconds",
            "timeout",
            "give_up_after",
            "cancel_on_kill",
        )
        return "madhatter_provider.triggers.dataflow.DataflowJobTrigger", {n: getattr(self, n) for n in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: the job, or the error that the task is to raise."""
        try:
            job = await self._wait(await self._hook())
        except MadHatterError as err:
            kind, what, where, remedy = type(err).__name__, err.what, err.where, err.remedy
            yield TriggerEvent(
                {"error": kind, "what": what, "where": where, "remedy": remedy, "job_id": self.job_id}
            )
            return
        yield TriggerEvent(
            {"job": {n: job.get(n) for n in ("id", "name", "currentState", "replacedByJobId")}}
        )

    async def on_kill(self) -> None:
        """The waiting task was ended by hand: cancel the job if the operator asked for that."""
        if self.cancel_on_kill:
            hook = await self._hook()
            await asyncio.to_thread(hook.stop_job, self.job_id, "JOB_STATE_CANCELLED")

    async def _hook(self) -> MadhatterDataflowHook:
        from asgiref.sync import sync_to_async

        from madhatter_provider.hooks.dataflow import MadhatterDataflowHook

        def make() -> MadhatterDataflowHook:
            hook = MadhatterDataflowHook(self.gcp_conn_id, self.location, self.project_id)
            # Reading a connection asks the database: in the triggerer that must not happen in the event loop.
            assert hook.endpoint
            assert hook.project
            return hook

        return await sync_to_async(make)()

    async def _wait(self, hook: MadhatterDataflowHook) -> dict[str, Any]:
        begun = answered = time.monotonic()
        while True:
            try:
                job = await asyncio.to_thread(hook.job, self.job_id)
                answered = time.monotonic()
            except TransientError:
                if time.monotonic() - answered > self.give_up_after:
                    raise
            else:
                if await self._over(hook, job):
                    return job
                if time.monotonic() - begun > self.timeout:
                    raise TransientError(
                        f"The job is {job.get('currentState')} after {self.timeout:.0f} s, not {self.until}",
                        where=f"{job.get('name')} ({self.job_id})",
                        remedy="Read the job's messages; give it more time with wait_timeout.",
                    )
            await asyncio.sleep(self.poll_seconds)

    async def _over(self, hook: MadhatterDataflowHook, job: dict[str, Any]) -> bool:
        if self.until == "ended":
            return phase_of(job) in ENDED
        try:
            return settled(job, "running" if self.until == "running" else "done")
        except errors.JobError as err:
            said = await asyncio.to_thread(hook.last_error, self.job_id)
            raise errors.JobError(f"{err.what}. {said}".strip(), where=err.where, remedy=err.remedy) from err


def raise_for_event(event: dict[str, Any]) -> None:
    """Raise the error that the trigger reported, with its own class, so that the retry policy sees it.

    :raises MadHatterError: the event reports an error.
    """
    if name := event.get("error"):
        raise getattr(errors, name, TransientError)(
            event["what"], where=event["where"], remedy=event["remedy"]
        )
