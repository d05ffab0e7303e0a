"""A whole platform under load, and the judgement of what became of every message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.cli.demo.airflow_api import AirflowApi
from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.service import wait_until
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

    def drain(self) -> list[str]:
        """Wait until the ledger shows every message of every topic as loaded; the runs that were cleared.

        A run whose every try was killed is given up by Airflow. Its slice stays its own, and a person is told
        to clear it (docs/how-to/on-call.md, unfinished slices): so does this.
        """
        airflow, cleared = _Airflow(self.platform), list[str]()

        def loaded() -> bool:
            cleared.extend(airflow.clear_failed(self.contracts))
            return not self._behind()

        assert wait_until(loaded, seconds=_DRAIN_SECONDS, pause=2), (self._behind(), cleared)
        return cleared

    def _behind(self) -> dict[str, int]:
        """Messages per stream that are not yet loaded, by the ledger."""
        rows = self.sql.execute(
            "SELECT STREAM, SUM(END_OFFSET - START_OFFSET) AS N FROM OPS.SLICES WHERE STATE = 'loaded' "
            "GROUP BY STREAM"
        )
        done = {str(row["STREAM"]): int(row["N"]) for row in rows}
        ends = self._ends()
        left = {stream: ends[stream] - done.get(stream, 0) for stream in self.contracts}
        return {stream: count for stream, count in left.items() if count}

    def _ends(self) -> dict[str, int]:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.platform.env["KAFKA_BOOTSTRAP_SERVERS"], "group.id": "chaos"}
        )
        try:
            return {
                stream: sum(
                    consumer.get_watermark_offsets(TopicPartition(contract.topic, p), timeout=30)[1]
                    for p in range(contract.partitions)
                )
                for stream, contract in self.contracts.items()
            }
        finally:
            consumer.close()

    def judge(self) -> dict[str, StreamVerdict]:
        """Every stream, by broker and Snowflake alone."""
        servers = self.platform.env["KAFKA_BOOTSTRAP_SERVERS"]
        return {
            stream: judge_stream(servers, self.sql, contract.topic, f"RAW.{contract.table}")
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
