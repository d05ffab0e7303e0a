"""A whole platform under load, and the judgement of what became of every message."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.cli.demo.airflow_api import AirflowApi
from madhatter_provider.cli.demo.broker import Broker
from madhatter_provider.cli.demo.drain import Ends, not_loaded
from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.local.platform import Platform
from madhatter_provider.testing.platform import running_platform

REPOSITORY = Path(__file__).resolve().parents[2]
_DRAIN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Loaded:
    """The platform and what its tests ask of it."""

    platform: Platform
    contracts: Mapping[str, Contract]
    sql: Any

    def revive(self) -> None:
        """What a person would do: `madhatter local up`."""
        self.platform.start(service.name for service in self.platform.services)

    def drain(self) -> tuple[Ends, list[str]]:
        """Wait until the ledger shows every message of every topic as loaded: where the topics ended at that
        moment (the streaming job goes on, its last minutes come when its watermark passes them), and the runs
        that were cleared.

        A run whose every try was killed is given up by Airflow. Its slice stays its own, and a person is told
        to clear it (docs/how-to/on-call.md, unfinished slices): so does this.
        """
        broker = Broker(self.platform.env["KAFKA_BOOTSTRAP_SERVERS"], self.contracts)
        airflow, cleared, deadline = _Airflow(self.platform), list[str](), time.monotonic() + _DRAIN_SECONDS
        while behind := not_loaded(self.sql, ends := broker.ends()):
            assert time.monotonic() < deadline, (behind, cleared)
            cleared.extend(airflow.clear_failed(self.contracts))
            time.sleep(2)
        return ends, cleared

    def judge(self, ends: Ends) -> dict[str, StreamVerdict]:
        """Every stream up to ``ends``, by broker and Snowflake alone."""
        servers = self.platform.env["KAFKA_BOOTSTRAP_SERVERS"]
        return {
            stream: judge_stream(servers, self.sql, contract.topic, f"RAW.{contract.table}", ends[stream])
            for stream, contract in self.contracts.items()
        }


class _Airflow(AirflowApi):
    """Clears runs, as a person does in the UI."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform.airflow_url, "admin", platform.airflow_passwords["admin"])

    def clear_failed(self, streams: Iterable[str]) -> list[str]:
        """Clear the failed runs of the streams' landing DAGs; tell which."""
        failed = [
            run for stream in streams for run in self.runs(f"land_{stream}") if run["state"] == "failed"
        ]
        for run in failed:
            path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/clear"
            self._write("POST", path, {"dry_run": False, "only_failed": True})
        return [f"{run['dag_id']} {run['dag_run_id']}" for run in failed]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, madhatter_cache: Path) -> Iterator[Loaded]:
    """The whole platform, the streaming job too; landing every few seconds, so that kills hit something."""
    home = tmp_path_factory.mktemp("chaos") / "home"
    with running_platform(home, REPOSITORY, madhatter_cache) as platform:
        yield Loaded(platform, load_contracts(REPOSITORY / "include" / "contracts"), _sql(platform))


def _sql(platform: Platform) -> Any:
    from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

    return SnowflakeRest(SnowflakeProfile.from_env(platform.env, database="MADHATTER"), 60)
