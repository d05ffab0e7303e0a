"""A stream with a contract, a topic and a table of its own, landed by the operator; and its audit."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shlex
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from rich.console import Console

from madhatter_provider.cli.audit import Audit
from madhatter_provider.cli.audit_gather import Sources
from madhatter_provider.core.audit.findings import compare
from madhatter_provider.core.audit.model import Finding, Patience
from madhatter_provider.core.audit.plan import Action, plan
from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.landing.land import Landing, land
from madhatter_provider.core.runs.recording import SliceRun
from madhatter_provider.core.slices.claim_json import read_record, write_record
from madhatter_provider.core.slices.claims import Claim, ClaimRecord
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.slices.state import DAGS_KEY, mirror_group, record_key
from madhatter_provider.core.warehouse.gate import GateResult
from madhatter_provider.core.warehouse.ingest import ingest, ingests_of
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.hooks.object_store import open_store
from madhatter_provider.hooks.snowpipe import SnowpipeHook
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.operators.kafka import KafkaClaimSliceOperator
from madhatter_provider.operators.slice_gate import SliceGateOperator
from madhatter_provider.operators.snowpipe import SnowpipeIngestOperator
from madhatter_provider.testing.kafka import RunningKafka
from madhatter_provider.testing.snowflake import RunningSnowflake
from madhatter_provider.transfers.kafka_to_object_storage import KafkaToObjectStorageOperator
from madhatter_provider.transfers.kafka_to_snowflake import KafkaToSnowflakeOperator

CONTRACT = Path(__file__).parents[2] / "include/contracts/searches.odcs.yaml"


def edited(content: bytes) -> bytes:
    """A Parquet file of the same size, with the same rows."""
    assert content.count(b"parquet-cpp") == 1
    return content.replace(b"parquet-cpp", b"PARQUET-cpp")


class StateStore(dict[str, Any]):
    """A state store: JSON goes in, JSON comes out."""

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self[key]) if key in self else default

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = json.dumps(value)


class Airflow:
    """What :class:`madhatter_provider.cli.airflow_state.AirflowState` does, with the state of a test."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self.failed: set[str] = set()

    def dag_ids(self) -> list[str]:
        return list(self._state.get(DAGS_KEY, []))

    def record(self, dag_id: str) -> ClaimRecord | None:
        found = self._state.get(record_key(dag_id))
        return None if found is None else read_record(found)

    def store(self, dag_id: str, record: ClaimRecord) -> None:
        self._state.set(record_key(dag_id), write_record(record))

    def runs(self, dag_id: str, run_ids: Iterable[str]) -> dict[str, str | None]:
        return {run: "failed" if run in self.failed else "success" for run in run_ids}


