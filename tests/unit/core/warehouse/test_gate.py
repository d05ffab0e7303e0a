"""The fast gate: what it asks, and how it judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Execute

from madhatter_provider.core.contracts.contract import Contract, load_contract, load_contracts, parse_contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.warehouse.gate import GateResult, compile_gate, judge
from madhatter_provider.core.warehouse.sql import create_table

CONTRACTS = Path(__file__).parents[4] / "include/contracts"


def contract_of(properties: list[dict[str, Any]], quality: list[dict[str, Any]], **custom: Any) -> Contract:
    time = {"name": "at", "logicalType": "timestamp", "physicalType": "TIMESTAMP_TZ(6)"}
    return parse_contract(
        {
            "kind": "DataContract",
            "apiVersion": "v3.1.0",
            "id": "t",
            "version": "1",
            "schema": [
                {
                    "name": "things",
                    "physicalName": "THINGS",
                    "properties": [*properties, time],
                    "quality": quality,
                }
            ],
            "customProperties": [
                {"property": k, "value": v} for k, v in {"eventTimeColumn": "at", **custom}.items()
            ],
        }
    )


ORDER: list[dict[str, Any]] = [
    {"name": "order", "logicalType": "string", "physicalType": "VARCHAR", "primaryKey": True},
    {
        "name": "select",
        "logicalType": "string",
        "physicalType": "VARCHAR",
        "quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["it's", "a\\b"]}}],
    },
    {
        "name": "n",
        "logicalType": "number",
        "physicalType": "NUMBER(12,2)",
        "logicalTypeOptions": {"minimum": 0.01, "maximum": 1e7},
    },
]
AT = {"properties": ["at"]}
DUPLICATES: dict[str, Any] = {
    "id": "dup",
    "metric": "duplicateValues",
    "unit": "percent",
    "mustBeLessOrEqualTo": 20,
    "severity": "warning",
}


@pytest.fixture
def things(execute: Execute) -> Contract:
    contract = contract_of(ORDER, [DUPLICATES], maxQuarantinePercent=50)
    execute(f"DROP TABLE IF EXISTS RAW.{contract.table}")
    execute(create_table(contract))
    return contract


def insert(
    execute: Execute,
    offset: int,
    order: str | None,
    select: str,
    n: float,
    partition: int = 0,
    topic: str = "T",
) -> None:
    execute(
        'INSERT INTO RAW.THINGS ("ORDER", "SELECT", N, _TOPIC_ID, _PARTITION, _OFFSET) '
        "SELECT ?, ?, ?, ?, ?, ?",
        [order, select, n, topic, partition, offset],
    )


def measure(
    execute: Execute, contract: Contract, *ranges: tuple[int, int, int], quarantined: int = 0
) -> GateResult:
    return judge(contract, execute(*compile_gate(contract, "T", ranges))[0], quarantined)


class TestMeasuring:
    def test_counts_exactly_the_slice(self, execute: Execute, things: Contract) -> None:
        for offset in range(10):
            insert(execute, offset, f"o{offset}", "it's", 1)
        insert(execute, 3, "other partition", "it's", 1, partition=1)
        insert(execute, 3, "other topic", "it's", 1, topic="U")
        assert measure(execute, things, (0, 2, 5)).row_count == 3
        assert measure(execute, things, (0, 2, 5), (1, 0, 9)).row_count == 4
        assert measure(execute, things, (0, 5, 5)).row_count == 0

    def test_literals_with_quotes_and_backslashes_are_values(
        self, execute: Execute, things: Contract
    ) -> None:
        insert(execute, 0, "a", "it's", 1)
        assert measure(execute, things, (0, 0, 9)).decision == "pass"
        insert(execute, 1, "b", "its", 1)
        result = measure(execute, things, (0, 0, 9))
        assert [(r.id, r.measured, r.severity) for r in result.broken] == [("select.unknown", 1, "critical")]

    def test_bounds_nulls_and_duplicates(self, execute: Execute, things: Contract) -> None:
        for offset, (order, n) in enumerate([("a", 0.01), ("a", 1e7), (None, 0), ("b", 1e7 + 1), ("c", 5)]):
            insert(execute, offset, order, "it's", n)
        result = measure(execute, things, (0, 0, 9))
        assert {r.id: r.measured for r in result.broken} == {"order.nulls": 1, "n.outside": 2}
        assert next(r.measured for r in result.results if r.id == "dup") == 20.0

    def test_every_contract_of_the_platform_compiles_and_runs(self, execute: Execute) -> None:
        for contract in load_contracts(CONTRACTS).values():
            execute(f"DROP TABLE IF EXISTS RAW.{contract.table}")  # other tests may have filled it
            execute(create_table(contract))
            result = measure(execute, contract, (0, 0, 10))
            assert (result.decision, result.row_count) == ("pass", 0)

    def test_a_slice_without_ranges_is_refused(self, things: Contract) -> None:
        with pytest.raises(ConfigurationError, match="without ranges"):
            compile_gate(things, "T", [])

    def test_a_topic_id_is_bound_not_written(self, things: Contract) -> None:
        statement, bindings = compile_gate(things, "x' OR 1=1 --", [(0, 0, 1)])
        assert "OR 1=1" not in statement
        assert bindings == ["x' OR 1=1 --"]


class TestJudging:
    @pytest.mark.parametrize(("quarantined", "decision"), [(0, "pass"), (10, "pass"), (11, "fail")])
    def test_quarantined_share_is_critical(self, quarantined: int, decision: str) -> None:
        contract = contract_of([], [], maxQuarantinePercent=50)
        result = judge(contract, {"ROW_COUNT": 10}, quarantined)
        assert result.decision == decision

    def test_an_empty_slice_passes_and_a_wholly_quarantined_one_fails(self) -> None:
        contract = contract_of([], [], maxQuarantinePercent=50)
        assert judge(contract, {"ROW_COUNT": 0}).decision == "pass"
        assert judge(contract, {"ROW_COUNT": 0}, quarantined=1).decision == "fail"

    @pytest.mark.parametrize(
        ("rule", "count", "decision"),
        [
            ({"metric": "rowCount", "mustBeBetween": [1, 5], "severity": "critical"}, 10, "fail"),
            ({"metric": "rowCount", "mustBeGreaterThan": 9}, 10, "pass"),
            ({"metric": "rowCount", "mustBeGreaterThan": 10}, 10, "warn"),
            ({"metric": "nullValues", "mustBeLessThan": 3, "arguments": AT}, 3, "warn"),
            ({"metric": "nullValues", "mustBeLessThan": 3, "arguments": AT}, 2, "pass"),
            ({"metric": "nullValues", "unit": "percent", "mustBe": 30, "arguments": AT}, 3, "pass"),
            ({"metric": "nullValues", "unit": "percent", "mustBeLessThan": 30, "arguments": AT}, 3, "warn"),
        ],
    )  # fmt: skip
    def test_bounds_are_those_of_the_contract(self, rule: dict[str, Any], count: int, decision: str) -> None:
        result = judge(contract_of([], [rule]), {"ROW_COUNT": 10, "METRIC_0": count})
        assert result.decision == decision

    def test_a_warning_beside_a_failure_is_a_failure_and_the_critical_rule_comes_first(self) -> None:
        rules = [
            {"id": "w", "metric": "rowCount", "mustBe": 1},
            {"id": "c", "metric": "rowCount", "mustBe": 2, "severity": "critical"},
        ]
        result = judge(contract_of([], rules), {"ROW_COUNT": 10, "METRIC_0": 10, "METRIC_1": 10})
        assert result.decision == "fail"
        assert [r.id for r in result.broken] == ["c", "w"]
        assert str(result.broken[0]) == "c: 10 rows, must be = 2"
        assert result.as_dict()["broken"][0] == {
            "id": "c",
            "measured": 10,
            "bound": "= 2",
            "severity": "critical",
        }

    def test_a_rule_without_column_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="names no column"):
            compile_gate(contract_of([], [{"metric": "nullValues", "mustBe": 0}]), "T", [(0, 0, 1)])

    def test_rules_say_what_the_contract_says(self) -> None:
        contract = load_contract(CONTRACTS / "transactions.odcs.yaml")
        statement, _ = compile_gate(contract, "T", [(0, 0, 1)])
        assert 'COUNT_IF("AMOUNT" < 0.01 OR "AMOUNT" > 100000) AS OUTSIDE_AMOUNT' in statement
        assert """COUNT_IF("CURRENCY" NOT IN ('USD', 'EUR', 'GBP')) AS UNKNOWN_CURRENCY""" in statement
        assert 'COUNT_IF("LATITUDE" < -90 OR "LATITUDE" > 90) AS OUTSIDE_LATITUDE' in statement
