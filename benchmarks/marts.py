"""How long every mart takes on a day of traffic, made inside the local Snowflake::

    .madhatter/venv/bin/python benchmarks/marts.py --demos 100

A demo sends 60 s at 300 events/s: 18,000 events. ``--demos 100`` spreads a hundred of them over one day,
1,440 a whole day at the demo's rate. The DAG ``marts`` closes the hours, then each mart is asked for its
newest thousand rows, which computes all of it; the list of a customer is asked for as a page would. A real
account has other figures.
"""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from throwaway_snowflake import throwaway_snowflake

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.warehouse.closed_hours import close_hours
from madhatter_provider.core.warehouse.sql import script
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

INCLUDE = Path(__file__).parents[1] / "include"
CONTRACTS = load_contracts(INCLUDE / "contracts")
DEMO_EVENTS = 18_000
TIMES = 3
ASKED = {
    "RECOMMENDATIONS_PER_CUSTOMER": """SELECT * FROM MARTS.RECOMMENDATIONS_PER_CUSTOMER
    WHERE CUSTOMER_ID = 'C000007'"""
}


def pick(*values: str, by: str = "N") -> str:
    """One of some texts, by a number."""
    whens = " ".join(f"WHEN {i} THEN '{value}'" for i, value in enumerate(values))
    return f"CASE MOD({by}, {len(values)}) {whens} END"


def digits(letter: str, width: int, number: str) -> str:
    """An id: a letter and a number."""
    return f"'{letter}' || LPAD(TO_VARCHAR(({number})::BIGINT), {width}, '0')"