class AuditedStream:
    """Two partitions; every seventh message is bad."""

    def __init__(
        self, kafka: RunningKafka, snowflake: RunningSnowflake, folder: Path, row: Callable[..., bytes]
    ) -> None:
        self.kafka, self.snowflake, self._row = kafka, snowflake, row
        self.stream = f"audited_{uuid.uuid4().hex[:8]}"
        text = CONTRACT.read_text().replace("name: searches", f"name: {self.stream}")
        text = text.replace("physicalName: SEARCHES", f"physicalName: {self.stream.upper()}")
        text = text.replace("value: searches", f"value: {self.stream}")
        text = re.sub(r"(maxQuarantinePercent\s+value:) \d+", r"\1 100", text)
        text = text.replace("searches.event_time", f"{self.stream}.event_time")
        self.contracts = folder
        self.path = folder / f"{self.stream}.odcs.yaml"
        self.path.write_text(text)
        self.contract = load_contract(self.path)
        self.table, self.dag_id = f"RAW.{self.contract.table}", f"land_{self.stream}"
        snowflake.apply_sql({self.stream: self.contract})
        kafka.create_topic(self.stream, 2)
        self.sql = snowflake.client()
        self.state = StateStore()
        self.airflow = Airflow(self.state)
        self.asset = Asset(f"topic_{self.stream}")
        self.memories: dict[str, StateStore] = {}
        self._sent = 0
        self._ranges: dict[str, tuple[int, int, int]] = {}

    @property
    def topic_id(self) -> str:
        return KafkaSliceHook().bounds(self.stream).topic_id

    def send(self, partition: int, n: int = 14) -> None:
        values = [b"oops" if i % 7 == 3 else self._row(self._sent + i) for i in range(n)]
        self._sent += n
        self.kafka.send(self.stream, values, partition)

    def context(self, run_id: str, task: Any, try_number: int = 1) -> Any:
        """What Airflow gives a task."""
        return {
            "dag": SimpleNamespace(dag_id=self.dag_id),
            "run_id": run_id,
            "ti": SimpleNamespace(try_number=try_number, get_ti_count=lambda **_: 0),
            "dag_run": SimpleNamespace(run_type="manual", run_after=None),
            "task": task,
            "asset_state_store": {self.asset: self.state},
            "task_state_store": self.memories.setdefault(run_id, StateStore()),
        }

    def run(self, run_id: str, try_number: int = 1) -> Any:
        task = KafkaToSnowflakeOperator(
            task_id="land",
            topic=self.stream,
            asset=self.asset,
            contract=str(self.path),
            landing_root=self.snowflake.landing_root,
            poll_seconds=0.05,
        )
        return task.execute(self.context(run_id, task, try_number))

    def claim(self, run_id: str, try_number: int = 1) -> list[dict[str, Any]]:
        """The first task of the detailed composition."""
        task = KafkaClaimSliceOperator(
            task_id="claim",
            topic=self.stream,
            asset=self.asset,
            contract=str(self.path),
            snowflake_conn_id="snowflake_default",
        )
        return task.execute(self.context(run_id, task, try_number))

    def gate_of(self, run_id: str, claimed: list[dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        """The tasks after the claim are done; the gate is left to the caller."""
        contract, manifests = str(self.path), []
        for owned in claimed:
            task = KafkaToObjectStorageOperator(
                task_id="land", owned=owned, contract=contract, landing_root=self.snowflake.landing_root
            )
            manifests.append(task.execute(self.context(run_id, task)))
        ingest = SnowpipeIngestOperator(
            task_id="ingest", contract=contract, manifests=manifests, poll_seconds=0.05
        )
        ingest.execute(self.context(run_id, ingest))
        gate = SliceGateOperator(task_id="gate", contract=contract, manifests=manifests)
        return lambda: gate.execute(self.context(run_id, gate))

    def land(self, run_id: str, *partitions: int) -> None:
        for p in partitions:
            self.send(p)
        self.run(run_id)

    def land_quickly(self, runs: Mapping[str, int]) -> None:
        """Runs of one partition each, one after the other, loaded together."""
        hook, manifests = KafkaSliceHook(), []
        record = self.airflow.record(self.dag_id)
        assert record is not None
        for run_id, p in runs.items():
            start = record.position[p]
            self.send(p)
            owned = Slice(self.stream, record.topic_id, (OffsetRange(p, start, start + 14),))
            claim = Claim(run_id, owned, Slice(self.stream, record.topic_id))
            position = {**record.position, p: start + 14}
            record = dataclasses.replace(record, position=position, claims=(*record.claims, claim))
            job = Landing(self.contract, owned, run_id, open_store(self.snowflake.landing_root))
            manifests.append(land(job, hook.read(owned)))
            self._ranges[run_id] = (p, start, start + 14)
        self.airflow.store(self.dag_id, record)
        hook.mirror_position(mirror_group(self.dag_id), self.stream, record.topic_id, record.position)
        for one in ingests_of(manifests, self.contract.table):
            ingest(SnowpipeHook().pipes, self.sql, one, poll_seconds=0.05)
        for run_id, manifest in zip(runs, manifests, strict=True):
            gate = GateResult(self.stream, "pass", manifest.landed, ())
            SliceRun(self.contract, self.dag_id, run_id, self.sql).record_loaded([manifest], gate)

    def sources(self, **changes: Any) -> Sources:
        given: dict[str, Any] = {
            "contract": self.contract,
            "sql": self.sql,
            "ping": lambda: self.sql.execute("SELECT 1"),
            "kafka": KafkaSliceHook(),
            "landing_root": self.snowflake.landing_root,
            "airflow": self.airflow,
            "dag_id": self.dag_id,
            "patience": Patience(deep_gate=0),
        }
        return Sources(**(given | changes))

    def look(self, **changes: Any) -> tuple[list[Finding], list[Action]]:
        """What an audit finds, and its plan."""
        evidence = self.sources(**changes).gather()
        assert not {p for p in evidence.unseen if p not in changes}, evidence.unseen
        findings = compare(evidence)
        return findings, plan(evidence, findings)

    def kinds(self, **changes: Any) -> list[str]:
        return sorted({f.kind for f in self.look(**changes)[0]})

    def repair(self, **changes: Any) -> tuple[int, str]:
        """Exit code and output of an audit with --repair --yes."""
        out = io.StringIO()
        job = Audit(self.sources(**changes), Console(file=out, width=200))
        _, code = job.run(repair=True, yes=True)
        return code, out.getvalue()

    def verdict(self) -> StreamVerdict:
        """What broker and Snowflake say, offset by offset."""
        return judge_stream(self.kafka.bootstrap_servers, self.sql, self.stream, self.table)

    def execute(self, statement: str) -> None:
        self.sql.execute(statement.format(table=self.table, stream=self.stream))

    def row_of(self, run_id: str) -> tuple[int, int, int]:
        """Partition, start and end of a run's only range, as the ledger had it at first."""
        if run_id not in self._ranges:
            (found,) = self.sql.execute(
                "SELECT PARTITION_ID, START_OFFSET, END_OFFSET FROM OPS.SLICES WHERE STREAM = ? "
                "AND RUN_ID = ? AND STATE <> 'lost'",
                [self.stream, run_id],
            )
            columns = ("PARTITION_ID", "START_OFFSET", "END_OFFSET")
            self._ranges[run_id] = tuple(int(found[c]) for c in columns)  # type: ignore[assignment]
        return self._ranges[run_id]

    def files(self, run_id: str) -> list[Path]:
        """Landing files of a run's only range, the manifest last."""
        partition, start, end = self.row_of(run_id)
        root = self.snowflake.landing
        found = sorted(root.rglob(f"*{self.stream}/*/{partition}/{start:020d}-{end:020d}.parquet"))
        manifests = root.glob(f"_manifests/{self.stream}/*/*.json")
        return found + [m for m in manifests if f'"run_id": "{run_id}"' in m.read_text()]

    def retention_takes(self, partition: int, before: int) -> None:
        """Delete the messages before an offset from the broker."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        for future in admin.delete_records([TopicPartition(self.stream, partition, before)]).values():
            future.result(timeout=15)


def page_commands(page: str, stream: AuditedStream) -> list[list[str]]:
    """Arguments of the commands that a page shows, for this stream."""
    text = (Path(__file__).parents[2] / "docs/how-to" / page).read_text()
    blocks = re.findall(r"```bash\n(.*?)\n```", text, re.DOTALL)
    return [shlex.split(block.replace("searches", stream.stream))[1:] for block in blocks]


MakeStream = Callable[[], AuditedStream]


@pytest.fixture(scope="module", name="make_stream")
def make_stream_fixture(
    madhatter_kafka: RunningKafka,
    shared_snowflake: RunningSnowflake,
    search_row: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MakeStream]:
    """Makes streams of a test's own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shared_snowflake.trust.items():
            patch.setenv(name, value)
        patch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", madhatter_kafka.airflow_connection)
        patch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", shared_snowflake.airflow_connection)
        yield lambda: AuditedStream(
            madhatter_kafka, shared_snowflake, tmp_path_factory.mktemp("contracts"), search_row
        )
