"""The demo looks at the control room's pages as a browser does: what is missing is said, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from madhatter_provider.cli.demo import control_room
from madhatter_provider.core.errors import JobError


def chart(kind: str = "lines", rows: int = 1, fault: str = "", title: str = "Rate") -> dict[str, Any]:
    return {"title": title, "kind": kind, "rows": [{}] * rows, "fault": {"what": fault} if fault else None}


class Airflow:
    """Answers of the control room's API, by path; one that is an error is raised."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[str] = []
        self.answers = {
            "session": {
                "pages": [
                    {"path": p, "title": p.title()} for p in ("streams", "fraud", "sales & more", "quality")
                ]
            },
            "streams": {"totals": {"streams": 7}, "fault": None},
            "dashboards/fraud": {"fault": None, "charts": [chart(), chart("table", rows=0)]},
            "dashboards/sales%20%26%20more": {"fault": None, "charts": [chart("bars"), chart("figures")]},
            "quality": {"fault": None},
            "quality/charts": {"fault": None, "charts": [chart()]},
        } | answers

    def read(self, path: str) -> Any:
        """One answer."""
        asked = path.removeprefix("/madhatter/api/")
        self.asked.append(asked)
        found = self.answers[asked]
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, Exception):
            raise found
        return found


def problems(monkeypatch: pytest.MonkeyPatch, airflow: Airflow) -> dict[str, str]:
    """What is wrong, by page; nobody waits."""
    monkeypatch.setattr(control_room, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(control_room, "_PATIENCE_SECONDS", 0.01)
    found = control_room.look_at(airflow, "http://x", 7)  # type: ignore[arg-type]
    return {page.title: page.problem for page in found.pages if page.problem}


def test_every_page_is_asked_for_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow()
    assert problems(monkeypatch, airflow) == {}
    assert set(airflow.asked) == set(airflow.answers)
    found = control_room.look_at(airflow, "http://x", 7)  # type: ignore[arg-type]
    assert found.url == "http://x/plugin/madhatter/madhatter/streams"
    assert [page.url.rpartition("/")[2] for page in found.pages] == [
        "streams", "fraud", "sales%20%26%20more", "quality",
    ]  # fmt: skip
    assert found.as_dict()["pages"][0] == {"title": "Streams", "url": found.url, "problem": ""}


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({"streams": {"totals": {"streams": 6}, "fault": None}}, {"Streams": "6 of 7 streams are shown"}),
        ({"quality": JobError("Airflow answers 500")}, {"Quality": "Airflow answers 500"}),
        ({"quality": {"fault": {"what": "Snowflake is slow"}}}, {"Quality": "Snowflake is slow"}),
        (
            {"quality/charts": {"fault": None, "charts": [chart(rows=0)]}},
            {"Quality": "Rate: nothing to draw"},
        ),
        (
            {
                "dashboards/fraud": {
                    "fault": None,
                    "charts": [chart("table", fault="no mart"), chart("bars", 0)],
                }
            },
            {"Fraud": "Rate: no mart; Rate: nothing to draw"},
        ),
    ],
)
def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], problem: dict[str, str]
) -> None:
    assert problems(monkeypatch, Airflow(**answers)) == problem


def test_a_page_that_is_late_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    late = [{"fault": {"what": "Snowflake is slow"}}, {"fault": None}]
    monkeypatch.setattr(control_room, "_PAUSE_SECONDS", 0.0)
    found = control_room.look_at(Airflow(quality=late), "http://x", 7)  # type: ignore[arg-type]
    assert [page.problem for page in found.pages] == ["", "", "", ""]
