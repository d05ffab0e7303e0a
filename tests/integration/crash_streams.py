"""A stream whose tasks run in processes that may be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from madhatter_provider.core.contracts.contract import Contract, load_contract
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.testing.kafka import RunningKafka
from madhatter_provider.testing.snowflake import RunningSnowflake

SEARCHES = Path(__file__).parents[2] / "include/contracts/searches.odcs.yaml"
Death = tuple[str, int]


class Worker:
    """Runs jobs in processes that may be killed (crash_worker.py)."""

    def __init__(self, env: Mapping[str, str]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("crash_worker.py"))]
        self._process = subprocess.Popen(
            command, env={**os.environ, **env}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, activity: str, *, death: Death | None = None, **options: Any) -> int:
        """One job; the signal that ended it, 0 if none did."""
        job: dict[str, Any] = {"activity": activity, "options": options}
        if death:
            job["point"], job["occurrence"] = death
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        done: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert done["code"] in (0, None), done["error"]
        return int(done["signal"])

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class CrashStream:
    """A stream of its own: contract, topic and tables are named ``name``."""

    def __init__(
        self, name: str, kafka: RunningKafka, snowflake: RunningSnowflake, worker: Worker, folder: Path
    ) -> None:
        self.name, self.kafka, self.snowflake, self.worker = name, kafka, snowflake, worker
        self._folder = folder
        self.contract = self.write_contract("contract")
        kafka.create_topic(name, 2)
        snowflake.apply_sql({name: self.contract})
        self.sql = snowflake.client()
        self._tries: dict[str, int] = {}

    def write_contract(self, file: str, **changes: str) -> Contract:
        """The contract of searches under this stream's name, with other text in places."""
        text = SEARCHES.read_text()
        changes |= {
            "name: searches": f"name: {self.name}",
            "value: searches": f"value: {self.name}",
            "physicalName: SEARCHES": f"physicalName: {self.name.upper()}",
        }
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        path = self._folder / f"{file}.odcs.yaml"
        path.write_text(text)
        return load_contract(path)

    @property
    def places(self) -> dict[str, str]:
        """Arguments that every operator takes."""
        return {"contract": self.contract.path, "landing_root": self.snowflake.landing_root}

    def send(self, values: Iterable[bytes], partition: int | None = None) -> int:
        """Send messages; their number."""
        return self.kafka.send(self.name, values, partition)

    def land(self, run_id: str, death: Death | None = None, *, activity: str = "land") -> int:
        """One try of a landing run; the signal that ended it.

        :param activity: ``land``, or ``detailed``.
        """
        self._tries[run_id] = self._tries.get(run_id, 0) + 1
        return self.worker.run(
            activity, death=death, topic=self.name, state=str(self._folder / "state.json"), run_id=run_id,
            try_number=self._tries[run_id], **self.places,
        )  # fmt: skip

    def verdict(self) -> StreamVerdict:
        """Broker against Snowflake."""
        servers = self.kafka.bootstrap_servers
        return judge_stream(servers, self.sql, self.name, f"RAW.{self.contract.table}")

    def content(self) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
        """All rows, and the places of all quarantined messages."""
        rows = self.sql.execute(f"SELECT * FROM RAW.{self.contract.table} ORDER BY _PARTITION, _OFFSET")
        held = self.sql.execute(
            "SELECT _PARTITION, _OFFSET, RAW, RULE FROM RAW.QUARANTINE WHERE STREAM = ? ORDER BY 1, 2",
            [self.name],
        )
        return rows, [tuple(row.values()) for row in held]

    def ledger(self) -> dict[str, int]:
        """What the ledger says in sum."""
        return self.sql.execute(
            "SELECT COUNT_IF(STATE <> 'loaded') AS UNLOADED, SUM(ROWS_LOADED) AS LOADED, "
            "SUM(ROWS_QUARANTINED) AS QUARANTINED FROM OPS.SLICES WHERE STREAM = ?",
            [self.name],
        )[0]
