"""Roll-ups by hour of event time: which hours a slice has touched, and one hour computed anew.

Pure SQL text and bindings. An hour is named by its key, ``2026-11-24T06`` in UTC, which is also the
partition key of an Airflow asset. Computing an hour replaces its rows, so it may be done any number of times,
and a late event opens its hour again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.warehouse.ledger import TABLE, Statement

_KEY: Final = "%Y-%m-%dT%H"
# The rows of ranges, found by their coordinates: RAW has no run id.
_HOURS: Final = """SELECT DISTINCT DATE_TRUNC('hour', R.{event_time}) AS HOUR
FROM RAW.{table} AS R
JOIN {ledger} AS S ON R._TOPIC_ID = S.TOPIC_ID AND R._PARTITION = S.PARTITION_ID
  AND R._OFFSET >= S.START_OFFSET AND R._OFFSET < S.END_OFFSET
WHERE S.STREAM = ? AND S.STATE = 'loaded' AND ({condition})
ORDER BY HOUR"""


def hours_of_runs(contract: Contract, runs: Sequence[tuple[str, str]]) -> Statement:
    """Query of the hours (column ``HOUR``) that the slices of some runs have touched.

    :param runs: DAG and run ids; at least one.
    """
    condition = " OR ".join(["S.DAG_ID = ? AND S.RUN_ID = ?"] * len(runs))
    return _hours(contract, condition), [contract.stream, *(name for run in runs for name in run)]


def hours_loaded_since(contract: Contract, since: datetime) -> Statement:
    """Query of the hours (column ``HOUR``) of everything that was loaded since a time."""
    return _hours(contract, "S.LOADED_AT >= ?"), [contract.stream, since]


def _hours(contract: Contract, condition: str) -> str:
    return _HOURS.format(
        event_time=contract.event_time.upper(), table=contract.table, ledger=TABLE, condition=condition
    )


def hour_key(when: datetime) -> str:
    """Key of the hour that a time is in."""
    return when.astimezone(UTC).strftime(_KEY)


def recompute_hour(table: str, query: str, key: str) -> list[str]:
    """Statements that, as one transaction, replace the rows of an hour.

    :param table: has a column ``HOUR``.
    :param query: gives the hour's rows in the order of the table's columns; ``{start}`` and ``{end}`` stand
        for its bounds.
    :param key: see :func:`hour_key`.
    :raises ConfigurationError: not the key of an hour.
    """
    try:
        start = datetime.strptime(key, _KEY).replace(tzinfo=UTC)
    except ValueError as err:
        raise ConfigurationError(
            f"{key!r} is not the key of an hour", where=table, remedy="Give it as 2026-11-24T06, in UTC."
        ) from err
    bounds = {"start": _literal(start), "end": _literal(start + timedelta(hours=1))}
    return [
        f"DELETE FROM {table} WHERE HOUR = {bounds['start']}",
        f"INSERT INTO {table} {query.format(**bounds)}",
    ]


def _literal(when: datetime) -> str:
    return f"'{when.isoformat(sep=' ')}'::TIMESTAMP_TZ"
