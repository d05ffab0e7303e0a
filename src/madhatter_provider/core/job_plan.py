"""Desired state of a Dataflow job: what to do so that the job of this name runs this specification.

The specification's digest is kept as a label of the job, so that the service itself remembers what it runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from madhatter_provider.core.errors import ConfigurationError, JobError

SPEC_LABEL = "madhatter-spec"
ON_CHANGE = ("update", "drain_and_replace", "fail")
OnChange = Literal["update", "drain_and_replace", "fail"]
Until = Literal["running", "done"]


class Phase(Enum):
    """What a job state means to who waits."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    REPLACED = "replaced"
    FAILED = "failed"


# Every state of the interface, so that a new one is an error and not an endless wait.
PHASES = {
    "JOB_STATE_UNKNOWN": Phase.STARTING,
    "JOB_STATE_STOPPED": Phase.STARTING,  # Dataflow's word for "has not started to run"
    "JOB_STATE_QUEUED": Phase.STARTING,
    "JOB_STATE_PENDING": Phase.STARTING,
    "JOB_STATE_RUNNING": Phase.RUNNING,
    "JOB_STATE_PAUSING": Phase.PAUSED,
    "JOB_STATE_PAUSED": Phase.PAUSED,
    "JOB_STATE_DRAINING": Phase.STOPPING,
    "JOB_STATE_CANCELLING": Phase.STOPPING,
    "JOB_STATE_RESOURCE_CLEANING_UP": Phase.RUNNING,
    "JOB_STATE_DONE": Phase.SUCCEEDED,
    "JOB_STATE_DRAINED": Phase.STOPPED,
    "JOB_STATE_CANCELLED": Phase.STOPPED,
    "JOB_STATE_UPDATED": Phase.REPLACED,
    "JOB_STATE_FAILED": Phase.FAILED,
}
ENDED = frozenset({Phase.SUCCEEDED, Phase.STOPPED, Phase.REPLACED, Phase.FAILED})


def phase_of(job: Mapping[str, Any]) -> Phase:
    """Phase of a job as the interface describes it.

    :raises JobError: a state that nobody knows.
    """
    state = job.get("currentState", "JOB_STATE_UNKNOWN")
    if state not in PHASES:
        raise JobError(
            f"The job is in the unknown state {state}",
            where=str(job.get("id")),
            remedy="Upgrade this package.",
        )
    return PHASES[state]


@dataclass(frozen=True)
class JobSpec:
    """One job: its name, the Flex Template's path and all that changes what runs.

    :param environment: the API's ``FlexTemplateRuntimeEnvironment``.
    """

    name: str
    template: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """16 hexadecimal characters; a value that Dataflow accepts as a label."""
        content = json.dumps([self.template, dict(self.parameters), dict(self.environment)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def launch_body(
        self, *, update: bool = False, name_mappings: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Body of ``flexTemplates:launch``."""
        labels = {**self.environment.get("additionalUserLabels", {}), SPEC_LABEL: self.digest}
        wanted: dict[str, Any] = {
            "jobName": self.name,
            "containerSpecGcsPath": self.template,
            "parameters": dict(self.parameters),
            "environment": {**self.environment, "additionalUserLabels": labels},
        }
        if update:
            wanted["update"] = True
            if name_mappings:
                wanted["transformNameMappings"] = dict(name_mappings)
        return {"launchParameter": wanted}


class Action(Enum):
    """What to do next."""

    ADOPT = "adopt"
    LAUNCH = "launch"
    WAIT_THEN_LAUNCH = "wait until it has ended, then launch"
    UPDATE = "update in place"
    DRAIN_THEN_LAUNCH = "drain, then launch"


def plan(active: Mapping[str, Any] | None, spec: JobSpec, on_change: OnChange) -> Action:
    """What brings the job to ``spec``.

    ================================ ==========================
    active job of the name           action
    ================================ ==========================
    none                             launch
    being drained or cancelled       wait until it has ended, then launch
    same specification               adopt
    other, ``update``                update in place
    other, ``drain_and_replace``     drain, then launch
    other, ``fail``                  JobError
    ================================ ==========================

    :param active: the job of this name that has not ended, if any.
    :raises JobError: another specification runs, and ``on_change`` is ``fail``.
    :raises ConfigurationError: ``on_change`` is none of :data:`ON_CHANGE`.
    """
    if on_change not in ON_CHANGE:
        raise ConfigurationError(
            f"on_change={on_change!r}", where=spec.name, remedy=f"Choose one of {', '.join(ON_CHANGE)}."
        )
    if active is None:
        return Action.LAUNCH
    if phase_of(active) is Phase.STOPPING:
        return Action.WAIT_THEN_LAUNCH
    running = active.get("labels", {}).get(SPEC_LABEL)
    if running == spec.digest:
        return Action.ADOPT
    if on_change == "fail":
        raise JobError(
            f"The job runs another specification: {running or 'not started by this operator'}, wanted "
            f"{spec.digest}",
            where=f"{spec.name} ({active.get('id')})",
            remedy="Set on_change to update or drain_and_replace, or stop the job by hand.",
        )
    return Action.UPDATE if on_change == "update" else Action.DRAIN_THEN_LAUNCH


def settled(job: Mapping[str, Any], until: Until) -> bool:
    """Whether the wait for a job is over.

    ============================ ============================== ==========================
    state                        until ``running``              until ``done``
    ============================ ============================== ==========================
    unknown, stopped, queued,    go on                          go on
    pending
    running, cleaning up         over                           go on
    pausing, paused              over (the job exists)          go on
    draining, cancelling         go on                          go on
    done                         over                           over
    drained, cancelled, failed   JobError                       JobError
    updated                      JobError (see the newer job)   JobError
    ============================ ============================== ==========================

    :raises JobError: it ended otherwise than wanted.
    """
    phase = phase_of(job)
    if phase in (Phase.STOPPED, Phase.REPLACED, Phase.FAILED):
        newer = f"; replaced by {job['replacedByJobId']}" if job.get("replacedByJobId") else ""
        raise JobError(
            f"The job ended: {job['currentState']}{newer}",
            where=f"{job.get('name')} ({job.get('id')})",
            remedy="Read the job's messages and log; then run the task again.",
        )
    if phase is Phase.SUCCEEDED:
        return True
    return until == "running" and phase in (Phase.RUNNING, Phase.PAUSED)