CUSTOMER = digits("C", 6, "MOD(N * 7919, 40000)")
SEVERITY = pick("medium", "high", "critical")
CURRENCY = pick("USD", "EUR", "GBP", by="N * 7")
# Share of the events, and every column by the number N of the row; T is its event time.
STREAMS: dict[str, tuple[float, dict[str, str]]] = {
    "CLICKS": (
        0.4,
        {
            "EVENT_ID": digits("c", 15, "N"), "EVENT_TIME": "T", "CUSTOMER_ID": CUSTOMER,
            "SESSION_ID": digits("s", 15, "FLOOR(N / 4)"),
            "PAGE_TYPE": pick("home", "product", "cart", "checkout"),
            "PRODUCT_ID": f"IFF(MOD(N, 4) IN (1, 2), {digits('P', 5, 'MOD(N * 31, 2400)')}, NULL)",
        },
    ),
    "SEARCHES": (
        0.1,
        {
            "EVENT_ID": digits("q", 15, "N"), "EVENT_TIME": "T", "SESSION_ID": digits("s", 15, "N"),
            "CUSTOMER_ID": CUSTOMER, "QUERY": pick("red toys", "new books", "best fashion", by="N * 11"),
            "CLICKED_PRODUCT_ID": f"IFF(MOD(N, 2) = 0, {digits('P', 5, 'MOD(N * 31, 2400)')}, NULL)",
        },
    ),
    "TRANSACTIONS": (
        0.2,
        {
            "EVENT_ID": digits("t", 15, "N"), "EVENT_TIME": "T", "CUSTOMER_ID": CUSTOMER,
            "SESSION_ID": digits("s", 15, "FLOOR(N / 2)"),
            "MERCHANT_CATEGORY": pick("toys", "books", "fashion", "grocery", "home"),
            "AMOUNT": "MOD(N * 37, 20000) / 100", "CURRENCY": CURRENCY, "ITEMS": "1 + MOD(N, 4)",
            "STATUS": "IFF(MOD(N, 20) = 0, 'declined', 'authorized')",
        },
    ),
    "SYSTEM_LOGS": (
        0.2,
        {
            "EVENT_ID": digits("l", 15, "N"), "EVENT_TIME": "T",
            "SERVICE": pick("auth", "catalog", "cart", "checkout", "payments", "search", "shipping"),
            "LEVEL": "IFF(MOD(N, 60) = 0, 'ERROR', 'INFO')", "ACTION": pick("request", "login_failed"),
            "STATUS_CODE": "IFF(MOD(N, 60) = 0, 500, 200)", "DURATION_MS": "MOD(N * 13, 900)",
        },
    ),
    "IOT_TELEMETRY": (
        0.1,
        {
            "EVENT_ID": digits("i", 15, "N"), "EVENT_TIME": "T", "SENSOR_ID": digits("S", 4, "MOD(N, 240)"),
            "SENSOR_TYPE": pick("temperature", "humidity", "vibration", by="MOD(N, 240)"),
            "SITE_ID": digits("W", 2, "MOD(N, 12)"), "SITE_TYPE": "'warehouse'",
            "VALUE": "4 + MOD(N * 17, 100) / 50", "UNIT": "'celsius'", "BATTERY_PERCENT": "80",
            "STATUS": "'ok'",
        },
    ),
    "FRAUD_ALERTS": (
        0.002,
        {
            "ALERT_ID": digits("a", 15, "N"), "ALERT_TIME": "DATEADD('millisecond', 400, T)",
            "EVENT_TIME": "T",
            "CUSTOMER_ID": CUSTOMER, "TRANSACTION_ID": digits("t", 15, "N * 100"),
            "RULE": pick("card_testing", "velocity_burst", "impossible_travel"), "SEVERITY": SEVERITY,
            "SCORE": "0.9", "AMOUNT": "MOD(N * 37, 90000) / 100", "CURRENCY": CURRENCY,
            "COUNTRY": pick("US", "GB", "FR", "DE"), "REASON": "'because'",
        },
    ),
    "STREAM_METRICS": (
        0.006,
        {
            "METRIC_ID": digits("m", 15, "FLOOR(N / 2)"), "EMITTED_TIME": "T", "WINDOW_START": "T",
            "METRIC": pick("sales", "page_views"), "DIMENSION": "'EUR'", "EVENTS": "N", "VALUE": "N",
        },
    ),
    "QUARANTINE": (
        0.008,
        {
            "STREAM": pick("clicks", "searches"), "TOPIC": "'clicks'", "REASON": "'required: event_time'",
            "RULE": pick("required", "malformed_json"), '"COLUMN"': "'event_time'",
        },
    ),
}  # fmt: skip
COORDINATES = {"_TOPIC_ID": "'topic'", "_PARTITION": "MOD(N, 3)", "_OFFSET": "N", "_TIMESTAMP": "T"}
# Tables with a size of their own: rows, and every column.
OTHERS: dict[str, tuple[int, dict[str, str]]] = {
    "OPS.SLICES": (
        7 * 3 * 8640,
        {
            "STREAM": pick(*(s.lower() for s in STREAMS if s != "QUARANTINE")), "TOPIC_ID": "'topic'",
            "PARTITION_ID": "MOD(FLOOR(N / 7), 3)", "START_OFFSET": "FLOOR(N / 21) * 100",
            "END_OFFSET": "FLOOR(N / 21) * 100 + 100", "STATE": "'loaded'", "DAG_ID": "'land'",
            "RUN_ID": "'run'",
            "ROWS_READ": "100", "ROWS_LANDED": "99", "ROWS_LOADED": "99", "ROWS_QUARANTINED": "1",
            "MIN_EVENT_TIME": "T", "MAX_EVENT_TIME": "T", "GATE": "'pass'", "DEEP_GATE": "'pass'",
            "CLAIMED_AT": "T", "LANDED_AT": "T", "LOADED_AT": "T",
        },
    ),
    "OPS.QUALITY_RESULTS": (
        7 * 15 * 144,
        {
            "ROUND_ID": digits("r", 5, "FLOOR(N / 105)"), "STREAM": pick(*(s.lower() for s in STREAMS)),
            "CONTRACT_VERSION": "'1.0.0'", "EXPECTATION_ID": digits("e", 3, "MOD(N, 105)"),
            "EXPECTATION": "'not null'", "SEVERITY": "'critical'", "SUCCESS": "TRUE", "CHECKED_AT": "T",
        },
    ),
    "OPS.HEALTH": (
        600,
        {
            "CHECK_NAME": pick("slice_lag", "service_errors", "sensor_silent", "freshness"),
            "SUBJECT": digits("x", 5, "N"), "STATE": pick("ok", "warning", "critical"), "CHANGES": "1",
            "CHANGED_AT": "T", "CHECKED_AT": "T", "MEASURED": "1", "LIMIT_VALUE": "2",
        },
    ),
    "MARTS.SALES_PER_HOUR": (
        360,
        {
            "HOUR": "DATE_TRUNC('hour', T)", "CURRENCY": CURRENCY, "MERCHANT_CATEGORY": pick("toys", "books"),
            "AUTHORIZED": "N", "DECLINED": "1", "SALES": "N", "CUSTOMERS": "N", "COMPUTED_AT": "T",
        },
    ),
    "RECO.PRODUCT_HOURS": (
        2400 * 192,
        {
            "HOUR": "DATEADD('hour', -MOD(N, 192), DATE_TRUNC('hour', CURRENT_TIMESTAMP()))",
            "PRODUCT_ID": digits("P", 5, "FLOOR(N / 192)"), "EVENTS": "MOD(N * 31, 50)",
        },
    ),
    "RECO.FUNNEL_HOURS": (
        24 * 30,
        {
            "HOUR": "DATEADD('hour', -N, DATE_TRUNC('hour', CURRENT_TIMESTAMP()))", "SESSIONS": "N",
            "SEARCHED": "N", "CLICKED": "N", "PURCHASED": "N",
        },
    ),
    "RECO.PRODUCTS": (
        2400, {"PRODUCT_ID": digits("P", 5, "N"), "PRODUCT_CATEGORY": "'toys'", "QUERIED_AT": "T"},
    ),
    "RECO.RECOMMENDATIONS": (
        40_000 * 20,
        {
            "CUSTOMER_ID": digits("C", 6, "FLOOR(N / 20)"), "POSITION": "1 + MOD(N, 20)",
            "PRODUCT_ID": digits("P", 5, "MOD(N * 31, 2400)"), "SCORE": "0.5", "REASON": "'trending'",
            "COMPUTED_AT": "T",
        },
    ),
    "RECO.QUALITY": (
        8640,
        {
            "RUN_ID": digits("r", 5, "N"), "EVALUATED_AT": "T", "SESSIONS": "2000", "HITS": "200",
            "POPULARITY_HITS": "60", "PRODUCTS_RECOMMENDED": "900", "PRODUCTS": "2400",
        },
    ),
}  # fmt: skip
BY_ALERTS: dict[str, dict[str, str]] = {
    "FRAUD.CASES": {
        "CASE_ID": digits("k", 9, "N"), "CUSTOMER_ID": CUSTOMER, "OPENED_AT": "T", "ALERTS": "1",
        "SEVERITY": SEVERITY, "MAX_SCORE": "0.9", "AMOUNT": "100", "CURRENCY": CURRENCY, "COUNTRY": "'US'",
        "STATUS": pick("open", "blocked", "released"), "UPDATED_AT": "T",
    },
    "FRAUD.ORDER_HOLDS": {
        "TRANSACTION_ID": digits("t", 15, "N * 100"), "CASE_ID": digits("k", 9, "N"), "CUSTOMER_ID": CUSTOMER,
        "EVENT_TIME": "T", "AMOUNT": "100", "CURRENCY": CURRENCY,
        "STATE": pick("held", "cancelled", "released"), "HELD_AT": "T",
    },
}  # fmt: skip


