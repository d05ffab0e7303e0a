"""Files of landed rows: Parquet and NDJSON. The same rows in the same order give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.landing.batch import ROW_GROUP

if TYPE_CHECKING:
    import pyarrow as pa

# What a file's name ends with, by compression. Parquet compresses inside the file.
_SUFFIXES: Final = {
    "parquet": dict.fromkeys(("zstd", "snappy", "gzip", "none"), ".parquet"),
    "ndjson": {"zstd": ".ndjson.zst", "gzip": ".ndjson.gz", "none": ".ndjson"},
}
TOMBSTONES: Final = ("quarantine", "keep")


def _one_of(what: str, given: Any, allowed: Any) -> None:
    if given not in allowed:
        raise ConfigurationError(f"{what}={given!r}", remedy=f"Use one of {', '.join(allowed)}.")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How rows are written.

    :param file_format: ``parquet`` or ``ndjson``.
    :param compression: ``zstd``, ``gzip``, ``none``; for Parquet ``snappy`` too.
    :param validate: decode by the contract and apply its row rules. Without it (NDJSON only) each line holds
        the message as it came, and only what is not JSON is quarantined.
    :param tombstones: what becomes of messages without a value: ``quarantine``, or ``keep`` as rows that have
        coordinates and key only.
    :raises ConfigurationError: an unknown option, or a combination that cannot be.
    """

    file_format: str = "parquet"
    compression: str = "zstd"
    validate: bool = True
    tombstones: str = "quarantine"

    def __post_init__(self) -> None:
        _one_of("file_format", self.file_format, _SUFFIXES)
        _one_of(f"compression of {self.file_format}", self.compression, _SUFFIXES[self.file_format])
        _one_of("tombstones", self.tombstones, TOMBSTONES)
        if not self.validate and self.file_format != "ndjson":
            raise ConfigurationError(
                f"validate=False with file_format={self.file_format!r}",
                remedy="Take file_format='ndjson' to land messages as they are; columns need a contract.",
            )

    @property
    def suffix(self) -> str:
        """What the names of landing files end with."""
        return _SUFFIXES[self.file_format][self.compression]


PARQUET: Final = FileOptions()
"""The usual. Quarantine files are always so: they hold bytes that need not be text."""


class RowFile(Protocol):
    """A file that is being written."""

    def append(self, rows: pa.Table | pa.Array) -> None:
        """Write a row group: a table, or lines of text."""

    def close(self) -> None:
        """Complete the file."""


def open_file(options: FileOptions, path: str, schema: pa.Schema | None) -> RowFile:
    """A new file for rows of this schema; ``None`` stands for lines of text."""
    if options.file_format == "parquet":
        return _ParquetFile(options.compression, path, schema)
    return _NdjsonFile(options.compression, path)


class _ParquetFile:
    def __init__(self, compression: str, path: str, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(path, schema, compression=compression)

    def append(self, rows: pa.Table) -> None:
        self._writer.write_table(rows, row_group_size=ROW_GROUP)

    def close(self) -> None:
        self._writer.close()


class _NdjsonFile:
    def __init__(self, compression: str, path: str) -> None:
        import pyarrow as pa

        self._file = pa.OSFile(path, "wb")
        packed = compression != "none"
        self._out = pa.CompressedOutputStream(self._file, compression) if packed else self._file

    def append(self, rows: pa.Table | pa.Array) -> None:
        self._out.write(_lines(rows) if hasattr(rows, "schema") else _content(rows))

    def close(self) -> None:
        self._out.close()
        self._file.close()


def _content(lines: pa.Array) -> Any:
    """The bytes of a string array, one string after the other: no copy."""
    _, offsets, data = lines.buffers()
    first, last = (memoryview(offsets).cast("i")[lines.offset + i] for i in (0, len(lines)))
    return data.slice(first, last - first)


def _lines(table: pa.Table) -> bytes:
    """A JSON object per row. Exact decimals stay exact numbers, times are ISO-8601 in UTC, bytes base64."""
    import msgspec

    columns = [_plain(column).to_pylist() for column in table.columns]
    rows = [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
    return msgspec.json.Encoder(decimal_format="number").encode_lines(rows)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column, but times as text: thousands of datetime objects cost more than all the rest."""
    import pyarrow as pa

    return iso_times(column) if pa.types.is_timestamp(column.type) else column


def iso_times(times: Any) -> Any:
    """``2026-11-24T06:00:00.123456Z`` of a column of times in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = times.cast(pa.timestamp(times.type.unit)).cast(pa.string())
    return pc.binary_join_element_wise(pc.utf8_replace_slice(text, 10, 11, "T"), "Z", "")
