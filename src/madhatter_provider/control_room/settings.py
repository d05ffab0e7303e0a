"""Options of the control room: section ``[madhatter]`` of Airflow's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SECTION = "madhatter"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the control room is told.

    :param snowflake_conn_id: Airflow connection of the account that holds ledger and marts.
    :param kafka_config_id: Airflow connection of the brokers; empty: they are not asked.
    :param replay_dag_id: DAG that a replay starts.
    :param dashboards_folder: definitions of the dashboards; ``None``: none.
    :param refresh_seconds: how old an answer of Snowflake may be before it is asked again.
    """

    snowflake_conn_id: str = "snowflake_default"
    kafka_config_id: str = "kafka_default"
    replay_dag_id: str = "replay"
    dashboards_folder: Path | None = None
    refresh_seconds: float = 5.0


def read_settings() -> Settings:
    """The settings of this Airflow."""
    from airflow.configuration import conf

    given = Settings()

    def text(option: str, default: str) -> str:
        return str(conf.get(SECTION, option, fallback=default)).strip()

    folder = text("dashboards_folder", "")
    return Settings(
        text("snowflake_conn_id", given.snowflake_conn_id),
        text("kafka_config_id", given.kafka_config_id),
        text("replay_dag_id", given.replay_dag_id),
        Path(folder) if folder else _beside_the_dags(Path(conf.get("core", "dags_folder"))),
        max(1.0, float(text("refresh_seconds", str(given.refresh_seconds)))),
    )


def _beside_the_dags(dags: Path) -> Path | None:
    """``include/dashboards`` of a project whose ``dags`` folder is Airflow's."""
    folder = dags.parent / "include" / "dashboards"
    return folder if folder.is_dir() else None
