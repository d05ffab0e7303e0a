"""Row by row reading agrees with the landing's decoder about what is good and what is bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.decoding.json_messages import JsonDecoder
from madhatter_provider.core.decoding.row_reader import RowReader
from madhatter_provider.local.traffic import generate

CONTRACTS = load_contracts(Path(__file__).parents[4] / "include/contracts")


def test_both_readers_refuse_the_same_rows_of_real_traffic() -> None:
    reader = RowReader(CONTRACTS)
    refused = 0
    for stream in ("clicks", "transactions", "system_logs", "searches", "iot_telemetry"):
        values = [m.value for m in generate(12, 300, 40) if m.stream == stream]
        bad = {b.index for b in JsonDecoder(CONTRACTS[stream]).decode(values).bad}
        for index, value in enumerate(values):
            try:
                reader.read(stream, value)
            except ValueError:
                assert index in bad, value
                refused += 1
            else:
                assert index not in bad, value
    assert refused > 50


def test_the_error_names_the_column() -> None:
    value = next(m.value for m in generate(12, 300, 5) if m.stream == "clicks" and m.defect is None)
    with pytest.raises(ValueError, match="page_type"):
        RowReader(CONTRACTS).read("clicks", value.replace(b'"page_type"', b'"page_kind"'))


def test_unknown_streams_are_a_key_error() -> None:
    with pytest.raises(KeyError):
        RowReader(CONTRACTS).read("nonsense", b"{}")
