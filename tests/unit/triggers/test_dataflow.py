"""The trigger that waits for a job: outages, ends, timeouts, kills."""

from __future__ import annotations

from typing import Any

import pytest

from madhatter_provider.core.errors import JobError, TransientError
from madhatter_provider.triggers.dataflow import DataflowJobTrigger, raise_for_event


class Answers:
    """A hook whose job moves one step with every look; an exception is an outage."""

    def __init__(self, *states: str | Exception) -> None:
        self.states = list(states)
        self.stopped: list[tuple[str, str]] = []

    def job(self, job_id: str) -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        return {"id": job_id, "name": "fraud", "currentState": f"JOB_STATE_{state}", "labels": {}}

    def last_error(self, _job_id: str) -> str:
        return "Workflow failed: no such topic"

    def stop_job(self, job_id: str, state: str) -> None:
        self.stopped.append((job_id, state))


def trigger(monkeypatch: pytest.MonkeyPatch, hook: Answers, **changes: Any) -> DataflowJobTrigger:
    made = DataflowJobTrigger(**{"job_id": "7", "until": "running", "poll_seconds": 0.001, **changes})

    async def give(_self: DataflowJobTrigger) -> Answers:
        return hook

    monkeypatch.setattr(DataflowJobTrigger, "_hook", give)
    return made


async def event_of(waiting: DataflowJobTrigger) -> dict[str, Any]:
    events = [event.payload async for event in waiting.run()]
    assert len(events) == 1
    return dict(events[0])


OUTAGE = TransientError("no answer")


@pytest.mark.asyncio
async def test_it_waits_until_the_job_runs_also_over_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Answers("QUEUED", OUTAGE, OUTAGE, "PENDING", "RUNNING")
    event = await event_of(trigger(monkeypatch, hook))
    assert event["job"]["currentState"] == "JOB_STATE_RUNNING"
    raise_for_event(event)


@pytest.mark.asyncio
async def test_a_job_that_failed_is_an_error_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    event = await event_of(trigger(monkeypatch, Answers("PENDING", "FAILED")))
    with pytest.raises(JobError, match="no such topic"):
        raise_for_event(event)


@pytest.mark.asyncio
@pytest.mark.parametrize("state", ["DONE", "DRAINED", "CANCELLED", "UPDATED", "FAILED"])
async def test_until_ended_takes_any_end(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    event = await event_of(trigger(monkeypatch, Answers("DRAINING", state), until="ended"))
    assert event["job"]["currentState"] == f"JOB_STATE_{state}"


@pytest.mark.asyncio
async def test_until_done_goes_on_while_the_job_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    event = await event_of(trigger(monkeypatch, Answers("RUNNING", "RUNNING", "DONE"), until="done"))
    assert event["job"]["currentState"] == "JOB_STATE_DONE"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("hook", "changes"),
    [(Answers("PENDING"), {"timeout": 0.01}), (Answers(OUTAGE), {"give_up_after": 0.01})],
)
async def test_it_gives_up(monkeypatch: pytest.MonkeyPatch, hook: Answers, changes: dict[str, Any]) -> None:
    event = await event_of(trigger(monkeypatch, hook, **changes))
    assert event["job_id"] == "7"
    with pytest.raises(TransientError):
        raise_for_event(event)


@pytest.mark.asyncio
async def test_killing_the_task_cancels_only_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in (False, True):
        hook = Answers("PENDING")
        await trigger(monkeypatch, hook, cancel_on_kill=asked).on_kill()
        assert hook.stopped == ([("7", "JOB_STATE_CANCELLED")] if asked else [])


def test_it_survives_being_stored() -> None:
    first = DataflowJobTrigger(job_id="7", until="done", location="l", project_id="p", cancel_on_kill=True)
    path, arguments = first.serialize()
    assert path == f"{DataflowJobTrigger.__module__}.{DataflowJobTrigger.__name__}"
    assert DataflowJobTrigger(**arguments).serialize() == (path, arguments)
