"""Who may see what, and who may start a replay. Everything is asked of Airflow's own auth manager.

- Every answer with data needs a person who is signed in and may see plugins.
- What belongs to a DAG (a stream to the DAG that lands it, a dashboard to the DAG that it names) is seen by
  those who may read that DAG.
- A replay needs the right to start runs of the replay DAG, and a request that this page itself has sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    AccessView,
    DagAccessEntity,
    DagDetails,
)
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_view
from fastapi import Depends, HTTPException, Request

from madhatter_provider.control_room.room import Room, RoomDep

signed_in = Depends(requires_access_view(AccessView.PLUGINS))

_OWN_HEADER = ("x-requested-with", "madhatter")


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in person."""

    user: Any
    room: Room

    def readable_dags(self) -> list[str] | None:
        """Ids of the DAGs that this person may read, sorted; ``None``: all, also those that are gone."""
        manager = get_auth_manager()
        if manager.is_authorized_dag(method="GET", user=self.user):
            return None
        return sorted(manager.get_authorized_dag_ids(user=self.user, method="GET"))

    def may_read(self, dag_id: str | None) -> bool:
        """Whether this person may read a DAG; ``None``, no particular one, may be read by all."""
        if dag_id is None:
            return True
        details = DagDetails(id=dag_id)
        return bool(get_auth_manager().is_authorized_dag(method="GET", details=details, user=self.user))

    def may_replay(self) -> bool:
        """Whether this person may start a replay."""
        return bool(
            get_auth_manager().is_authorized_dag(
                method="POST",
                access_entity=DagAccessEntity.RUN,
                details=DagDetails(id=self.room.settings.replay_dag_id),
                user=self.user,
            )
        )


def without_hidden_dags(
    rows: Iterable[Mapping[str, Any]], dag_ids: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Rows whose DAG_ID is named only if this person may read the DAG.

    :param dag_ids: as :meth:`Viewer.readable_dags` gives them.
    """

    def shown(name: str, value: Any) -> Any:
        return None if name == "DAG_ID" and dag_ids is not None and value not in dag_ids else value

    return [{name: shown(name, value) for name, value in row.items()} for row in rows]


def viewer(user: GetUserDep, room: RoomDep, _: Annotated[None, signed_in]) -> Viewer:
    """The person who asks, if they may see plugins."""
    return Viewer(user, room)


ViewerDep = Annotated[Viewer, Depends(viewer)]


def replayer(one: ViewerDep) -> Viewer:
    """The person who asks, if replays are theirs to start."""
    if not one.may_replay():
        raise HTTPException(403, "Only those who may start runs of the replay DAG may replay")
    return one


ReplayerDep = Annotated[Viewer, Depends(replayer)]


def same_origin(request: Request) -> None:
    """Refuse what another site makes a browser send. Looked at before any token: where Airflow signs
    everybody in, it adds the token by itself.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin") or (origin and urlsplit(origin).netloc not in _own_hosts(request)):
        raise HTTPException(403, "Cross-origin request refused")
    name, value = _OWN_HEADER
    if request.headers.get(name) != value:
        raise HTTPException(403, f"Header {name}: {value} is missing")


def _own_hosts(request: Request) -> set[str | None]:
    """The address that the browser used; behind a proxy that rewrites it, the one Airflow is told."""
    from airflow.configuration import conf

    return {request.headers.get("host"), urlsplit(conf.get("api", "base_url", fallback="") or "").netloc} - {
        ""
    }
