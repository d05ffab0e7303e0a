"""Changes to ledger rows that are no step of a run: after a replay, and when a person acknowledges a loss.

Statements of a replay carry no bindings: they are parts of its transaction, and the SQL API takes none there.
"""

from __future__ import annotations

from typing import Final

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.core.warehouse.gate import Decision
from madhatter_provider.core.warehouse.ledger import KEY, TABLE, Statement
from madhatter_provider.core.warehouse.sql import literal, quote

_REASON_LENGTH: Final = 1024


def rejudge(contract: Contract, owned: Slice, gate: Decision | None = None) -> str:
    """Count the rows of every ledger range that touches a slice anew, after its rows were replaced.

    Counts and event times are those of the rows that are there now, over the whole range even if the slice
    covers a part of it. The deep gate has to judge it again. A range that the slice covers is ``loaded``
    from now on, whatever it was. Running it again changes nothing.

    :param gate: the fast gate's decision; left out, the old one stands.
    """
    if not len(owned):
        raise ConfigurationError(
            "A replay of nothing changes no ledger row", remedy="Replay at least one offset."
        )
    stream, epoch = literal(contract.stream), literal(owned.topic_id)
    counts = _counts(contract, stream, epoch, touching(owned, "l."))
    covered = _covered(owned, "s.")
    sets = {
        "STATE": f"IFF({covered}, 'loaded', t.STATE)",
        "ROWS_READ": "s.LOADED + s.HELD + COALESCE(t.ROWS_FILTERED, 0)",
        "ROWS_LANDED": "s.LOADED",
        "ROWS_LOADED": "s.LOADED",
        "ROWS_QUARANTINED": "s.HELD",
        "MIN_EVENT_TIME": "s.FIRST_TIME",
        "MAX_EVENT_TIME": "s.LAST_TIME",
        "LANDED_AT": f"IFF({covered}, COALESCE(t.LANDED_AT, CURRENT_TIMESTAMP()), t.LANDED_AT)",
        "LOADED_AT": f"IFF({covered}, COALESCE(t.LOADED_AT, CURRENT_TIMESTAMP()), t.LOADED_AT)",
        "DEEP_GATE": "NULL",
        "DEEP_GATED_AT": "NULL",
    }
    if gate is not None:
        sets |= {"GATE": literal(gate), "GATED_AT": "CURRENT_TIMESTAMP()"}
    keys = " AND ".join(f"t.{c} = s.{c}" for c in KEY)
    assignments = ", ".join(f"{c} = {v}" for c, v in sets.items())
    return (
        f"MERGE INTO {TABLE} AS t USING ({counts}) AS s ON {keys} WHEN MATCHED THEN UPDATE SET {assignments}"
    )


def _counts(contract: Contract, stream: str, epoch: str, touched: str) -> str:
    keys = ", ".join(f"l.{c}" for c in KEY)
    time = quote(contract.event_time)
    rows = (
        f"SELECT _PARTITION AS P, _OFFSET AS O, 1 AS GOOD, 0 AS BAD, {time} AS T FROM RAW.{contract.table} "
        f"WHERE _TOPIC_ID = {epoch} UNION ALL "
        f"SELECT _PARTITION, _OFFSET, 0, 1, NULL FROM RAW.QUARANTINE "
        f"WHERE STREAM = {stream} AND _TOPIC_ID = {epoch}"
    )
    return (
        f"SELECT {keys}, COALESCE(SUM(r.GOOD), 0) AS LOADED, COALESCE(SUM(r.BAD), 0) AS HELD, "
        f"MIN(r.T) AS FIRST_TIME, MAX(r.T) AS LAST_TIME FROM {TABLE} AS l LEFT JOIN ({rows}) AS r "
        "ON r.P = l.PARTITION_ID AND r.O >= l.START_OFFSET AND r.O < l.END_OFFSET "
        f"WHERE l.STREAM = {stream} AND l.TOPIC_ID = {epoch} AND l.STATE <> 'lost' AND ({touched}) "
        f"GROUP BY {keys}"
    )


def touching(owned: Slice, of: str = "") -> str:
    """A condition on ledger rows of the slice's epoch: they touch the slice.

    :param of: table alias with a dot.
    """
    return " OR ".join(
        f"({of}PARTITION_ID = {r.partition} AND {of}START_OFFSET < {r.end} AND {of}END_OFFSET > {r.start})"
        for r in owned
    )


def _covered(owned: Slice, of: str = "") -> str:
    return " OR ".join(
        f"({of}PARTITION_ID = {r.partition} AND {of}START_OFFSET >= {r.start} AND {of}END_OFFSET <= {r.end})"
        for r in owned
    )


def acknowledge(stream: str, lost: Slice | None, reason: str, who: str) -> Statement:
    """Say that a person knows of losses and lives with them. An acknowledgement is never overwritten.

    :param lost: the losses meant; all of the stream's if left out. Rows that it covers are acknowledged.
    :raises ConfigurationError: no reason is given.
    """
    if not reason.strip():
        raise ConfigurationError(
            "A loss is acknowledged with a reason",
            where=f"stream {stream}",
            remedy="Say why, in a sentence: it is kept in OPS.SLICES.",
        )
    which, bindings = "", []
    if lost is not None:
        which = f" AND TOPIC_ID = ? AND ({_covered(lost)})"
        bindings = [lost.topic_id]
    return (
        f"UPDATE {TABLE} SET ACKNOWLEDGED_AT = CURRENT_TIMESTAMP(), ACKNOWLEDGED_BY = ?, "
        "ACKNOWLEDGED_REASON = ? WHERE STREAM = ? AND STATE = 'lost' AND ACKNOWLEDGED_AT IS NULL" + which,
        [who[:256], reason.strip()[:_REASON_LENGTH], stream, *bindings],
    )


def unacknowledged(stream: str) -> Statement:
    """Losses of a stream that nobody has acknowledged, the newest first: TOPIC_ID, PARTITION_ID,
    START_OFFSET, END_OFFSET, RUN_ID.
    """
    return (
        f"SELECT TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET, RUN_ID FROM {TABLE} WHERE STREAM = ? "
        "AND STATE = 'lost' AND ACKNOWLEDGED_AT IS NULL ORDER BY CLAIMED_AT DESC, PARTITION_ID, START_OFFSET",
        [stream],
    )
