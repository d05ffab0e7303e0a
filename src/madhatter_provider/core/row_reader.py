"""Read one message into a typed row, or say why it breaks the contract.

For streams that are handled row by row.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from madhatter_provider.core.contract import Column, Contract

_TYPES: dict[str, Any] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "date": datetime.date,
    "object": dict, "array": list,
}  # fmt: skip


class RowReader:
    """Decodes and checks messages of several streams in one pass each.

    Rows come as objects with one attribute per column of the contract: text, int, float, bool, aware
    datetime, date or None.
    """

    def __init__(self, contracts: Mapping[str, Contract]) -> None:
        self._decoders = {
            stream: msgspec.json.Decoder(_row_type(contract)) for stream, contract in contracts.items()
        }

    def read(self, stream: str, value: bytes) -> Any:
        """The row.

        :raises ValueError: it breaks the contract; the text names the column.
        :raises KeyError: the stream is none of those given.
        """
        try:
            return self._decoders[stream].decode(value)
        except msgspec.DecodeError as err:
            raise ValueError(str(err)) from err


def _row_type(contract: Contract) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for column in contract.columns:
        kind = _column_type(column)
        fields.append((column.name, kind) if column.required else (column.name, kind | None, None))
    return msgspec.defstruct(f"Row_{contract.stream}", fields, kw_only=True, frozen=True, gc=False)


def _column_type(column: Column) -> Any:
    if column.values:
        return Literal[column.values]
    if column.logical_type == "timestamp":
        return Annotated[datetime.datetime, msgspec.Meta(tz=True)]
    limits: dict[str, Any] = {
        "ge": column.minimum,
        "le": column.maximum,
        "min_length": column.min_length,
        "max_length": column.max_length,
        "pattern": column.pattern,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    kind = _TYPES[column.logical_type]
    return Annotated[kind, msgspec.Meta(**given)] if given else kind
