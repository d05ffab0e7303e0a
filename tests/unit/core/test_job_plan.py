"""Desired state of a job: every state has a meaning, every difference a plan."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from madhatter_provider.core.errors import ConfigurationError, JobError
from madhatter_provider.core.job_plan import (
    ENDED,
    PHASES,
    SPEC_LABEL,
    Action,
    JobSpec,
    OnChange,
    Phase,
    Until,
    phase_of,
    plan,
    settled,
)

SPEC = JobSpec(
    "fraud", "gs://b/t.json", {"topic": "x"}, {"maxWorkers": 2, "additionalUserLabels": {"team": "risk"}}
)


def job(state: str, spec: JobSpec | None = SPEC) -> dict[str, Any]:
    labels = {SPEC_LABEL: spec.digest} if spec else {}
    return {"id": "1", "name": "fraud", "currentState": f"JOB_STATE_{state}", "labels": labels}


def test_every_state_of_the_published_interface_is_known() -> None:
    document = files("googleapiclient.discovery_cache") / "documents" / "dataflow.v1b3.json"
    states = json.loads(document.read_text())["schemas"]["Job"]["properties"]["currentState"]["enum"]
    assert set(states) == set(PHASES)


def test_an_unknown_state_is_an_error_and_not_an_endless_wait() -> None:
    with pytest.raises(JobError, match="unknown state JOB_STATE_DREAMING"):
        phase_of(job("DREAMING"))


def test_the_digest_covers_all_that_changes_what_runs_and_nothing_else() -> None:
    same = JobSpec("other-name", SPEC.template, dict(SPEC.parameters), dict(SPEC.environment))
    others = [
        JobSpec("fraud", "gs://b/t2.json", SPEC.parameters, SPEC.environment),
        JobSpec("fraud", SPEC.template, {"topic": "y"}, SPEC.environment),
        JobSpec("fraud", SPEC.template, SPEC.parameters, {"maxWorkers": 3}),
    ]
    assert same.digest == SPEC.digest
    assert len({SPEC.digest, *(o.digest for o in others)}) == 4


def test_the_launch_carries_the_digest_beside_the_users_labels() -> None:
    body = SPEC.launch_body()["launchParameter"]
    assert body["environment"] == {
        "maxWorkers": 2,
        "additionalUserLabels": {"team": "risk", SPEC_LABEL: SPEC.digest},
    }
    assert (body["jobName"], body["containerSpecGcsPath"], body["parameters"]) == (
        "fraud",
        "gs://b/t.json",
        {"topic": "x"},
    )
    assert "update" not in body


def test_an_update_names_the_renamed_transforms() -> None:
    body = SPEC.launch_body(update=True, name_mappings={"a": "b"})["launchParameter"]
    assert (body["update"], body["transformNameMappings"]) == (True, {"a": "b"})


OTHER = JobSpec("fraud", "gs://b/old.json")


@pytest.mark.parametrize(
    ("active", "on_change", "action"),
    [
        (None, "fail", Action.LAUNCH),
        (job("RUNNING"), "fail", Action.ADOPT),
        (job("QUEUED"), "update", Action.ADOPT),
        (job("DRAINING"), "fail", Action.WAIT_THEN_LAUNCH),
        (job("CANCELLING", OTHER), "update", Action.WAIT_THEN_LAUNCH),
        (job("RUNNING", OTHER), "update", Action.UPDATE),
        (job("RUNNING", OTHER), "drain_and_replace", Action.DRAIN_THEN_LAUNCH),
        (job("RUNNING", None), "drain_and_replace", Action.DRAIN_THEN_LAUNCH),
    ],
)
def test_plan(active: dict[str, Any] | None, on_change: OnChange, action: Action) -> None:
    assert plan(active, SPEC, on_change) is action


def test_a_different_specification_fails_when_told_so() -> None:
    with pytest.raises(JobError, match="runs another specification"):
        plan(job("RUNNING", OTHER), SPEC, "fail")


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="on_change"):
        plan(None, SPEC, "explode")  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [name.removeprefix("JOB_STATE_") for name in PHASES])
def test_every_state_ends_the_wait_goes_on_or_is_an_error(state: str) -> None:
    phase = phase_of(job(state))
    if phase in ENDED - {Phase.SUCCEEDED}:
        waits: tuple[Until, ...] = ("running", "done")
        for until in waits:
            with pytest.raises(JobError, match=f"ended: JOB_STATE_{state}"):
                settled(job(state), until)
        return
    assert settled(job(state), "done") == (phase is Phase.SUCCEEDED)
    assert settled(job(state), "running") == (phase in (Phase.SUCCEEDED, Phase.RUNNING, Phase.PAUSED))


def test_a_replaced_job_names_its_successor() -> None:
    with pytest.raises(JobError, match="replaced by 2"):
        settled({**job("UPDATED"), "replacedByJobId": "2"}, "running")
