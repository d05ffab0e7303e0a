"""How long the control room takes to answer, with many streams and a large ledger: its app inside Airflow's
API server, over the local Snowflake.

``python benchmarks/control_room.py [--streams 1000] [--rows 100000] [--rounds 200] [--kafka]``

Two figures per question: *kept*, as a page asks that is open (the answer is a few seconds old at most), and
*anew*, when Snowflake is asked for every request. Brokers are asked only with ``--kafka``: a real node with a
topic for every stream. The list is then sorted by lag too, which wants the ends of all topics; a page never
waits for them, so how long they take is said apart.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.testing.airflow import ThrowawayAirflow

AIRFLOW = ThrowawayAirflow()  # before anything imports Airflow

from fastapi.testclient import TestClient  # noqa: E402

from madhatter_provider.core.contracts.contract import load_contracts  # noqa: E402
from madhatter_provider.local.airflow_database import template_database  # noqa: E402
from madhatter_provider.testing.kafka import RunningKafka  # noqa: E402
from madhatter_provider.testing.snowflake import RunningSnowflake, make_authority  # noqa: E402

ROOT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("MADHATTER_CACHE") or ROOT / ".madhatter/cache")
PATHS = {
    "streams, first page": "api/streams",
    "streams, page 15 by name": "api/streams?page=15&sort=stream",
    "streams, searched": "api/streams?search=feed_09",
    "one stream": "api/stream?name=feed_0007",
    "quality, tables": "api/quality",
    "quality, charts": "api/quality/charts",
    "a dashboard": "api/dashboards/fraud",
}
BY_LAG = {"streams, by lag": "api/streams?sort=lag"}
LEDGER = """
INSERT INTO OPS.SLICES (STREAM, TOPIC, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET, STATE, DAG_ID,
  RUN_ID, ROWS_READ, ROWS_LANDED, ROWS_LOADED, ROWS_QUARANTINED, MIN_EVENT_TIME, MAX_EVENT_TIME, CLAIMED_AT,
  LANDED_AT, LOADED_AT, GATE)
SELECT
  'feed_' || LPAD(TO_VARCHAR(MOD(n, {streams})), 4, '0'),
  'feed_' || LPAD(TO_VARCHAR(MOD(n, {streams})), 4, '0'),
  'epoch', MOD(FLOOR(n / {streams}), 4), FLOOR(n / {streams} / 4) * 100, FLOOR(n / {streams} / 4) * 100 + 100,
  'loaded', 'land_feed_' || TO_VARCHAR(MOD(n, {streams})), 'run_' || TO_VARCHAR(FLOOR(n / {streams})), 100,
  99, 99, 1, DATEADD('second', -MOD(n, 7200) - 20, CURRENT_TIMESTAMP()),
  DATEADD('second', -MOD(n, 7200) - 5, CURRENT_TIMESTAMP()),
  DATEADD('second', -MOD(n, 7200) - 3, CURRENT_TIMESTAMP()),
  DATEADD('second', -MOD(n, 7200) - 1, CURRENT_TIMESTAMP()),
  DATEADD('second', -MOD(n, 7200), CURRENT_TIMESTAMP()), 'pass'
FROM (SELECT ROW_NUMBER() OVER (ORDER BY 1) - 1 AS n FROM TABLE(GENERATOR(ROWCOUNT => {rows}))) AS numbers
"""


# Ten expectations a stream, one of which fails, and ten rows in quarantine.
RESULTS = """
INSERT INTO OPS.QUALITY_RESULTS (ROUND_ID, STREAM, CONTRACT_VERSION, EXPECTATION_ID, EXPECTATION, SEVERITY,
  SUCCESS, ROWS_CHECKED, ROWS_UNEXPECTED, DAG_ID, CHECKED_AT)
SELECT 'round', 'feed_' || LPAD(TO_VARCHAR(MOD(n, {streams})), 4, '0'), '1.0.0',
  TO_VARCHAR(FLOOR(n / {streams})), 'between', 'critical', n >= {streams}, 100, 1, 'quality',
  CURRENT_TIMESTAMP()
FROM (SELECT ROW_NUMBER() OVER (ORDER BY 1) - 1 AS n FROM TABLE(GENERATOR(ROWCOUNT => {rows}))) AS numbers
"""
HELD = """
INSERT INTO RAW.QUARANTINE (STREAM, TOPIC, _TOPIC_ID, _PARTITION, _OFFSET, _TIMESTAMP, REASON, RULE, "COLUMN")
SELECT 'feed_' || LPAD(TO_VARCHAR(MOD(n, {streams})), 4, '0'), 'feed', 'epoch', 0, n, CURRENT_TIMESTAMP(),
  'too dear', 'maximum', 'price'
