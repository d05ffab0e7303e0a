"""What becomes of a batch of messages: typed rows, and rows for quarantine with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.row_rules import arrow_schema, compile_rules, first_broken

if TYPE_CHECKING:
    import pyarrow as pa


class Fault(NamedTuple):
    """Why a message is not a row. ``column`` is ``None`` for the whole message."""

    rule: str
    reason: str
    column: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A message that goes to quarantine. ``index`` is its place in the batch; ``column`` is ``None`` for the
    whole message.
    """

    index: int
    rule: str
    reason: str
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """``table`` holds the good rows, ``good`` their places in the batch, ascending; ``bad`` the rest."""

    table: pa.Table
    good: list[int]
    bad: list[BadRow]


TOMBSTONE = Fault("empty", "has no value (a tombstone)")
EMPTY = Fault("empty", "is empty")


class RowJudge:
    """Applies a contract's row rules to rows that could be decoded."""

    def __init__(self, contract: Contract) -> None:
        self.schema = arrow_schema(contract)
        self._rules = compile_rules(contract)

    def judge(
        self, table: pa.Table, good: list[int], bad: list[BadRow], faults: Mapping[int, Fault] | None = None
    ) -> Decoded:
        """Move the rows that break a rule to ``bad``.

        :param good: places in the batch of the table's rows, ascending.
        :param faults: rows of the table that are known to be bad, by their place in it.
        """
        import pyarrow as pa

        broken = dict(faults or {})
        for row, rule in first_broken(table, self._rules).items():
            broken.setdefault(row, Fault(rule.rule, rule.reason, rule.column))
        if broken:
            bad = bad + [BadRow(good[row], *fault) for row, fault in broken.items()]
            keep = [row for row in range(len(good)) if row not in broken]
            table, good = table.take(pa.array(keep, pa.int64())), [good[row] for row in keep]
        return Decoded(table, good, sorted(bad, key=lambda b: b.index))


def in_order(
    schema: pa.Schema, parts: Iterable[tuple[pa.Table, Sequence[int]]]
) -> tuple[pa.Table, list[int]]:
    """Tables with the places of their rows in the batch, as one table in the order of these places."""
    import pyarrow as pa

    kept = [(table, list(places)) for table, places in parts if places]
    if not kept:
        return schema.empty_table(), []
    good = [place for _, places in kept for place in places]
    merged = pa.concat_tables([table for table, _ in kept])
    if len(kept) == 1:
        return merged, good
    order = sorted(range(len(good)), key=good.__getitem__)
    return merged.take(pa.array(order, pa.int64())), [good[k] for k in order]
