"""Settings of the local Airflow that hold only together."""

from __future__ import annotations

from pathlib import Path

from madhatter_provider.local.airflow_services import airflow_env, airflow_services
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.services import PORTS
from madhatter_provider.local.site import Site

_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


def test_the_api_server_gives_up_waiting_for_sqlite_long_before_the_others(tmp_path: Path) -> None:
    site = Site(LocalHome(tmp_path, tmp_path), dict.fromkeys(PORTS, 1))
    usual = airflow_env(site)
    waits = {}
    for service in airflow_services(site, needs=()):
        assert service.env is not None
        file, _, seconds = (usual | dict(service.env()))[_DATABASE].partition("?timeout=")
        assert file == f"sqlite:///{tmp_path}/airflow/airflow.db"
        waits[service.name] = int(seconds)
    api_server = waits.pop("airflow-api-server")
    assert len(waits) == 3
    assert all(seconds > 3 * api_server for seconds in waits.values()), "it may hold them up several times"
