"""The few calls of Airflow's REST API that the demo needs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx

from madhatter_provider.core.errors import ConfigurationError, JobError

FINAL = ("success", "failed")

_WRITES = 3
# Longer than the API server waits for SQLite (see local/airflow_services.py).
_SECONDS = 60.0


class AirflowApi:
    """A signed-in client.

    :param url: address of the API server.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=_SECONDS)
        answer = self._ask("POST", "/auth/token", json={"username": user, "password": password})
        if answer.status_code != httpx.codes.CREATED:
            raise ConfigurationError(
                f"Airflow refuses the login: {answer.status_code}",
                where=url,
                remedy="Start the platform anew.",
            )
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def dag_ids(self) -> set[str]:
        """DAGs that Airflow has parsed."""
        return {d["dag_id"] for d in self._get("/api/v2/dags", limit=1000)["dags"]}

    def import_errors(self) -> list[str]:
        """Files that could not be parsed, and why."""
        found = self._get("/api/v2/importErrors")["import_errors"]
        return [f"{e['filename']}: {e['stack_trace'].strip().splitlines()[-1]}" for e in found]

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Runs of a DAG, newest first."""
        found = self._get(f"/api/v2/dags/{dag_id}/dagRuns", limit=1000, order_by="-run_after")
        runs: list[dict[str, Any]] = found["dag_runs"]
        return runs

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run; return its id."""
        run_id = f"manual__{uuid.uuid4().hex}"
        body = {"logical_date": None, "conf": conf or {}, "dag_run_id": run_id}
        self._write("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        return run_id

    def wait(self, dag_id: str, run_id: str, seconds: float) -> str:
        """Wait for a run; return its final state.

        :raises JobError: it did not end in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = str(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])
            if state in FINAL:
                return state
            time.sleep(0.5)
        raise JobError(
            f"DAG {dag_id} did not end within {seconds:.0f} s",
            where=run_id,
            remedy="Look at the run in Airflow's UI.",
        )

    def waiting_questions(self, dag_id: str) -> list[dict[str, Any]]:
        """Task instances of a DAG that wait for a person."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/~/hitlDetails"
        found = self._get(path, limit=1000, response_received=False)["hitl_details"]
        return [d["task_instance"] for d in found if d["task_instance"]["state"] == "awaiting_input"]

    def answer(self, task: Mapping[str, Any], option: str, entered: Mapping[str, Any]) -> None:
        """Answer a question as this user."""
        run = f"/api/v2/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}"
        path = f"{run}/taskInstances/{task['task_id']}/{task['map_index']}/hitlDetails"
        self._write("PATCH", path, {"chosen_options": [option], "params_input": entered})

    def _write(self, method: str, path: str, body: Any) -> None:
        """Change something, once. On SQLite Airflow's audit log of a request and a task's report can block
        each other until one times out and answers 500; asked again, a change that was made answers 409.
        """
        for attempt in range(1, _WRITES + 1):
            answer = self._ask(method, path, json=body)
            if answer.status_code == httpx.codes.CONFLICT and attempt > 1:
                return
            if not answer.is_server_error or attempt == _WRITES:
                self._content(answer)
                return

    def read(self, path: str) -> Any:
        """What a path of the API server answers, an app of a plugin's too.

        :raises JobError: it does not, or refuses.
        """
        return self._get(path)

    def _get(self, path: str, **params: Any) -> Any:
        return self._content(self._ask("GET", path, params=params))

    def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **arguments)
        except httpx.TransportError as err:
            raise JobError(
                f"Airflow does not answer: {err}",
                where=f"{self._http.base_url}{path}",
                remedy="Read its log: madhatter local logs airflow-api-server.",
            ) from err

    @staticmethod
    def _content(answer: httpx.Response) -> Any:
        if answer.is_error:
            raise JobError(
                f"Airflow refuses a request: {answer.status_code} {answer.text[:300]}",
                where=f"{answer.request.method} {answer.request.url}",
                remedy="Read its log: madhatter local logs airflow-api-server.",
            )
        return answer.json()
