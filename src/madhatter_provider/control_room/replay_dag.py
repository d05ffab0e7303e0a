"""The replay DAG as Airflow has it stored: what it would work with, and how to start a run of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from madhatter_provider.core.errors import ConfigurationError

PARAMS = ("stream", "from", "to", "of_run", "topic_id", "reason", "dry_run", "allow_gone")
"""What a replay DAG asks for; those of its own that are named otherwise keep their defaults."""


@dataclass(frozen=True, slots=True)
class ReplayDag:
    """A stored replay DAG.

    :param streams: the streams that it offers.
    :param contract: template of the path of a stream's contract.
    :param landing_root: URL below which landing files are.
    :param params: names of what it asks for.
    """

    dag_id: str
    paused: bool
    streams: tuple[str, ...]
    contract: str
    landing_root: str
    params: frozenset[str]

    def contract_of(self, stream: str) -> str:
        """Path of a stream's contract.

        :raises ConfigurationError: the DAG does not offer this stream.
        """
        from jinja2.sandbox import SandboxedEnvironment

        if stream not in self.streams:
            raise ConfigurationError(
                f"DAG {self.dag_id} does not replay stream {stream!r}",
                where=f"DAG {self.dag_id}",
                remedy=f"It offers {', '.join(self.streams) or 'none'}.",
            )
        return SandboxedEnvironment().from_string(self.contract).render(params={"stream": stream})


def find_replay_dag(dag_id: str) -> ReplayDag:
    """Read it from Airflow's database.

    :raises ConfigurationError: there is none of this name, or it has no replay task.
    """
    from airflow.models import DagModel
    from airflow.models.dagbag import DBDagBag
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        model = session.get(DagModel, dag_id)
        dag: Any = None
        if model is not None and not model.is_stale:
            dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
        paused = bool(model and model.is_paused)
    if dag is None:
        raise ConfigurationError(
            f"Airflow has no DAG {dag_id!r}",
            where="the control room",
            remedy="Add a DAG with a ReplaySliceOperator (see docs/how-to/control-room.md), or name yours in "
            "[madhatter] replay_dag_id.",
        )
    task = next((t for t in dag.tasks if getattr(t, "task_type", "") == "ReplaySliceOperator"), None)
    if task is None:
        raise ConfigurationError(
            f"DAG {dag_id!r} has no ReplaySliceOperator", where=dag_id, remedy="Name another one."
        )
    params = dict(dag.params.items())
    schema = getattr(params.get("stream"), "schema", None) or {}
    return ReplayDag(
        dag_id,
        paused,
        tuple(schema.get("enum", ())),
        str(task.contract),
        str(task.landing_root),
        frozenset(params),
    )


def start_run(dag: ReplayDag, answers: dict[str, Any], who: str) -> str:
    """Start a run as this person, who was asked for their right before; its id.

    :raises ConfigurationError: the DAG does not take these answers.
    """
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.sdk.exceptions import AirflowException, ParamValidationError
    from airflow.utils.types import DagRunTriggeredByType

    unknown = [name for name, given in answers.items() if given is not None and name not in dag.params]
    if unknown:
        raise ConfigurationError(
            f"DAG {dag.dag_id} has no param {', '.join(unknown)}",
            where=f"DAG {dag.dag_id}",
            remedy="Add it to the DAG, or leave it out.",
        )
    conf = {name: given for name, given in answers.items() if name in dag.params}
    try:
        run = trigger_dag(
            dag.dag_id, triggered_by=DagRunTriggeredByType.UI, triggering_user_name=who, conf=conf
        )
    except (ParamValidationError, AirflowException, ValueError) as err:
        raise ConfigurationError(
            f"Airflow refuses the run: {err}", where=f"DAG {dag.dag_id}", remedy="Mend what it names."
        ) from err
    assert run is not None, "Airflow returns the run that it has made"
    return str(run.run_id)
