"""Run jobs as processes, watch them, end them, and find them again after a restart.

Life of a job:

1. It is written down as queued, before its process exists.
2. Its process starts in a session of its own, with the job's mark in its environment; pid and creation time
   are written down.
3. It is running when the pipeline has written its counters for the first time (or has lived for half a
   minute).
4. Its end is read from the exit code, or, for a process that was taken over after a restart, from the state
   that the pipeline wrote last. Whatever the process left behind is killed.

A service that was killed finds at its next start every job that had not ended: by pid and creation time
(taken over), else by the mark (killed), else it failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from madhatter_provider.local.dataflow.jobs import JobRecord, JobStore, new_job
from madhatter_provider.local.dataflow.templates import Template
from madhatter_provider.local.process import ProcessId, end, members, spawn, tail

METRICS_FILE = "MADHATTER_JOB_METRICS"
_POLL_SECONDS = 0.25
_READY_SECONDS = 30.0
_STOP_SECONDS = 20.0


class Launcher:
    """Runs the jobs of one service.

    :param work: folder for jobs, logs and counters.
    """

    def __init__(self, work: Path, templates: Mapping[str, Template]) -> None:
        self.work, self.templates = work, templates
        self.store = JobStore(work / "jobs")
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Take over what still runs of an earlier service, and settle what does not."""
        for record in self.store.all():
            if not record.ended:
                self._recover(record)

    async def stop(self) -> None:
        """Ask all jobs to drain, then end those that do not."""
        running = [record for record in self.store.all() if not record.ended]
        for record in running:
            self._signal(record, signal.SIGTERM)
            record.job.setdefault("requestedState", "JOB_STATE_DRAINED")
            record.say("The service stops")
            self.store.save(record)
        if self._watchers:
            await asyncio.wait(self._watchers.values(), timeout=_STOP_SECONDS)
        for record in running:
            if not record.ended:
                await asyncio.to_thread(self._kill, record)
                self._settle(record, "JOB_STATE_CANCELLED")
        for watcher in self._watchers.values():
            watcher.cancel()

    def launch(
        self,
        project: str,
        location: str,
        name: str,
        template: str,
        parameters: dict[str, str],
        labels: dict[str, str],
    ) -> JobRecord:
        """Accept a job; an active job of the same name is replaced in place:

        drained, then followed by this one.
        """
        job = new_job(project, location, name, streaming=self.templates[template].streaming, labels=labels)
        record = JobRecord(job, template, parameters)
        before = self.store.active(project, location, name)
        if before is not None:
            job["replaceJobId"], before.job["replacedByJobId"] = before.id, record.id
            before.job["requestedState"] = "JOB_STATE_UPDATED"
            self.store.save(before)
            self._signal(before, signal.SIGTERM)
        self.store.save(record)
        self._watchers[record.id] = asyncio.create_task(self._run(record, before))
        return record

    def request(self, record: JobRecord, state: str) -> None:
        """Begin to cancel or drain a job."""
        record.job["requestedState"] = state
        cancel = state == "JOB_STATE_CANCELLED"
        record.move("JOB_STATE_CANCELLING" if cancel else "JOB_STATE_DRAINING")
        self.store.save(record)
        if not cancel:
            self._signal(record, signal.SIGTERM)

    def counters(self, record: JobRecord) -> dict[str, Any]:
        """What the pipeline wrote last: ``counters``, ``watermark``, ``state``, ``at``; empty at first."""
        try:
            found: dict[str, Any] = msgspec.json.decode(
                self._metrics(record).read_bytes(), type=dict[str, Any]
            )
        except (OSError, msgspec.DecodeError):
            return {}
        return found

    def log(self, record: JobRecord) -> Path:
        """The job's log file."""
        return self.work / "logs" / f"{record.id}.log"

    async def _run(self, record: JobRecord, before: JobRecord | None) -> None:
        while before is not None and not before.ended:
            await asyncio.sleep(_POLL_SECONDS)
        if record.wanted == "JOB_STATE_CANCELLED":
            self._settle(record, "JOB_STATE_CANCELLED")
            return
        try:
            await asyncio.to_thread(self._spawn, record)
        except OSError as err:
            record.say(f"The command cannot be started: {err}", "JOB_MESSAGE_ERROR")
            self._settle(record, "JOB_STATE_FAILED")
            return
        await self._watch(record)

    def _spawn(self, record: JobRecord) -> None:
        template = self.templates[record.template]
        command = [sys.executable if part == "{python}" else part for part in template.command]
        command += [f"--{name}={value}" for name, value in record.parameters.items()]
        record.move("JOB_STATE_PENDING")
        self.store.save(record)
        child, process = spawn(
            command,
            env={**os.environ, **template.environment, METRICS_FILE: str(self._metrics(record))},
            log=self.log(record),
            cwd=Path.cwd(),
            mark=self._mark(record),
        )
        self._children[record.id] = child
        record.pid, record.process_created = process.pid, process.create_time
        self.store.save(record)

    async def _watch(self, record: JobRecord) -> None:
        """Follow the process to its end."""
        begun = time.monotonic()
        while (code := self._exit_code(record)) is None:
            if record.wanted == "JOB_STATE_CANCELLED":
                await asyncio.to_thread(self._kill, record)
                continue
            waited = time.monotonic() - begun > _READY_SECONDS
            if record.state == "JOB_STATE_PENDING" and (waited or self._metrics(record).exists()):
                record.move("JOB_STATE_RUNNING")
                self.store.save(record)
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.to_thread(self._kill, record)
        self._settle(record, _final_state(record.wanted, code))

    def _exit_code(self, record: JobRecord) -> int | None:
        """None while it runs. A process that is not our child ends with what the pipeline said of itself."""
        child = self._children.get(record.id)
        if child is not None:
            return child.poll()
        if self._process(record).find() is not None:
            return None
        return 0 if self.counters(record).get("state") in ("DONE", "DRAINED") else 1

    def _settle(self, record: JobRecord, state: str) -> None:
        if state == "JOB_STATE_FAILED":
            last = tail(self.log(record), 12) if self.log(record).exists() else ""
            record.say(f"Workflow failed.\n{last}", "JOB_MESSAGE_ERROR")
        record.move(state)
        self.store.save(record)
        self._watchers.pop(record.id, None)

    def _recover(self, record: JobRecord) -> None:
        if record.pid is not None and self._process(record).find() is not None:
            record.say("Taken over after a restart of the service")
            self.store.save(record)
            self._watchers[record.id] = asyncio.create_task(self._watch(record))
            return
        left = len(members(None, self._mark(record)))
        self._kill(record)
        code = self._exit_code(record) if record.pid is not None else 1
        record.say(
            f"Its process had ended when the service came back; {left} left-over processes were killed"
        )
        self._settle(record, _final_state(record.wanted, 1 if code is None else code))

    def _signal(self, record: JobRecord, number: signal.Signals) -> None:
        """To the pipeline only: it knows what to do with its runner."""
        process = self._process(record).find() if record.pid is not None else None
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _kill(self, record: JobRecord) -> None:
        leader = self._process(record) if record.pid is not None else None
        end(leader, self._mark(record), grace=0)

    def _process(self, record: JobRecord) -> ProcessId:
        return ProcessId(record.pid or -1, record.process_created)

    def _metrics(self, record: JobRecord) -> Path:
        return self.work / "counters" / f"{record.id}.json"

    def _mark(self, record: JobRecord) -> str:
        return f"{record.id}@{self.work}"


def _final_state(wanted: str, code: int) -> str:
    """How a job ended, from what was asked of it and its exit code."""
    if wanted in ("JOB_STATE_CANCELLED", "JOB_STATE_UPDATED"):
        return wanted
    if wanted == "JOB_STATE_DRAINED" and code in (0, -signal.SIGTERM):
        return wanted
    return "JOB_STATE_DONE" if code == 0 else "JOB_STATE_FAILED"
