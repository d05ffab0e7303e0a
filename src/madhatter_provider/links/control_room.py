"""Buttons of a task that lead to its place in the control room: the slices of its run, or its replay."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from airflow.sdk import BaseOperator, BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

VIEW = "/plugin/madhatter"
"""The view of the plugin in the Airflow UI."""
APP = "/madhatter"
"""The app that is shown in its frame."""


def base_path() -> str:
    """The path that Airflow is served below; empty if it has a host of its own."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


def control_room_url(page: str, **query: str) -> str:
    """The address of a page inside the Airflow UI, without the host.

    What follows the view is the path of the frame's page, from the host's root.
    """
    base = base_path()
    return f"{base}{VIEW}{base}{APP}/{page}?{urlencode(query)}"


class SliceLink(BaseOperatorLink):
    """Leads to the stream that the run's slice belongs to, with the run marked."""

    @property
    def name(self) -> str:
        """Name of the button."""
        return "Slice in the control room"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The page; it looks the stream up in the ledger."""
        return control_room_url("run", dag_id=ti_key.dag_id, run_id=ti_key.run_id)


class ReplayLink(BaseOperatorLink):
    """Leads to the stream that was replayed."""

    @property
    def name(self) -> str:
        """Name of the button."""
        return "Replay in the control room"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The page; it looks the replay up in OPS.REPLAYS."""
        from madhatter_provider.core.replay.record import id_of_task

        replay = id_of_task(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)
        return control_room_url("run", replay=replay)


class QualityLink(BaseOperatorLink):
    """Leads to the page *Quality*."""

    @property
    def name(self) -> str:
        """Name of the button."""
        return "Quality in the control room"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The page, with the round."""
        return control_room_url("quality", round_id=ti_key.run_id)
