"""Carry out the plan of an audit. Every action may be carried out again: what is done is found done.

Actions on rows are transactions, or replays (:mod:`madhatter_provider.core.replay.run`), which are ones too.
An action that fails is said and the next one is tried: they mend different things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from madhatter_provider.core.audit.plan import KINDS, Action, merged
from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.decoding.decoders import SchemaSource
from madhatter_provider.core.errors import ConfigurationError, GateFailed, MadHatterError
from madhatter_provider.core.landing.files import FileOptions
from madhatter_provider.core.landing.land import Landing, Store, land
from madhatter_provider.core.replay.job import Replaying
from madhatter_provider.core.replay.plan import ledger_rows, within
from madhatter_provider.core.replay.request import ReplayKafka, ReplayRequest
from madhatter_provider.core.replay.run import replay
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.ledger_changes import rejudge
from madhatter_provider.core.warehouse.sql import literal
from madhatter_provider.core.warehouse.sql_client import TransactionalSql

DAG_ID: Final = "audit"
"""What the ledger calls the owner of ranges that only an audit has recorded."""

_KEY: Final = "_TOPIC_ID, _PARTITION, _OFFSET"
_MOST_LOST: Final = 10_000
"""Ledger rows that one range may leave behind as lost."""


@dataclass(slots=True)
class Repair:
    """What a repair works with.

    :param new_id: makes ids for replays and tables: letters, digits and underscores.
    :param set_mirror: sets the mirror group of a DAG to a position in an epoch of the topic.
    :param set_position: sets Airflow's position of a DAG.
    :param remove_scratch: removes unpublished files, returns how many.
    :param tombstones: what becomes of messages without a value: the same as when the stream is landed.
    :param log: takes a line for people.
    """

    contract: Contract
    sql: TransactionalSql
    kafka: ReplayKafka
    store: Store
    who: str
    new_id: Callable[[], str]
    set_mirror: Callable[[str, str, Mapping[int, int]], None]
    set_position: Callable[[str, str, Mapping[int, int]], None]
    remove_scratch: Callable[[], int]
    schemas: SchemaSource | None = None
    tombstones: str = "quarantine"
    log: Callable[[str], None] = print
    failed: list[str] = field(default_factory=list)

    def carry_out(self, actions: Iterable[Action]) -> None:
        """All actions, in their order; ``failed`` says which did not succeed."""
        todo = [a for a in actions if a.repairs]
        for kind in KINDS:
            mine = [a for a in todo if a.kind == kind]
            if kind == "replay":
                for owned in merged(mine):
                    self._try(f"replay {owned}", partial(self._replay, owned))
            else:
                for action in mine:
                    self._try(str(action), partial(_CARRY_OUT[kind], self, action))

    def _try(self, what: str, do: Callable[[], None]) -> None:
        self.log(what)
        try:
            do()
        except GateFailed as err:  # the rows are in place; whether they are good is not an audit's question
            self.log(f"  {err.what}")
        except MadHatterError as err:
            self.failed.append(f"{what}\n{err}")
            self.log(f"  failed: {err}")

    def _replay(self, owned: Slice) -> None:
        start, end = (",".join(f"{r.partition}:{at}" for r, at in ends) for ends in _ends(owned))
        request = ReplayRequest(
            start=start, end=end, topic_id=owned.topic_id, reason="audit", who=self.who, take_over=True
        )
        job = Replaying(
            self.contract, self.sql, self.kafka, self.store, self.new_id(), self.schemas, self.tombstones,
            self.log,
        )  # fmt: skip
        replay(job, request).raise_if_failed()

    def claim(self, action: Action) -> None:
        """The ledger knows the range; whatever comes next fills it."""
        self._record(action, action.owned, "claimed")
        reached("audit.after_claim")

    def lose(self, action: Action) -> None:
        """The ledger knows the loss. Ranges that were claimed and of which retention took the beginning keep
        the rest.
        """
        self._record(action, action.owned, "lost")
        reached("audit.after_lose")
        for r in action.owned:
            self.sql.execute(
                f"UPDATE {ledger.TABLE} SET START_OFFSET = ? WHERE STREAM = ? AND TOPIC_ID = ? "
                "AND PARTITION_ID = ? AND STATE IN ('claimed', 'landed') "
                "AND START_OFFSET >= ? AND START_OFFSET < ? AND END_OFFSET > ?",
                [r.end, self.contract.stream, action.owned.topic_id, r.partition, r.start, r.end, r.end],
            )

    def lose_missing(self, action: Action) -> None:
        """Offsets that are in neither table. Holes that transactions leave are among them: nothing can tell
        them apart any more.
        """
        for r in action.owned:
            missing = tuple(self._missing(action.owned.topic_id, r))
            if missing == (r,):  # nothing is left of it: its row says so itself
                self._give_up(action.owned.topic_id, r)
            elif missing:
                owned = Slice(action.owned.topic, action.owned.topic_id, missing)
                self._record(action, owned, "lost")
        reached("audit.after_lose")
        self.recount(action)

    def _give_up(self, topic_id: str, r: OffsetRange) -> None:
        self.sql.execute(
            f"UPDATE {ledger.TABLE} SET STATE = 'lost', ROWS_READ = 0, ROWS_LANDED = 0, ROWS_LOADED = 0, "
            "ROWS_QUARANTINED = 0, ROWS_FILTERED = 0 WHERE STREAM = ? AND TOPIC_ID = ? AND PARTITION_ID = ? "
            "AND START_OFFSET = ? AND END_OFFSET = ?",
            [self.contract.stream, topic_id, r.partition, r.start, r.end],
        )

    def _missing(self, topic_id: str, r: OffsetRange) -> Iterator[OffsetRange]:
        places = f"SELECT _OFFSET AS O FROM {{}} WHERE _TOPIC_ID = ? AND {within(Slice('', '', (r,)))}"
        found = self.sql.execute(
            "SELECT O + 1 AS FIRST_OFFSET, NEXT_O AS LAST_OFFSET FROM ("
            "SELECT O, LEAD(O) OVER (ORDER BY O) AS NEXT_O FROM ("
            f"SELECT {r.start - 1} AS O UNION SELECT {r.end} "
            f"UNION {places.format(f'RAW.{self.contract.table}')} "
            f"UNION {places.format('RAW.QUARANTINE')} AND STREAM = ?) AS there) AS pairs "
            f"WHERE NEXT_O > O + 1 ORDER BY O LIMIT {_MOST_LOST + 1}",
            [topic_id, topic_id, self.contract.stream],
        )
        if len(found) > _MOST_LOST:
            raise ConfigurationError(
                f"More than {_MOST_LOST} separate offsets are missing",
                where=f"stream {self.contract.stream}, {r}",
                remedy="Are these holes of transactions? If not, record the whole range as lost by hand.",
            )
        return (OffsetRange(r.partition, int(f["FIRST_OFFSET"]), int(f["LAST_OFFSET"])) for f in found)

    def trim(self, action: Action) -> None:
        """The later row begins where the earlier ends; a row that is left with nothing goes."""
        rows = [r for r in ledger_rows(self.sql, self.contract.stream, action.owned) if r.state != "lost"]
        shared = action.owned.ranges[0]
        later = [
            r
            for r in rows
            if r.start_offset == shared.start and (r.dag_id or "", r.run_id or "") == action.run
        ]
        if len(rows) < 2 or not later:
            return  # done before
        row = max(later, key=lambda r: r.end_offset)
        key = _key(row)
        if row.end_offset <= shared.end:
            statements = [f"DELETE FROM {ledger.TABLE} WHERE {key}"]
        else:
            statements = [f"UPDATE {ledger.TABLE} SET START_OFFSET = {shared.end} WHERE {key}"]
        if all(r.state == "loaded" for r in rows):
            both = (OffsetRange(r.partition_id, r.start_offset, r.end_offset) for r in rows)
            owned = Slice(action.owned.topic, action.owned.topic_id, tuple(both))
            statements.append(rejudge(self.contract, owned))
        self.sql.transact(statements)

    def recount(self, action: Action) -> None:
        """The ledger says what is there."""
        self.sql.execute(rejudge(self.contract, action.owned))

    def deduplicate(self, action: Action) -> None:
        """Keep one row of each message, the one with the oldest time stamp, in one transaction."""
        name = f"OPS.AUDIT_{self.new_id()}"
        where = f"_TOPIC_ID = {literal(action.owned.topic_id)} AND ({within(action.owned)})"
        stream = f" AND STREAM = {literal(self.contract.stream)}"
        tables = ((f"RAW.{self.contract.table}", where), ("RAW.QUARANTINE", where + stream))
        statements = []
        for number, (table, condition) in enumerate(tables):
            kept = f"{name}_{number}"
            self.sql.execute(
                f"CREATE OR REPLACE TRANSIENT TABLE {kept} AS SELECT * FROM {table} WHERE {condition} "
                f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {_KEY} ORDER BY _TIMESTAMP) = 1"
            )
            # What arrives meanwhile is not in the copy, and stays.
            mine = f"({_KEY}) IN (SELECT {_KEY} FROM {kept})"
            statements += [
                f"DELETE FROM {table} WHERE {condition} AND {mine}",
                f"INSERT INTO {table} SELECT * FROM {kept}",
            ]
        reached("audit.after_copy")
        self.sql.transact([*statements, rejudge(self.contract, action.owned)], repeatable=True)
        reached("audit.after_swap")
        for number in range(len(tables)):
            self.sql.execute(f"DROP TABLE IF EXISTS {name}_{number}")

    def land(self, action: Action) -> None:
        """The same bytes under the same names, and the manifest."""
        options = FileOptions(tombstones=self.tombstones)
        job = Landing(self.contract, action.owned, action.run[1], self.store, options, self.schemas)
        land(job, self.kafka.read(action.owned))

    def mirror(self, action: Action) -> None:
        """Lag tools see the position again."""
        self.set_mirror(action.run[0], action.owned.topic_id, action.position)

    def position(self, action: Action) -> None:
        """The next run begins there."""
        self.set_position(action.run[0], action.owned.topic_id, action.position)

    def tidy(self, _action: Action) -> None:
        """Nobody will miss them."""
        self.log(f"  {self.remove_scratch()} files removed")

    def _record(self, action: Action, owned: Slice, state: str) -> None:
        dag_id, run_id = action.run
        owner = {"dag_id": dag_id if run_id else DAG_ID, "run_id": run_id or f"audit:{self.who}"}
        rows = [LedgerRow.of_range(self.contract.stream, owned, r, state, **owner) for r in owned]
        self.sql.execute(*ledger.record(rows))


def _ends(owned: Slice) -> tuple[list[tuple[OffsetRange, int]], list[tuple[OffsetRange, int]]]:
    return [(r, r.start) for r in owned], [(r, r.end) for r in owned]


def _key(row: LedgerRow) -> str:
    return (
        f"STREAM = {literal(row.stream)} AND TOPIC_ID = {literal(row.topic_id)} "
        f"AND PARTITION_ID = {row.partition_id} AND START_OFFSET = {row.start_offset} "
        f"AND END_OFFSET = {row.end_offset}"
    )


_CARRY_OUT: Final[Mapping[str, Callable[[Repair, Action], None]]] = {
    "claim": Repair.claim,
    "lose": Repair.lose,
    "lose_missing": Repair.lose_missing,
    "trim": Repair.trim,
    "land": Repair.land,
    "deduplicate": Repair.deduplicate,
    "recount": Repair.recount,
    "mirror": Repair.mirror,
    "position": Repair.position,
    "tidy": Repair.tidy,
}
