"""Contracts of this repository are read as they are; whatever is wrong in one is said, with the place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.contracts.contract import load_contract, load_contracts, parse_contract
from madhatter_provider.core.errors import ContractError

FOLDER = Path(__file__).parents[4] / "include" / "contracts"
PAYMENTS: dict[str, Any] = yaml.safe_load((FOLDER / "transactions.odcs.yaml").read_text())
_DELETE = object()
_ODD: tuple[Any, ...] = (None, "x", 7, -1, True, [], {}, [1], ["x"], {"a": 1}, _DELETE)

Path_ = tuple[str | int, ...]


def _paths(node: Any, above: Path_ = ()) -> list[Path_]:
    found: list[Path_] = [above] if above else []
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        found += _paths(value, (*above, key))
    return found


def _changed(path: Path_, value: Any) -> dict[str, Any]:
    doc = copy.deepcopy(PAYMENTS)
    place: Any = doc
    for key in path[:-1]:
        place = place[key]
    if value is _DELETE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return doc


def test_contracts_of_this_repository() -> None:
    found = load_contracts(FOLDER)
    assert {"clicks", "searches", "transactions", "system_logs", "iot_telemetry"} <= found.keys()
    payments = found["transactions"]
    assert payments.by_name["amount"].decimal is not None
    assert payments.primary_key
    assert payments.metrics


@given(st.sampled_from(_paths(PAYMENTS)), st.sampled_from(_ODD))
def test_whatever_is_wrong_is_a_contract_error_with_its_place(path: Path_, value: Any) -> None:
    said = None
    try:
        parse_contract(_changed(path, value), where="payments.yaml")
    except ContractError as err:
        said = err
    assert said is None or ("payments.yaml" in said.where and said.remedy)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("apiVersion",), "v2.0", "not ODCS 3.x"),
        (("schema",), [], "schema has 0 objects"),
        (("schema", 0, "name"), "drop table", "not a plain name"),
        (("schema", 0, "properties", 0, "logicalType"), "text", "logicalType 'text' is unknown"),
        (("schema", 0, "properties", 0, "logicalTypeOptions"), {"minimum": "0"}, "'0' is not a number"),
        (("schema", 0, "properties", 0, "logicalTypeOptions"), {"pattern": "("}, "pattern '('"),
        (("schema", 0, "properties"), {"a": 1}, "not a list of objects"),
        (("customProperties",), [{"property": "partitions", "value": "many"}], "'many' is not a number"),
        (("slaProperties",), [{"property": "freshness", "value": "soon"}], "'soon' is not a number"),
        (("slaProperties",), [{"property": "latency", "value": 0}], "0 is no time to keep"),
        (
            ("slaProperties",),
            [{"property": "freshness", "value": 1, "unit": "m"}],
            "'m' is none of its choices",
        ),
    ],
)
def test_messages(path: Path_, value: Any, says: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse_contract(_changed(path, value), where="payments.yaml")
    assert says in caught.value.what


@pytest.mark.parametrize(
    ("levels", "seconds"),
    [
        ([{"property": "freshness", "value": 90}], 90),
        ([{"property": "freshness", "value": 2, "unit": "h"}, {"property": "latency", "value": 5}], 7200),
        ([{"property": "latency", "value": 1.5, "unit": "min"}, {"property": "retention", "value": 7}], 90),
        ([{"property": "freshness", "value": 1, "unit": "day"}], 86_400),
        ([{"property": "retention", "value": 7, "unit": "d"}], None),
    ],
)
def test_service_levels_are_read_in_their_unit(levels: list[dict[str, Any]], seconds: float | None) -> None:
    assert parse_contract(_changed(("slaProperties",), levels)).freshness_seconds == seconds


def test_broken_files(tmp_path: Path) -> None:
    file = tmp_path / "clicks.odcs.yaml"
    with pytest.raises(ContractError, match="Cannot read the contract"):
        load_contract(file)
    for content in (b"kind: [", b"\xff\xfe\x00"):
        file.write_bytes(content)
        with pytest.raises(ContractError, match="Not valid YAML") as caught:
            load_contract(file)
        assert str(file) in caught.value.where
    with pytest.raises(ContractError, match="No contract found"):
        load_contracts(tmp_path / "nothing")


def test_file_and_stream_have_one_name(tmp_path: Path) -> None:
    (tmp_path / "payments.odcs.yaml").write_text((FOLDER / "transactions.odcs.yaml").read_text())
    with pytest.raises(ContractError, match="the file is not") as caught:
        load_contracts(tmp_path)
    assert "transactions.odcs.yaml" in caught.value.remedy
