"""What Airflow itself knows of runs, from its own database."""

from __future__ import annotations

from collections.abc import Sequence

Run = tuple[str, str]


def run_states(runs: Sequence[Run]) -> dict[Run, str]:
    """State by DAG id and run id; runs that Airflow does not know any more are left out."""
    if not runs:
        return {}
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select, tuple_

    wanted = tuple_(DagRun.dag_id, DagRun.run_id).in_(list(runs))
    with create_session(scoped=False) as session:
        found = session.execute(select(DagRun.dag_id, DagRun.run_id, DagRun.state).where(wanted))
        return {(dag_id, run_id): str(state) for dag_id, run_id, state in found}
