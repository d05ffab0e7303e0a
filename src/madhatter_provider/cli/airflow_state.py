"""Positions and claims as Airflow's REST API gives them: for audits, from outside of Airflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx

from madhatter_provider.core.errors import ConfigurationError, TransientError
from madhatter_provider.core.slices.claim_json import read_record, write_record
from madhatter_provider.core.slices.claims import ClaimRecord
from madhatter_provider.core.slices.state import DAGS_KEY, record_key

_SECONDS: Final = 30.0
_PAGE: Final = 100


@dataclass(slots=True)
class AirflowState:
    """The state store of one asset, and the runs of DAGs.

    :param url: address of Airflow's API server.
    :param asset: name of the topic's asset.
    :param token: a token of the API; without, ``user`` and ``password`` sign in.
    """

    url: str
    asset: str
    token: str | None = None
    user: str | None = None
    password: str | None = None
    _client: httpx.Client | None = field(default=None, repr=False)
    _asset_id: int | None = field(default=None, repr=False)

    @property
    def client(self) -> httpx.Client:
        """A client that is signed in.

        :raises ConfigurationError: Airflow refuses the login, or none is given.
        """
        if self._client is None:
            client = httpx.Client(base_url=self.url, timeout=_SECONDS)
            client.headers["Authorization"] = f"Bearer {self.token or self._sign_in(client)}"
            self._client = client
        return self._client

    def _sign_in(self, client: httpx.Client) -> str:
        if not (self.user and self.password):
            raise ConfigurationError(
                "No login for Airflow",
                where=self.url,
                remedy="Set MADHATTER_AIRFLOW_TOKEN, or MADHATTER_AIRFLOW_USER and …_PASSWORD.",
            )
        login = {"username": self.user, "password": self.password}
        answer = self._ask(client, "POST", "/auth/token", json=login)
        if answer.is_error:
            raise ConfigurationError(
                f"Airflow refuses the login of {self.user}: {answer.status_code}",
                where=self.url,
                remedy="Check MADHATTER_AIRFLOW_USER and MADHATTER_AIRFLOW_PASSWORD.",
            )
        return str(answer.json()["access_token"])

    def dag_ids(self) -> list[str]:
        """DAGs that have claimed from the topic."""
        found = self._entry(DAGS_KEY)
        return list(map(str, found)) if isinstance(found, list) else []

    def record(self, dag_id: str) -> ClaimRecord | None:
        """A DAG's position and claims.

        :raises StateLostError: what is stored is not a record.
        """
        found = self._entry(record_key(dag_id))
        return None if found is None else read_record(found)

    def store(self, dag_id: str, record: ClaimRecord) -> None:
        """Overwrite a DAG's position and claims. Its claiming task must not run meanwhile."""
        path = f"/api/v2/assets/{self._id()}/state-store/{quote(record_key(dag_id), safe='')}"
        self._content(self._ask(self.client, "PUT", path, json={"value": write_record(record)}))

    def runs(self, dag_id: str, run_ids: Iterable[str]) -> dict[str, str | None]:
        """State of runs; ``None`` for those that Airflow does not know."""
        path = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"
        answer = self._ask(self.client, "GET", path, params={"limit": _PAGE, "order_by": "-run_after"})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return dict.fromkeys(run_ids)
        newest = {r["dag_run_id"]: str(r["state"]) for r in self._content(answer)["dag_runs"]}
        return {
            run: newest[run] if run in newest else self._run(f"{path}/{quote(run, safe='')}")
            for run in run_ids
        }

    def _run(self, path: str) -> str | None:
        answer = self._ask(self.client, "GET", path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else str(self._content(answer)["state"])

    def _entry(self, key: str) -> Any:
        path = f"/api/v2/assets/{self._id()}/state-store/{quote(key, safe='')}"
        answer = self._ask(self.client, "GET", path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._content(answer)["value"]

    def _id(self) -> int:
        """The asset's number.

        :raises ConfigurationError: Airflow knows no such asset.
        """
        if self._asset_id is None:
            params = {"name_pattern": self.asset, "limit": _PAGE}
            found = self._content(self._ask(self.client, "GET", "/api/v2/assets", params=params))["assets"]
            ids = [int(a["id"]) for a in found if a["name"] == self.asset]
            if not ids:
                raise ConfigurationError(
                    f"Airflow knows no asset {self.asset!r}",
                    where=self.url,
                    remedy="Name the topic's asset: --asset. Airflow forgets an asset with its last DAG.",
                )
            self._asset_id = ids[0]
        return self._asset_id

    def _ask(self, client: httpx.Client, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return client.request(method, path, **arguments)
        except httpx.TransportError as err:
            raise TransientError(
                f"Airflow does not answer: {err}", where=f"{self.url}{path}", remedy="Look again later."
            ) from err

    def _content(self, answer: httpx.Response) -> Mapping[str, Any]:
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise ConfigurationError(
                f"Airflow refuses to show its state: {answer.status_code}",
                where=f"{answer.request.method} {answer.request.url}",
                remedy="Use a login that may read assets and DAG runs, and edit assets to set a position.",
            )
        if answer.is_error:
            raise TransientError(
                f"Airflow's answer is {answer.status_code}: {answer.text[:200]}",
                where=f"{answer.request.method} {answer.request.url}",
                remedy="Read the log of its API server.",
            )
        content: Mapping[str, Any] = answer.json() if answer.content else {}
        return content