FROM (SELECT ROW_NUMBER() OVER (ORDER BY 1) - 1 AS n FROM TABLE(GENERATOR(ROWCOUNT => {rows}))) AS numbers
"""
# The ledger is of the topics that the brokers have.
EPOCHS = """
UPDATE OPS.SLICES SET TOPIC_ID = known.ID
FROM (
  SELECT r.VALUE[0]::VARCHAR AS NAME, r.VALUE[1]::VARCHAR AS ID
  FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r
) AS known
WHERE OPS.SLICES.TOPIC = known.NAME
"""


@contextmanager
def broker(folder: Path, streams: int) -> Iterator[tuple[str, dict[str, str]]]:
    """A real Kafka node with a topic for every stream: its Airflow connection, and the topics' ids."""
    from confluent_kafka import TopicCollection
    from confluent_kafka.admin import AdminClient
    from thousand_topics import create

    folder.mkdir()
    kafka = RunningKafka(folder, CACHE)
    try:
        kafka.start()
        names = [f"feed_{n:04d}" for n in range(streams)]
        create(kafka.bootstrap_servers, names)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        described = admin.describe_topics(TopicCollection(names), request_timeout=60)
        ids = {name: str(topic.result(60).topic_id) for name, topic in described.items()}
        yield kafka.airflow_connection, ids
    finally:
        kafka.stop(grace=0)


@contextmanager
def served(
    folder: Path, streams: int, rows: int, kafka: tuple[str, dict[str, str]] | None
) -> Iterator[tuple[TestClient, dict[str, str]]]:
    """A signed-in client of Airflow's API server over a filled ledger.

    :param kafka: connection to the brokers, and ids of the topics; ``None``: brokers are not asked.
    """
    (folder / "authority").mkdir()
    (folder / "snowflake").mkdir()
    snowflake = RunningSnowflake(folder / "snowflake", make_authority(folder / "authority"))
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({"admin": "admin"}))
    try:
        snowflake.start()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in snowflake.trust.items():
                patch.setenv(name, value)
            patch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", snowflake.airflow_connection)
            patch.setenv("AIRFLOW__MADHATTER__KAFKA_CONFIG_ID", "kafka_default" if kafka else "")
            patch.setenv("AIRFLOW__MADHATTER__DASHBOARDS_FOLDER", str(ROOT / "include/dashboards"))
            patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
            patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin")
            snowflake.apply_sql(load_contracts(ROOT / "include/contracts"), ROOT / "include/sql")
            sql = snowflake.client(timeout=120)
            sql.execute(LEDGER.format(streams=streams, rows=rows))
            for statement in (RESULTS, HELD):
                sql.execute(statement.format(streams=streams, rows=10 * streams))
            if kafka is not None:
                patch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", kafka[0])
                sql.execute(EPOCHS, [json.dumps(list(kafka[1].items()))])
            AIRFLOW.reset(template_database(CACHE, os.environ))
            from airflow.api_fastapi.app import create_app

            with TestClient(create_app(apps="core"), base_url="http://localhost") as client:
                token = client.post("/auth/token", json={"username": "admin", "password": "admin"}).json()
                yield client, {"Authorization": f"Bearer {token['access_token']}"}
    finally:
        snowflake.stop(grace=0)
        AIRFLOW.remove()


def timed(rounds: int, ask: Callable[[], Any]) -> list[float]:
    """Milliseconds of each request."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = ask()
        found.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.text
    return found


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def seconds_to_lag(client: TestClient, headers: dict[str, str]) -> float:
    """How long the brokers take, the first time, to tell the ends of all topics."""
    began = time.perf_counter()
    while True:
        found = client.get("/madhatter/api/streams?sort=lag", headers=headers).json()
        assert not found["broker"]["fault"], found["broker"]
        if not found["broker"]["pending"]:
            break
        time.sleep(0.05)
    assert all(s["lag"] is not None for s in found["streams"]), found["streams"][0]
    return time.perf_counter() - began


def measure(client: TestClient, headers: dict[str, str], rounds: int, paths: dict[str, str]) -> None:
    """Print a line per question."""
    from madhatter_provider.control_room.plugin import MadHatterPlugin

    client.get("/madhatter/api/session", headers=headers)  # makes the app
    answers = MadHatterPlugin.fastapi_apps[0]["app"]._app.state.room.answers
    print("| question | kept p50 | kept p95 | anew p50 | anew p95 |\n|---|---|---|---|---|")
    for title, path in paths.items():
        ask = functools.partial(client.get, f"/madhatter/{path}", headers=headers)

        def ask_anew(ask: Callable[[], Any] = ask) -> Any:
            answers.forget()
            return ask()

        ask()
        kept, anew = timed(rounds, ask), timed(max(10, rounds // 10), ask_anew)
        figures = (statistics.median(kept), p95(kept), statistics.median(anew), p95(anew))
        print(f"| {title} | " + " | ".join(f"{f:.0f}" for f in figures) + " |", flush=True)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--kafka", action="store_true")
    given = parser.parse_args()
    print(f"{given.streams} streams, {given.rows} ledger rows, {given.rounds} requests each; milliseconds")
    with (
        tempfile.TemporaryDirectory() as folder,
        broker(Path(folder) / "kafka", given.streams) if given.kafka else nullcontext() as kafka,
        served(Path(folder), given.streams, given.rows, kafka) as (client, headers),
    ):
        if kafka is not None:
            print(f"ends of all topics, the first time: {seconds_to_lag(client, headers):.1f} s")
        measure(client, headers, given.rounds, PATHS | (BY_LAG if kafka is not None else {}))


if __name__ == "__main__":
    main()
