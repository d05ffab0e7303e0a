"""Read one message into a typed row, or say why it breaks the contract.

For streams that are handled row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.nested import row_type


class RowReader:
    """Decodes and checks messages of several streams in one pass each.

    Rows come as objects with one attribute per column of the contract: text, int, float, bool, datetime, date
    or None; an object whose properties the contract names is such a row itself.
    """

    def __init__(self, contracts: Mapping[str, Contract]) -> None:
        self._decoders = {
            stream: msgspec.json.Decoder(row_type(contract.stream, contract.columns))
            for stream, contract in contracts.items()
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
