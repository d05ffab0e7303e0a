"""Decode a batch of JSON messages into typed Arrow columns, and single out the rows that are not what the
contract says.

The whole batch is parsed at once by Arrow. Only when that fails are suspects sought, by a typed msgspec
decoder that names the place of the fault. Where both refuse for certain, that is the end of it; else Arrow
judges the suspect on its own. So what becomes of a message never depends on its neighbours in the batch:
Arrow alone decides, msgspec only finds and explains.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from madhatter_provider.core.contracts.columns import Column
from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.decoded import (
    EMPTY,
    TOMBSTONE,
    BadRow,
    Decoded,
    Fault,
    RowJudge,
    in_order,
)
from madhatter_provider.core.decoding.exact_numbers import fits
from madhatter_provider.core.decoding.nested import NestedColumns
from madhatter_provider.core.decoding.text_times import parse_times

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BadRow", "Decoded", "JsonDecoder"]
CHUNK_BYTES: Final = 32 << 20
"""Bytes of messages that are parsed at once: a batch of large messages is taken in pieces."""
_TWICE = re.compile(r"Column\(/(\w+)\) was specified twice")
_IN_ROW = re.compile(r" in row \d+$")
_NOT_FINITE = re.compile(rb"NaN|Inf")

_Part = tuple["pa.Table", list[int]]


class JsonDecoder:
    """Decoder of one contract's messages: one JSON object each, UTF-8."""

    def __init__(self, contract: Contract) -> None:
        import msgspec
        import pyarrow as pa

        self._judge = RowJudge(contract)
        self.schema: pa.Schema = self._judge.schema
        columns = contract.columns
        self._columns = contract.by_name
        self._decimals = [c for c in columns if c.decimal is not None]
        self._timed = [c for c in columns if c.logical_type in ("timestamp", "date")]
        self._nested = [c for c in columns if c.nested]
        self._splitter = NestedColumns(self._nested)
        fields: list[Any] = [(c.name, _hint(c) | None, None) for c in columns if not c.nested]
        self._typed = msgspec.json.Decoder(msgspec.defstruct("Row", fields))
        self._flat = pa.schema([(c.name, _json_type(c, self.schema)) for c in columns if not c.nested])
        # An object without fields: Arrow looks whether it is one and whether it is there once, no more.
        objects = [(c.name, pa.struct([])) for c in self._nested if c.logical_type == "object"]
        self._read_as = pa.schema([*self._flat, *objects])

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch.

        :param values: message values; ``None`` is a tombstone.
        """
        bad: list[BadRow] = []
        table = self._at_once(values)
        good = list(range(len(values)))
        if table is None:
            values = [None if v is None else v.strip() for v in values]
            table, good = in_order(self._flat, self._parts(values, bad))
        faults: dict[int, Fault] = {}
        for c in self._timed:
            place = table.schema.get_field_index(c.name)
            times, wrong = parse_times(table.column(place), c)
            table, faults = table.set_column(place, c.name, times), {**wrong, **faults}
        if self._nested:
            table, wrong = self._with_nested(table, [values[i] or b"" for i in good])
            faults = {**wrong, **faults}
        return self._judge.judge(table, good, bad, faults)

    def _at_once(self, values: Sequence[bytes | None]) -> pa.Table | None:
        """The table of a batch in which every value is an object on one line, and none is at fault."""
        if not values or None in values or sum(map(len, values)) > CHUNK_BYTES:  # type: ignore[arg-type]
            return None
        joined, breaks = b"\n".join(values), len(values) - 1  # type: ignore[arg-type]
        if joined.count(b"\n") != breaks or joined.count(b"}\n{") != breaks:
            return None
        return self._read(joined, len(values)) if joined[:1] == b"{" and joined[-1:] == b"}" else None

    def _parts(self, values: Sequence[bytes | None], bad: list[BadRow]) -> Iterator[_Part]:
        """Tables of the good rows, with their places; the others are added to ``bad``."""
        shaped: list[int] = []
        for i, value in enumerate(values):
            if value is not None and value[:1] == b"{" and value[-1:] == b"}":
                shaped.append(i)
            else:
                bad.append(BadRow(i, *_misshapen(value)))
        for rows in _chunks(values, shaped):
            yield from self._parse(values, rows, bad)

    def _with_nested(self, table: pa.Table, values: list[bytes]) -> tuple[pa.Table, dict[int, Fault]]:
        import pyarrow as pa

        texts, faults = self._splitter.split(values)
        for name, column in texts.items():
            table = table.append_column(name, pa.array(column, pa.string()))
        return table.select(self.schema.names), faults

    def _parse(self, values: Sequence[bytes | None], rows: list[int], bad: list[BadRow]) -> list[_Part]:
        table = self._try([values[i] for i in rows])
        if table is not None:
            return [(table, rows)]
        rest, parts = [], []
        for i in rows:
            fault = self._fault(values[i] or b"")
            if fault is None:
                rest.append(i)
            elif _certain(fault, values[i] or b""):
                bad.append(BadRow(i, *fault))
            elif (alone := self._try([values[i]])) is not None:
                parts.append((alone, [i]))
            else:
                bad.append(BadRow(i, *fault))
        return parts + self._bisect(values, rest, bad)

    def _bisect(self, values: Sequence[bytes | None], rows: list[int], bad: list[BadRow]) -> list[_Part]:
        """Parse rows that show no fault to msgspec; halve on failure until the rows that Arrow refuses stand
        alone.
        """
        if not rows:
            return []
        table = self._try([values[i] for i in rows])
        if table is not None:
            return [(table, rows)]
        if len(rows) == 1:
            bad.append(BadRow(rows[0], *self._arrow_fault(values[rows[0]] or b"")))
            return []
        middle = len(rows) // 2
        return self._bisect(values, rows[:middle], bad) + self._bisect(values, rows[middle:], bad)

    def _try(self, values: list[Any]) -> pa.Table | None:
        return self._read(b"\n".join(values), len(values)) if values else self._flat.empty_table()

    def _read(self, joined: bytes, rows: int) -> pa.Table | None:
        """One table with one row per value, or ``None``.

        Every value starts with ``{`` and ends with ``}``, so each holds at least one row or is an error:
        equal counts mean that row *i* is value *i*, even should a value hold a line break or two objects.
        """
        import pyarrow as pa

        try:
            joined.decode("utf-8")  # Arrow does not check, Snowflake would refuse the file
            table = self._read_json(joined)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        return table if table.num_rows == rows else None

    def _read_json(self, joined: bytes) -> pa.Table:
        import pyarrow.json as pj

        parse = pj.ParseOptions(explicit_schema=self._read_as, unexpected_field_behavior="ignore")
        read = pj.ReadOptions(use_threads=False, block_size=max(1 << 20, len(joined) + 1))
        table = pj.read_json(io.BytesIO(joined), parse_options=parse, read_options=read)
        return table.select(self._flat.names)

    def _fault(self, value: bytes) -> Fault | None:
        """What msgspec finds, if it finds something."""
        import msgspec

        try:
            row = self._typed.decode(value)
        except msgspec.ValidationError as err:
            message = str(err)
            column = (
                message.rpartition("`$.")[2].partition("`")[0].partition("[")[0] if "`$." in message else ""
            )
            return Fault("wrong_type", message, column if column in self._columns else None)
        except UnicodeDecodeError:
            return Fault("malformed_json", "is not UTF-8")
        except RecursionError:
            return None  # Arrow has no limit of depth
        except msgspec.DecodeError as err:
            return Fault("malformed_json", str(err))
        for c in self._decimals:
            number = getattr(row, c.name)
            if number is not None and not fits(number, c):
                return Fault("wrong_type", f"{c.name}: {number} does not fit into {c.physical_type}", c.name)
        return None

    def _arrow_fault(self, value: bytes) -> Fault:
        """What Arrow finds in a value that it refuses."""
        import pyarrow as pa

        try:
            rows = self._read_json(value).num_rows
        except pa.ArrowInvalid as err:
            reason = _IN_ROW.sub("", str(err).partition("\n")[0])[:200]
        else:
            return Fault("malformed_json", f"holds {rows} JSON objects, not one")
        if twice := _TWICE.search(reason):
            return Fault("duplicate_key", f"{twice[1]}: is there twice", twice[1])
        malformed = "parse error" in reason and "changed from" not in reason
        return Fault("malformed_json" if malformed else "wrong_type", reason)


def _chunks(values: Sequence[bytes | None], rows: list[int]) -> Iterator[list[int]]:
    """Rows, in pieces of about :data:`CHUNK_BYTES`."""
    size, start = 0, 0
    for end, i in enumerate(rows):
        size += len(values[i] or b"")
        if size > CHUNK_BYTES:
            yield rows[start : end + 1]
            size, start = 0, end + 1
    yield rows[start:]


def _certain(fault: Fault, value: bytes) -> bool:
    """Whether Arrow refuses for sure what msgspec refuses: it takes NaN, infinities and what overflows to
    them for numbers.
    """
    if fault.rule == "wrong_type":
        return not fault.reason.startswith("Number out of range")
    return not _NOT_FINITE.search(value)


def _misshapen(value: bytes | None) -> Fault:
    if value is None:
        return TOMBSTONE
    return Fault("malformed_json", "does not start with { and end with }") if value else EMPTY


def _json_type(column: Column, schema: pa.Schema) -> pa.DataType:
    """Times are read as text: Arrow's JSON reader takes one without a zone for UTC, a number for a date."""
    import pyarrow as pa

    timed = column.logical_type in ("timestamp", "date")
    return pa.string() if timed else schema.field(column.name).type


def _hint(column: Column) -> Any:
    import decimal
    from typing import Annotated

    import msgspec

    if column.decimal is not None:
        return decimal.Decimal
    types: dict[str, Any] = {
        "integer": Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
        "number": float,
        "boolean": bool,
    }
    return types.get(column.logical_type, str)
