"""Jobs as Dataflow describes them, kept in one file each."""

from __future__ import annotations

import os
import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from madhatter_provider.core.errors import ConfigurationError

TERMINAL = frozenset(f"JOB_STATE_{name}" for name in ("DONE", "FAILED", "CANCELLED", "DRAINED", "UPDATED"))
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
_MOST_MESSAGES = 200


class JobRecord(msgspec.Struct):
    """``job`` is what the interface shows; the rest is what the launcher needs to find the process again."""

    job: dict[str, Any]
    template: str
    parameters: dict[str, str]
    messages: list[dict[str, str]] = []
    pid: int | None = None
    process_created: float = 0.0

    @property
    def id(self) -> str:
        """Job id."""
        return str(self.job["id"])

    @property
    def state(self) -> str:
        """Current state, as in ``JOB_STATE_RUNNING``."""
        return str(self.job["currentState"])

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in TERMINAL

    @property
    def wanted(self) -> str:
        """The state that was asked for, if any."""
        return str(self.job.get("requestedState", ""))

    def say(self, text: str, importance: str = "JOB_MESSAGE_BASIC") -> None:
        """Add a job message."""
        number = str(len(self.messages))
        message = {"id": number, "time": timestamp(), "messageText": text, "messageImportance": importance}
        self.messages = [*self.messages, message][-_MOST_MESSAGES:]

    def move(self, state: str) -> None:
        """Change the state; a final one stays."""
        if not self.ended and state != self.state:
            self.job["currentState"], self.job["currentStateTime"] = state, timestamp()
            self.say(f"Worker state: {state}")


class JobStore:
    """All jobs of one service. Every change is written at once: temporary file, then rename."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._records: dict[str, JobRecord] = {}
        for path in sorted(folder.glob("*.json")):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=JobRecord)
            except msgspec.DecodeError as err:
                raise ConfigurationError(
                    f"A job's file is damaged: {err}",
                    where=str(path),
                    remedy="Delete the file, then start again.",
                ) from err
            self._records[record.id] = record

    def get(self, job_id: str) -> JobRecord | None:
        """The job with this id."""
        return self._records.get(job_id)

    def all(self) -> list[JobRecord]:
        """All jobs, oldest first."""
        return list(self._records.values())

    def active(self, project: str, location: str, name: str) -> JobRecord | None:
        """The job of this name that has not ended; there is at most one."""
        for record in self._records.values():
            job = record.job
            same = (job["projectId"], job["location"], job["name"]) == (project, location, name)
            if same and not record.ended:
                return record
        return None

    def save(self, record: JobRecord) -> None:
        """Write a job down."""
        self._records[record.id] = record
        path = self._folder / f"{record.id}.json"
        temporary = path.with_suffix(".part")
        temporary.write_bytes(msgspec.json.encode(record))
        os.replace(temporary, path)


def new_job(
    project: str, location: str, name: str, *, streaming: bool, labels: dict[str, str]
) -> dict[str, Any]:
    """A job that was just accepted."""
    now = timestamp()
    stamp = time.strftime("%Y-%m-%d_%H_%M_%S", time.gmtime())
    return {
        "id": f"{stamp}-{secrets.randbelow(10**18):018d}",
        "projectId": project,
        "location": location,
        "name": name,
        "type": "JOB_TYPE_STREAMING" if streaming else "JOB_TYPE_BATCH",
        "currentState": "JOB_STATE_QUEUED",
        "currentStateTime": now,
        "createTime": now,
        "startTime": now,
        "labels": labels,
        "environment": {},
    }


def valid_name(name: Any) -> bool:
    """Whether Dataflow would take this job name."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name))


def timestamp() -> str:
    """Now, as Google's interfaces write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
