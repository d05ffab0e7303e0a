"""Dataflow as desired state needs it: the active job of a name, launch, look, stop.

The connection is Google's (type ``google_cloud_platform``). Its extra may hold ``api_endpoint``: the address
of a service that speaks Dataflow's REST interface, such as the local one. Calls are plain HTTP, so that the
same code serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.google.cloud.hooks.dataflow import DataflowHook

from madhatter_provider.core.errors import ConfigurationError, JobError, TransientError

if TYPE_CHECKING:
    import httpx
    from google.api_core.client_options import ClientOptions

_ENDPOINT = "https://dataflow.googleapis.com"
_CONSOLE = "https://console.cloud.google.com/dataflow/jobs"
# 409: somebody else launched a job of this name just now; the next try adopts it.
_TRANSIENT = frozenset({408, 409, 429, 500, 502, 503, 504})


class MadhatterDataflowHook(DataflowHook):
    """Google's hook with the address taken from the connection, and idempotent calls by job name.

    :param gcp_conn_id: connection id.
    :param location: Dataflow region.
    :param project_id: default: the connection's.
    :param timeout: seconds for one request.
    """

    def __init__(
        self,
        gcp_conn_id: str = "google_cloud_default",
        location: str = "us-central1",
        project_id: str | None = None,
        timeout: float = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(gcp_conn_id=gcp_conn_id, **kwargs)
        self.location, self.timeout, self._project = location, timeout, project_id

    @cached_property
    def endpoint(self) -> str:
        """Base URL of the REST interface, without a slash at the end."""
        return str(self._get_field("api_endpoint") or _ENDPOINT).rstrip("/")

    @cached_property
    def project(self) -> str:
        """Project of the jobs.

        :raises ConfigurationError: neither the operator nor the connection names one.
        """
        project = self._project or self.project_id
        if not project:
            raise ConfigurationError(
                "No project",
                where=f"connection {self.gcp_conn_id}",
                remedy='Add {"project": "…"} to its extra.',
            )
        return str(project)

    def get_client_options(self, api_endpoint_override: str | None = None) -> ClientOptions:
        """Let Google's own operators, given this hook, talk to the same address."""
        return super().get_client_options(api_endpoint_override or self.endpoint)

    def active_job(self, name: str) -> dict[str, Any] | None:
        """The job of exactly this name that has not ended; Dataflow allows one."""
        page: str | None = None
        while True:
            query = {"filter": "ACTIVE", "name": name, **({"pageToken": page} if page else {})}
            answer = self._call("GET", "jobs", query=query)
            for job in answer.get("jobs", []):
                if job.get("name") == name:  # not every service filters by name
                    return dict(job)
            page = answer.get("nextPageToken")
            if not page:
                return None

    def launch(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Launch a Flex Template; returns the job."""
        return dict(self._call("POST", "flexTemplates:launch", body=body)["job"])

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as it is now."""
        return self._call("GET", f"jobs/{job_id}")

    def metrics(self, job_id: str) -> list[dict[str, Any]]:
        """The job's newest metrics, as Dataflow gives them."""
        return list(self._call("GET", f"jobs/{job_id}/metrics").get("metrics", []))

    def stop_job(self, job_id: str, state: str) -> dict[str, Any]:
        """Ask for ``JOB_STATE_DRAINED`` or ``JOB_STATE_CANCELLED``."""
        return self._call("PUT", f"jobs/{job_id}", body={"requestedState": state})

    def last_error(self, job_id: str) -> str:
        """Text of the job's last error message; empty if there is none."""
        messages = self._call("GET", f"jobs/{job_id}/messages").get("jobMessages", [])
        errors = [m["messageText"] for m in messages if m.get("messageImportance") == "JOB_MESSAGE_ERROR"]
        return str(errors[-1]) if errors else ""

    def job_url(self, job_id: str) -> str:
        """Page of a job for people: the console, or the local service's JSON."""
        if self.endpoint == _ENDPOINT:
            return f"{_CONSOLE}/{self.location}/{job_id}?project={self.project}"
        return f"{self.endpoint}/{self._path(f'jobs/{job_id}')}"

    def _path(self, rest: str) -> str:
        return f"v1b3/projects/{self.project}/locations/{self.location}/{rest}"

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        return httpx.Client(base_url=self.endpoint, timeout=self.timeout)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """One request.

        :raises TransientError: no answer, or one that a retry may better.
        :raises ConfigurationError: the address, the credentials or the template is wrong.
        :raises JobError: Dataflow refused.
        """
        import httpx

        try:
            reply = self._client.request(
                method, self._path(path), params=query, json=body, headers=self._headers()
            )
        except httpx.HTTPError as err:
            raise TransientError(
                f"Dataflow did not answer: {err}",
                where=self.endpoint,
                remedy="Is the service up, the address right?",
            ) from err
        if reply.is_success:
            return dict(reply.json())
        raise self._refusal(reply, f"{method} {path}")

    def _refusal(self, reply: httpx.Response, what: str) -> Exception:
        try:
            text = reply.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            text = reply.text[:300]
        where = f"{self.endpoint}: {what}"
        if reply.status_code in _TRANSIENT:
            return TransientError(
                f"Dataflow answered {reply.status_code}: {text}", where=where, remedy="Try again later."
            )
        if reply.status_code in (401, 403, 404):
            return ConfigurationError(
                f"Dataflow answered {reply.status_code}: {text}",
                where=where,
                remedy=f"Check {self.gcp_conn_id}: rights, project, region; and the template's path.",
            )
        return JobError(f"Dataflow refused: {text}", where=where, remedy="Correct the launch parameters.")

    def _headers(self) -> dict[str, str]:
        """The bearer token; none for an anonymous connection."""
        from google.auth.credentials import AnonymousCredentials

        credentials = self.get_credentials()
        if isinstance(credentials, AnonymousCredentials):
            return {}
        if not credentials.valid:
            from google.auth.transport.requests import Request

            credentials.refresh(Request())
        return {"Authorization": f"Bearer {credentials.token}"}
