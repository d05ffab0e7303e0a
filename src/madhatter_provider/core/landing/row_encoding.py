"""From messages to what is written: typed rows that keep their contract, or JSON lines as they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from madhatter_provider.core.decoding.decoders import Decoder, open_decoder
from madhatter_provider.core.decoding.json_messages import BadRow
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.columns import coordinates
from madhatter_provider.core.landing.files import iso_times

if TYPE_CHECKING:
    import pyarrow as pa

    from madhatter_provider.core.landing.writing import Writing

_NO_VALUE = BadRow(0, "empty", "has no value (a tombstone)")


@dataclass(frozen=True, slots=True)
class Encoded:
    """``rows`` are the good ones, a table or lines of text; ``bad`` go to quarantine; ``times`` are the first
    and the last event time of the good rows.
    """

    rows: pa.Table | pa.Array
    bad: Sequence[BadRow]
    times: tuple[datetime, datetime] | None = None


class RowEncoder(Protocol):
    """Encodes row groups of one stream."""

    def encode(self, batch: Batch) -> Encoded:
        """Encode a row group; what becomes of a message never depends on its neighbours."""


def row_encoder(writing: Writing) -> RowEncoder:
    """The encoder that the options ask for."""
    keep = writing.options.tombstones == "keep"
    if not writing.options.validate:
        return _RawLines(writing.owned.topic_id, keep)
    decoder = open_decoder(writing.contract, writing.schemas)
    return _TypedRows(decoder, writing.contract.event_time, writing.owned.topic_id, keep)


@dataclass(frozen=True, slots=True)
class _TypedRows:
    decoder: Decoder
    event_time: str
    topic_id: str
    keep_tombstones: bool

    def encode(self, batch: Batch) -> Encoded:
        if self.keep_tombstones and None in batch.values:
            table, good, bad = self._around_tombstones(batch.values)
        else:
            decoded = self.decoder.decode(batch.values)
            table, good, bad = decoded.table, decoded.good, decoded.bad
        for name, column in coordinates(self.topic_id, batch.pick(good)).items():
            table = table.append_column(name, column)
        return Encoded(table, bad, _first_and_last(table.column(self.event_time)))

    def _around_tombstones(
        self, values: Sequence[bytes | None]
    ) -> tuple[pa.Table, Sequence[int], Sequence[BadRow]]:
        """Decode the values that there are; a tombstone becomes a row of nulls."""
        import pyarrow as pa

        alive = [i for i, value in enumerate(values) if value is not None]
        decoded = self.decoder.decode([values[i] for i in alive])
        bad = [BadRow(alive[b.index], b.rule, b.reason, b.column) for b in decoded.bad]
        kept = [alive[i] for i in decoded.good]
        dead = [i for i, value in enumerate(values) if value is None]
        nulls = pa.table([pa.nulls(len(dead), f.type) for f in decoded.table.schema], decoded.table.schema)
        rows = [*kept, *dead]
        order = sorted(range(len(rows)), key=rows.__getitem__)
        table = pa.concat_tables([decoded.table, nulls]).take(pa.array(order, pa.int64()))
        return table, [rows[i] for i in order], bad


@dataclass(frozen=True, slots=True)
class _RawLines:
    """Lines of coordinates, key, headers and ``"value": …`` as it came. A tombstone's line has no ``value``:
    that tells it from a JSON ``null``.
    """

    topic_id: str
    keep_tombstones: bool

    def encode(self, batch: Batch) -> Encoded:
        import pyarrow as pa
        import pyarrow.compute as pc

        good, bad, one_line_each = self._judge(batch.values)
        kept = batch.pick(good)
        values = pa.array(kept.values, pa.binary()).cast(pa.string())
        if not one_line_each:
            # Outside of strings, where alone JSON allows them, line breaks mean nothing.
            values = pc.replace_substring_regex(values, "[\r\n]+", " ")
        member = pc.coalesce(pc.binary_join_element_wise(',"value":', values, ""), "")
        return Encoded(_join(self.topic_id, kept, member), bad)

    def _judge(self, values: Sequence[bytes | None]) -> tuple[Sequence[int], list[BadRow], bool]:
        """Places of the good values, the bad ones, and whether no value is known to hold a line break."""
        import msgspec

        decode = msgspec.json.Decoder(msgspec.Raw).decode
        try:  # nearly always all are good
            for _ in map(decode, values):  # type: ignore[arg-type]
                pass
            joined = b"".join(values)  # type: ignore[arg-type]
            if not joined.isascii():
                joined.decode()
            return range(len(values)), [], b"\n" not in joined and b"\r" not in joined
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
            faults = [self._fault(value, decode) for value in values]
        good = [i for i, fault in enumerate(faults) if fault is None]
        bad = [BadRow(i, f.rule, f.reason) for i, f in enumerate(faults) if f is not None]
        return good, bad, False

    def _fault(self, value: bytes | None, decode: Any) -> BadRow | None:
        import msgspec

        if value is None:
            return None if self.keep_tombstones else _NO_VALUE
        if not value.strip():
            return BadRow(0, "empty", "is empty")
        try:
            decode(value)
            value.decode()
        except UnicodeDecodeError:
            return BadRow(0, "malformed_json", "is not UTF-8")
        except msgspec.DecodeError as err:
            return BadRow(0, "malformed_json", str(err))
        return None


def _join(topic_id: str, batch: Batch, member: pa.Array) -> pa.Array:
    """The lines, put together column by column in Arrow."""
    import msgspec
    import pyarrow as pa
    import pyarrow.compute as pc

    known = coordinates(topic_id, batch)
    start = msgspec.json.encode({"_topic_id": topic_id, "_partition": batch.partition}).decode()[:-1]
    times = iso_times(known["_timestamp"])
    return pc.binary_join_element_wise(
        start + ',"_offset":',
        known["_offset"].cast(pa.string()),
        ',"_timestamp":',
        pc.coalesce(pc.binary_join_element_wise('"', times, '"', ""), "null"),
        ',"_key":',
        _json_strings(known["_key"]),
        ',"_headers":',
        pc.coalesce(known["_headers"], "null"),
        member,
        "}\n",
        "",
    )


def _json_strings(text: pa.Array) -> pa.Array:
    import msgspec
    import pyarrow as pa
    import pyarrow.compute as pc

    if text.null_count == len(text):
        return pa.repeat("null", len(text))
    if pc.any(pc.match_substring_regex(text, r'[\x00-\x1f"\\]')).as_py():
        return pa.array([msgspec.json.encode(t).decode() for t in text.to_pylist()], pa.string())
    return pc.coalesce(pc.binary_join_element_wise('"', text, '"', ""), "null")


def _first_and_last(event_times: pa.ChunkedArray) -> tuple[datetime, datetime] | None:
    import pyarrow.compute as pc

    found = pc.min_max(event_times).as_py()
    return None if found["min"] is None else (found["min"], found["max"])
