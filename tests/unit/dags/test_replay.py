"""The forms of the replay DAGs: what they ask, and what becomes of the answers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk.exceptions import ParamValidationError

from madhatter_provider.operators.replay import ReplayQuarantineOperator, ReplaySliceOperator

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def dags() -> Any:
    bag = BundleDagBag(str(ROOT / "dags/replay.py"), bundle_path=ROOT / "dags", bundle_name="dags")
    assert bag.import_errors == {}
    return bag.dags


def filled_in(dag: Any, answers: dict[str, Any]) -> Any:
    """The task as it runs with these answers."""
    params = copy.deepcopy(dag.params)  # a form that is filled in keeps its answers
    for name, answer in answers.items():
        params[name] = answer
    task = dag.task_dict["replay"].prepare_for_execution()
    task.render_template_fields({"params": params.dump()})
    return task


def test_a_range(dags: Any) -> None:
    answers = {"stream": "searches", "from": "0:5", "to": "0:9", "reason": "lost rows"}
    task = filled_in(dags["replay"], answers)
    assert isinstance(task, ReplaySliceOperator)
    assert task.contract == str(ROOT / "include/contracts/searches.odcs.yaml")
    assert task.plan_only == "True"
    request = task._request("ann")
    assert (request.start, request.end, request.run_id, request.reason) == ("0:5", "0:9", None, "lost rows")
    assert not request.allow_gone


def test_a_run(dags: Any) -> None:
    answers = {"of_run": "scheduled__1", "reason": "lost rows", "dry_run": False, "allow_gone": True}
    task = filled_in(dags["replay"], answers)
    request = task._request("ann")
    assert (request.start, request.run_id, request.allow_gone) == (None, "scheduled__1", True)
    assert task.plan_only == "False"


def test_quarantine(dags: Any) -> None:
    answers = {"stream": "clicks", "rules": ["maximum", "required"], "reason": "limit raised"}
    task = filled_in(dags["replay_quarantine"], answers)
    assert isinstance(task, ReplayQuarantineOperator)
    chosen = task._chosen("clicks")
    assert (chosen.rules, chosen.since) == (("maximum", "required"), None)
    assert filled_in(dags["replay_quarantine"], {"reason": "limit raised"})._chosen("clicks").rules == ()


def test_answers_that_the_form_refuses(dags: Any) -> None:
    for name, answer in (("stream", "nothing"), ("reason", ""), ("dry_run", "perhaps")):
        with pytest.raises(ParamValidationError):
            dags["replay"].params.get_param(name).resolve(answer)


def test_every_stream_has_an_asset_to_publish(dags: Any) -> None:
    task = dags["replay"].task_dict["replay"]
    assert {a.name for a in task.loaded.values()} >= {"raw_searches", "raw_clicks"}
    assert [o.name for o in task.outlets] == ["replayed_streams"]
