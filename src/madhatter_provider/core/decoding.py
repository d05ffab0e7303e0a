"""Decode a batch of JSON messages into typed Arrow columns, and single out the rows that are not what the
contract says.

The whole batch is parsed at once by Arrow. Only when that fails are suspects sought, by a typed msgspec
decoder that names the place of the fault; each suspect is then judged by Arrow on its own. So what becomes of
a message never depends on its neighbours in the batch: Arrow alone decides, msgspec only finds and explains.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from madhatter_provider.core.contract import Column, Contract
from madhatter_provider.core.row_rules import arrow_schema, compile_rules, first_broken

if TYPE_CHECKING:
    import pyarrow as pa


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


class JsonDecoder:
    """Decoder of one contract's messages: one JSON object each, UTF-8."""

    def __init__(self, contract: Contract) -> None:
        import msgspec

        self.schema = arrow_schema(contract)
        self._rules = compile_rules(contract)
        fields = [(c.name, _hint(c) | None, None) for c in contract.columns]
        self._typed = msgspec.json.Decoder(msgspec.defstruct("Row", fields))
        self._columns = set(self.schema.names)

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch.

        :param values: message values; ``None`` is a tombstone.
        """
        table, good, bad = self._parse([None if v is None else v.strip() for v in values])
        broken = first_broken(table, self._rules)
        if broken:
            import pyarrow as pa

            bad += [BadRow(good[row], r.rule, r.reason, r.column) for row, r in broken.items()]
            keep = [row for row in range(len(good)) if row not in broken]
            table, good = table.take(pa.array(keep, pa.int64())), [good[row] for row in keep]
        return Decoded(table, good, sorted(bad, key=lambda b: b.index))

    def _parse(self, values: Sequence[bytes | None]) -> tuple[pa.Table, list[int], list[BadRow]]:
        import pyarrow as pa

        shaped, bad = [], []
        for i, value in enumerate(values):
            if value is not None and value[:1] == b"{" and value[-1:] == b"}":
                shaped.append(i)
            else:
                bad.append(_misshapen(i, value))
        table = self._try([values[i] for i in shaped])
        if table is not None:
            return table, shaped, bad
        suspects = {i: fault for i in shaped if (fault := self._fault(values[i])) is not None}
        rest = [i for i in shaped if i not in suspects]
        tables, good = self._bisect(values, rest, bad)
        for i, fault in suspects.items():
            alone = self._try([values[i]])
            if alone is None:
                bad.append(BadRow(i, *fault))
            else:
                tables.append(alone)
                good.append(i)
        order = sorted(range(len(good)), key=good.__getitem__)
        merged = pa.concat_tables(tables) if tables else self.schema.empty_table()
        return merged.take(pa.array(order, pa.int64())), [good[k] for k in order], bad

    def _bisect(
        self, values: Sequence[bytes | None], rows: list[int], bad: list[BadRow]
    ) -> tuple[list[pa.Table], list[int]]:
        """Parse rows that show no fault to msgspec; halve on failure until the rows that Arrow refuses stand
        alone.
        """
        if not rows:
            return [], []
        table = self._try([values[i] for i in rows])
        if table is not None:
            return [table], list(rows)
        if len(rows) == 1:
            bad.append(BadRow(rows[0], "wrong_type", self._arrow_reason(values[rows[0]])))
            return [], []
        middle = len(rows) // 2
        left, good_left = self._bisect(values, rows[:middle], bad)
        right, good_right = self._bisect(values, rows[middle:], bad)
        return left + right, good_left + good_right

    def _try(self, values: list[Any]) -> pa.Table | None:
        """One table with one row per value, or ``None``.

        Every value starts with ``{`` and ends with ``}``, so each holds at least one row or is an error:
        equal counts mean that row *i* is value *i*, even should a value hold a line break or two objects.
        """
        import pyarrow as pa

        if not values:
            return self.schema.empty_table()
        joined = b"\n".join(values)
        try:
            joined.decode("utf-8")  # Arrow does not check, Snowflake would refuse the file
            table = self._read(joined)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        return table if table.num_rows == len(values) else None

    def _read(self, joined: bytes) -> pa.Table:
        import pyarrow.json as pj

        parse = pj.ParseOptions(explicit_schema=self.schema, unexpected_field_behavior="ignore")
        read = pj.ReadOptions(use_threads=False, block_size=max(1 << 20, len(joined) + 1))
        return pj.read_json(io.BytesIO(joined), parse_options=parse, read_options=read).select(
            self.schema.names
        )

    def _fault(self, value: bytes | None) -> tuple[str, str, str | None] | None:
        """(rule, reason, column) if msgspec finds a fault."""
        import msgspec

        try:
            self._typed.decode(value or b"")
        except msgspec.ValidationError as err:
            message = str(err)
            column = (
                message.rpartition("`$.")[2].partition("`")[0].partition("[")[0] if "`$." in message else ""
            )
            return ("wrong_type", message, column if column in self._columns else None)
        except UnicodeDecodeError:
            return ("malformed_json", "is not UTF-8", None)
        except msgspec.DecodeError as err:
            return ("malformed_json", str(err), None)
        return None

    def _arrow_reason(self, value: bytes | None) -> str:
        import pyarrow as pa

        try:
            rows = self._read(value or b"").num_rows
        except pa.ArrowInvalid as err:
            return str(err).partition("\n")[0][:200]
        return f"holds {rows} JSON objects, not one"


def _misshapen(index: int, value: bytes | None) -> BadRow:
    if value is None:
        return BadRow(index, "empty", "has no value (a tombstone)")
    if not value:
        return BadRow(index, "empty", "is empty")
    return BadRow(index, "malformed_json", "does not start with { and end with }")


def _hint(column: Column) -> Any:
    import datetime
    import decimal

    types: dict[str, Any] = {
        "string": str,
        "integer": int,
        "number": float,
        "boolean": bool,
        "timestamp": datetime.datetime,
        "date": datetime.date,
    }
    return decimal.Decimal if column.decimal is not None else types[column.logical_type]
