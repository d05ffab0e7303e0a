"""A throwaway Airflow for ``dag.test()``: its own home, an empty DAG folder, a migrated database per test."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from madhatter_provider.local.airflow_database import copy_database

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG


class ThrowawayAirflow:
    """Made before anything imports Airflow, which reads its settings when it is imported."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="madhatter-airflow-"))
        for folder in ("dags", "plugins"):
            (self.home / folder).mkdir()
        os.environ.update(
            {
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-" * 5,
                # dag.test() parses this folder on every call: it stays empty.
                "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
                "AIRFLOW__CORE__FERNET_KEY": "",
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.home / "plugins"),
                "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
                "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
                "AIRFLOW__OPENLINEAGE__DISABLED": "True",
            }
        )

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.home / "airflow.db"

    def remove(self) -> None:
        """Delete all of it."""
        shutil.rmtree(self.home, ignore_errors=True)

    def reset(self, template: Path) -> Path:
        """A fresh database, copied from a migrated one; its path."""
        from airflow import settings

        if settings.Session is not None:  # dag.test() leaves a scoped session open
            settings.Session.rollback()
            settings.Session.remove()
        if settings.engine is not None:
            settings.engine.dispose()
        copy_database(template, self.database)
        return self.database


def run_dag(dag: DAG, *, again: DagRun | None = None, **kwargs: Any) -> DagRun:
    """Store a DAG and run it with ``dag.test(**kwargs)``.

    :param again: run it once more under the id of this run, as a retry or a clear would, instead of making a
        new one. Airflow makes the run anew; what the operators keep of it in Snowflake and Kafka stays.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    bundles: Any = DagBundlesManager
    bundles().sync_bundles_to_db()
    with create_session() as session:
        stored = [LazyDeserializedDAG.from_dag(dag)]
        update_dag_parsing_results_in_db("dags-folder", None, stored, {}, None, set(), session=session)
    if again is not None:
        kwargs |= {"logical_date": again.logical_date, "run_after": again.run_after}
    result: DagRun = dag.test(**kwargs)
    return result
