"""The routes of Dataflow's REST interface that our operators (and Google's) use, in Google's forms and
errors.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from madhatter_provider.local.dataflow.jobs import JobRecord, timestamp, valid_name
from madhatter_provider.local.dataflow.launcher import Launcher

_JOBS = "/v1b3/projects/{project}/locations/{location}/jobs"
_STOPS = ("JOB_STATE_CANCELLED", "JOB_STATE_DRAINED")


class _Environment(msgspec.Struct, frozen=True, rename="camel"):
    additional_user_labels: dict[str, str] = {}


class _LaunchParameter(msgspec.Struct, frozen=True, rename="camel"):
    job_name: str = ""
    container_spec_gcs_path: str = ""
    parameters: dict[str, str] = {}
    environment: _Environment = _Environment()
    update: bool = False


class _Launch(msgspec.Struct, frozen=True, rename="camel"):
    launch_parameter: _LaunchParameter
    validate_only: bool = False


class _Refused(Exception):
    """Answered as a Google error."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code, self.status = code, status


def dataflow_app(launcher: Launcher) -> Starlette:
    """The service; its jobs start and stop with it."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        launcher.start()
        yield
        await launcher.stop()

    async def refused(_request: Request, err: Exception) -> JSONResponse:
        assert isinstance(err, _Refused)
        body = {"error": {"code": err.code, "message": str(err), "status": err.status}}
        return JSONResponse(body, status_code=err.code)

    routes = _Routes(launcher)
    return Starlette(
        lifespan=lifespan,
        exception_handlers={_Refused: refused},
        routes=[
            Route("/health", routes.health),
            Route(_JOBS.replace("/jobs", "/flexTemplates:launch"), routes.launch, methods=["POST"]),
            Route(_JOBS, routes.list_jobs),
            Route(_JOBS + "/{job}", routes.get),
            Route(_JOBS + "/{job}", routes.update, methods=["PUT"]),
            Route(_JOBS + "/{job}/metrics", routes.metrics),
            Route(_JOBS + "/{job}/messages", routes.messages),
        ],
    )


class _Routes:
    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def health(self, _request: Request) -> JSONResponse:
        active = sum(not record.ended for record in self._launcher.store.all())
        return JSONResponse({"status": "ok", "active_jobs": active})

    async def launch(self, request: Request) -> JSONResponse:
        try:
            asked = msgspec.json.decode(await request.body(), type=_Launch)
        except msgspec.DecodeError as err:
            raise _Refused(400, "INVALID_ARGUMENT", f"The body is not a launch: {err}") from err
        wanted, place = asked.launch_parameter, request.path_params
        project, location, name = place["project"], place["location"], wanted.job_name
        if not valid_name(name):
            text = f"The job name {name!r} is invalid: lower-case letters, digits and dashes"
            raise _Refused(400, "INVALID_ARGUMENT", text)
        template, labels = wanted.container_spec_gcs_path, wanted.environment.additional_user_labels
        if template not in self._launcher.templates:
            raise _Refused(404, "NOT_FOUND", f"The template {template!r} was not found")
        self._check_name(name, self._launcher.store.active(project, location, name), wanted.update)
        if asked.validate_only:
            return JSONResponse({})
        record = self._launcher.launch(project, location, name, template, wanted.parameters, labels)
        return JSONResponse({"job": record.job})

    def _check_name(self, name: str, active: JobRecord | None, update: bool) -> None:
        if active is not None and not update:
            text = f"There is already an active job named {name} ({active.id}): update it or rename"
            raise _Refused(409, "ALREADY_EXISTS", text)
        if active is None and update:
            raise _Refused(404, "NOT_FOUND", f"There is no active job named {name} to update")

    async def list_jobs(self, request: Request) -> JSONResponse:
        query, place = request.query_params, request.path_params
        kept = [
            record.job
            for record in self._launcher.store.all()
            if (record.job["projectId"], record.job["location"]) == (place["project"], place["location"])
            and query.get("filter", "ALL") in ("ALL", "UNKNOWN", "TERMINATED" if record.ended else "ACTIVE")
            and query.get("name", record.job["name"]) == record.job["name"]
        ]
        return JSONResponse({"jobs": kept} if kept else {})

    async def get(self, request: Request) -> JSONResponse:
        return JSONResponse(self._job(request).job)

    async def update(self, request: Request) -> JSONResponse:
        record, state = self._job(request), (await _body(request)).get("requestedState")
        if state not in _STOPS:
            raise _Refused(
                400, "INVALID_ARGUMENT", f"requestedState {state!r} is none of {', '.join(_STOPS)}"
            )
        if record.ended:
            raise _Refused(400, "FAILED_PRECONDITION", f"The job has ended: {record.state}")
        if state == "JOB_STATE_DRAINED" and record.job["type"] != "JOB_TYPE_STREAMING":
            raise _Refused(400, "FAILED_PRECONDITION", "Only streaming jobs can be drained")
        self._launcher.request(record, state)
        return JSONResponse(record.job)

    async def metrics(self, request: Request) -> JSONResponse:
        record, now = self._job(request), timestamp()
        report = self._launcher.counters(record)
        found: list[tuple[str, str, dict[str, str], int]] = []
        for full_name, value in sorted(report.get("counters", {}).items()):
            namespace, _, name = full_name.partition("/")
            found.append(("user", name, {"namespace": namespace}, value))
        if report.get("watermark") is not None:  # of the stage that reads: the runner tells no other
            found.append(("dataflow/v1b3", "F1-windmill-data-watermark", {}, report["watermark"]))
        metrics = [
            {
                "name": {"origin": origin, "name": name, "context": context | more},
                "scalar": value,
                "updateTime": now,
            }
            for origin, name, context, value in found
            for more in ({}, {"tentative": "true"})
        ]
        return JSONResponse({"metrics": metrics, "metricTime": now})

    async def messages(self, request: Request) -> JSONResponse:
        return JSONResponse({"jobMessages": self._job(request).messages, "autoscalingEvents": []})

    def _job(self, request: Request) -> JobRecord:
        place = request.path_params
        record = self._launcher.store.get(place["job"])
        if record is None or (record.job["projectId"], record.job["location"]) != (
            place["project"],
            place["location"],
        ):
            raise _Refused(
                404, "NOT_FOUND", f"Information about job {place['job']} could not be found in our system."
            )
        return record


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _Refused(400, "INVALID_ARGUMENT", "The body is not a JSON object")
    return body