def fill(sql: SnowflakeRest, table: str, rows: int, columns: dict[str, str], *, twice: int = 0) -> None:
    """Rows spread over the 24 hours before now; of every ``twice`` rows one stands there a second time."""
    numbers = f"SELECT SEQ8()::BIGINT AS N FROM TABLE(GENERATOR(ROWCOUNT => {rows}))"
    if twice:
        numbers += (
            f" UNION ALL SELECT SEQ8()::BIGINT * {twice} FROM TABLE(GENERATOR(ROWCOUNT => {rows // twice}))"
        )
    day = f"DATEADD('millisecond', FLOOR(N * {86_400_000 / rows!r})::BIGINT - 86400000, CURRENT_TIMESTAMP())"
    sql.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} "
        f"FROM (SELECT N, {day} AS T FROM ({numbers}) AS numbers) AS timed"
    )


def fill_all(sql: SnowflakeRest, events: int) -> None:
    """A day of events, and what the DAGs would have made of them."""
    for stream, (share, columns) in STREAMS.items():
        rows = max(1, int(events * share))
        twice = 250 if stream in ("CLICKS", "SEARCHES", "TRANSACTIONS") else 0
        fill(sql, f"RAW.{stream}", rows, columns | COORDINATES, twice=twice)
    for table, (rows, columns) in OTHERS.items():
        fill(sql, table, rows, columns)
    for table, columns in BY_ALERTS.items():
        fill(sql, table, max(1, int(events * STREAMS["FRAUD_ALERTS"][0])), columns)


def marts() -> list[str]:
    """Views and tables of schema MARTS, in the order in which the SQL files make them."""
    text = "\n".join(s.text for s in script(INCLUDE / "sql", CONTRACTS, landing_root="file:///nowhere"))
    return list(dict.fromkeys(re.findall(r"(?:VIEW|TABLE IF NOT EXISTS) MARTS\.(\w+)", text)))


def ask(sql: SnowflakeRest, mart: str) -> tuple[list[float], int]:
    """Seconds of each of some queries, and the rows of the last."""
    query = ASKED.get(mart, f"SELECT * FROM MARTS.{mart} ORDER BY 1 DESC LIMIT 1000")
    took, rows = [], []
    for _ in range(TIMES):
        began = time.perf_counter()
        rows = sql.execute(query)
        took.append(time.perf_counter() - began)
    return took, len(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demos", type=int, default=100)
    args = parser.parse_args()
    with throwaway_snowflake() as server:
        server.apply_sql(CONTRACTS, INCLUDE / "sql")
        sql = server.client(timeout=1800)
        began = time.perf_counter()
        fill_all(sql, args.demos * DEMO_EVENTS)
        print(f"{args.demos * DEMO_EVENTS:,} events, made in {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()
        for hours in range(24, -1, -1):  # as the DAG would have done in the course of the day
            sql.transact(close_hours(datetime.now(UTC) - timedelta(hours=hours)), repeatable=True)
        print(f"an hour closed in {(time.perf_counter() - began) / 25:.1f} s\n")
        print("| mart | rows asked for | s (median) | s (worst) | < 1 s |\n|---|---|---|---|---|")
        for mart in marts():
            took, rows = ask(sql, mart)
            verdict = "yes" if max(took) < 1 else "no"
            print(
                f"| {mart} | {rows} | {sorted(took)[TIMES // 2]:.2f} | {max(took):.2f} | {verdict} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
