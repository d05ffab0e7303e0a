"""Gather what an audit compares. A place that does not answer is left out, and why is said.

The order keeps what moves meanwhile from looking like a difference: positions and runs are read before the
broker's ends and the ledger, and positions again after them; files before the ledger, which knows a range
before its first file is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from madhatter_provider.core.audit.landing import range_of
from madhatter_provider.core.audit.model import (
    DagState,
    Evidence,
    LandingFiles,
    LedgerRange,
    Patience,
    Place,
    TableRows,
)
from madhatter_provider.core.audit.queries import count_rows, read_ledger
from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import BrokerError, MadHatterError
from madhatter_provider.core.landing.names import epoch
from madhatter_provider.core.slices.claims import TopicBounds
from madhatter_provider.core.slices.offsets import OffsetRange
from madhatter_provider.core.slices.state import mirror_group
from madhatter_provider.hooks.landing_listing import list_landing

if TYPE_CHECKING:
    from madhatter_provider.cli.airflow_state import AirflowState
    from madhatter_provider.core.warehouse.sql_client import TransactionalSql
    from madhatter_provider.hooks.kafka import KafkaSliceHook

T = TypeVar("T")
NOT_ASKED: Final = "not looked at"


@dataclass(slots=True)
class Sources:
    """Where to look.

    :param sql: a client of Snowflake that waits for long statements.
    :param ping: fails soon if Snowflake does not answer.
    :param landing_root: URL; ``None``: landing files are not looked at.
    :param airflow: ``None``: Airflow's state is not looked at.
    :param dag_id: the DAG that lands the stream.
    :param others: further DAGs that claim from the topic. Airflow knows them by itself.
    :param since: only what was claimed since then.
    :param contents: read landing files whole, and compare what is in them.
    """

    contract: Contract
    sql: TransactionalSql
    ping: Callable[[], object]
    kafka: KafkaSliceHook
    landing_root: str | None
    airflow: AirflowState | None
    dag_id: str
    others: tuple[str, ...] = ()
    patience: Patience = field(default_factory=Patience)
    since: datetime | None = None
    contents: bool = False
    _unseen: dict[Place, str] = field(default_factory=dict)

    def gather(self) -> Evidence:
        """Look everywhere."""
        self._unseen = {}
        dags = self._states()
        bounds = self._look("broker", self._bounds)
        mirrored = [self._mirror(dag, bounds) for dag in dags]
        landing = self._landing()
        ledger = self._look("ledger", self._ledger)
        if landing is not None:
            landing = replace(landing, seconds=time.monotonic() - landing.began + 2.0)
        rows = self._rows(ledger)
        return Evidence(
            self.contract.stream,
            self.contract.topic,
            self.dag_id,
            bounds,
            ledger,
            rows,
            self._recent(landing, ledger or ()),
            tuple(map(self._again, mirrored)),
            dict(self._unseen),
            self.patience,
            int(time.time()),
        )

    def _look(self, place: Place, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except MadHatterError as err:
            self._unseen.setdefault(place, f"{err.what} ({err.where})" if err.where else err.what)
            return None

    def _bounds(self) -> TopicBounds:
        """Where partitions have just changed their leader, the broker knows better a moment later."""
        try:
            return self.kafka.bounds(self.contract.topic)
        except BrokerError:
            time.sleep(1.0)
            return self.kafka.bounds(self.contract.topic)

    def _states(self) -> list[DagState]:
        wanted = dict.fromkeys((self.dag_id, *self.others))
        if self.airflow is None:
            self._unseen["airflow"] = NOT_ASKED
            return [DagState(dag_id) for dag_id in wanted]
        airflow = self.airflow
        known = self._look("airflow", airflow.dag_ids)
        wanted |= dict.fromkeys(known or ())
        return [self._state(airflow, dag_id) if known is not None else DagState(dag_id) for dag_id in wanted]

    def _state(self, airflow: AirflowState, dag_id: str) -> DagState:
        def read() -> DagState:
            record = airflow.record(dag_id)
            runs = airflow.runs(dag_id, [c.run_id for c in record.claims]) if record else {}
            return DagState(dag_id, True, record, None, runs)

        return self._look("airflow", read) or DagState(dag_id)

    def _again(self, dag: DagState) -> DagState:
        if self.airflow is None or dag.before is None:
            return dag
        airflow = self.airflow
        return replace(dag, after=self._look("airflow", lambda: airflow.record(dag.dag_id)) or dag.before)

    def _mirror(self, dag: DagState, bounds: TopicBounds | None) -> DagState:
        if bounds is None:
            self._unseen["mirror"] = self._unseen["broker"]
            return dag
        group, partitions = mirror_group(dag.dag_id), sorted(bounds.ends)
        found = self._look("mirror", lambda: self.kafka.mirror(group, self.contract.topic, partitions))
        return dag if found is None else replace(dag, mirror=found.committed)

    def _landing(self) -> LandingFiles | None:
        if self.landing_root is None:
            self._unseen["landing"] = NOT_ASKED
            return None
        root, newer = self.landing_root, self.since.timestamp() if self.since else 0.0
        stream, contents = self.contract.stream, self.contents
        return self._look("landing", lambda: list_landing(root, stream, newer, contents=contents))

    def _ledger(self) -> tuple[LedgerRange, ...]:
        self.ping()
        return read_ledger(self.sql, self.contract.stream, self.since)

    def _rows(self, ledger: tuple[LedgerRange, ...] | None) -> TableRows | None:
        if ledger is None:
            self._unseen["snowflake"] = self._unseen["ledger"]
            return None
        return self._look("snowflake", lambda: count_rows(self.sql, self.contract, self.since))

    def _recent(self, landing: LandingFiles | None, ledger: Iterable[LedgerRange]) -> LandingFiles | None:
        """Without what lies before the first range that is looked at."""
        if landing is None or self.since is None:
            return landing
        first: dict[tuple[str, int], int] = {}
        for row in ledger:
            place = (epoch(row.topic_id), row.range.partition)
            first[place] = min(first.get(place, row.range.start), row.range.start)

        def recent(topic_id: str, r: OffsetRange) -> bool:
            start = first.get((epoch(topic_id), r.partition))
            return start is not None and r.start >= start

        def wanted(path: str) -> bool:
            place = range_of(path)
            return place is None or recent(*place)

        return replace(
            landing,
            files={path: file for path, file in landing.files.items() if wanted(path)},
            manifests={
                path: manifest
                for path, manifest in landing.manifests.items()
                if manifest is None or all(recent(manifest.topic_id, r) for r in manifest.slice)
            },
        )
