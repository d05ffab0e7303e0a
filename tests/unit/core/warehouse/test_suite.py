"""The deep gate's suites and its SQL, without Great Expectations."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.core.conftest import Execute

from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.sql import PACKAGED, create_table, split_statements
from madhatter_provider.core.warehouse.suite import (
    Expectation,
    Outcome,
    StreamRound,
    compile_suite,
    record_results,
    recorded_decisions,
    rows_query,
)

INCLUDE = Path(__file__).parents[4] / "include"
CONTRACTS = load_contracts(INCLUDE / "contracts")


@pytest.fixture(scope="module")
def searches() -> Contract:
    return CONTRACTS["searches"]


def loaded(start: int, end: int, partition: int = 0, topic_id: str = "T") -> LedgerRow:
    return LedgerRow(
        stream="searches",
        topic_id=topic_id,
        partition_id=partition,
        start_offset=start,
        end_offset=end,
        state="loaded",
    )


class TestSuite:
    @pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
    def test_every_rule_of_the_contract_is_in_it_once(self, contract: Contract) -> None:
        suite = compile_suite(contract)
        ids = [e.id for e in suite]
        assert len(set(ids)) == len(ids)
        rules = sum(
            c.required + bool(c.values) + (c.minimum is not None or c.maximum is not None)
            + (c.min_length is not None or c.max_length is not None) + (c.pattern is not None)
            for c in contract.columns
        )  # fmt: skip
        assert len(suite) == rules + len(contract.metrics) + 1

    def test_arguments_are_the_contracts(self, searches: Contract) -> None:
        by_id = {e.id: e for e in compile_suite(searches)}
        assert by_id["country.pattern"].arguments == {"column": "country", "regex": "^[A-Z]{2}$"}
        assert by_id["event_id_unique"].arguments == {
            "column": "event_id",
            "min_value": 0.98,
            "max_value": 1.0,
        }
        assert (by_id["event_id_unique"].critical, by_id["event_id.nulls"].critical) == (False, True)
        assert by_id["loaded_once"].columns == "topic_id,partition_id,kafka_offset"


class TestQuery:
    def test_exactly_the_ranges_and_neighbours_are_taken_together(
        self, execute: Execute, searches: Contract
    ) -> None:
        execute(f"DROP TABLE IF EXISTS RAW.{searches.table}")
        execute(create_table(searches))
        for topic in ("T", "it's"):
            execute(
                "INSERT INTO RAW.SEARCHES (_TOPIC_ID, _PARTITION, _OFFSET) "
                "SELECT ?, p.VALUE, o.VALUE FROM TABLE(FLATTEN(INPUT => PARSE_JSON('[0, 1]'))) p, "
                "TABLE(FLATTEN(INPUT => PARSE_JSON('[0, 1, 2, 3, 4, 5, 6, 7]'))) o", [topic]
            )  # fmt: skip
        query = rows_query(searches, [loaded(0, 2), loaded(2, 4), loaded(6, 7, 1), loaded(0, 1, 1, "it's")])
        found = execute(f"SELECT TOPIC_ID, PARTITION_ID, KAFKA_OFFSET FROM ({query}) ORDER BY 1, 2, 3")
        assert [tuple(r.values()) for r in found] == [
            ("T", 0, 0), ("T", 0, 1), ("T", 0, 2), ("T", 0, 3), ("T", 1, 6), ("it's", 1, 0),
        ]  # fmt: skip
        assert query.count("_PARTITION =") == 3


class TestResults:
    @pytest.fixture(autouse=True)
    def _table(self, execute: Execute) -> None:
        execute("DROP TABLE IF EXISTS OPS.QUALITY_RESULTS")
        text = (PACKAGED / "60_quality/01_results.sql").read_text()
        execute(split_statements(text)[0])

    def record(self, execute: Execute, contract: Contract, *outcomes: tuple[str, bool, bool]) -> StreamRound:
        made = tuple(
            Outcome(
                Expectation(i, "expect_x", {"column": i}, critical),
                passed,
                observed="it's",
                checked=10,
                unexpected=1,
            )
            for i, critical, passed in outcomes
        )
        done = StreamRound(contract, (loaded(0, 5),), made, report="file:///r.html")
        execute(*record_results(done, "quality", "run 1"))
        return done

    @pytest.mark.parametrize(
        ("outcomes", "decision", "broken"),
        [
            ([("a", True, True), ("b", False, True)], "pass", ""),
            ([("a", True, True), ("b", False, False)], "warn", "b"),
            ([("b", False, False), ("a", True, False)], "fail", None),
        ],
    )
    def test_decisions_here_and_in_snowflake_agree(
        self,
        execute: Execute,
        searches: Contract,
        outcomes: list[tuple[str, bool, bool]],
        decision: str,
        broken: str | None,
    ) -> None:
        done = self.record(execute, searches, *outcomes)
        (found,) = execute(*recorded_decisions("run 1"))
        assert done.decision == found["DECISION"] == decision
        if broken is None:
            assert done.broken == ["a", "b"]
        else:
            assert ((found["BROKEN"] or ""), ",".join(done.broken)) == (broken, broken)
        assert execute(*recorded_decisions("run 2")) == []

    def test_the_same_round_again_replaces_its_results(self, execute: Execute, searches: Contract) -> None:
        self.record(execute, searches, ("a", True, False))
        self.record(execute, searches, ("a", True, True))
        (row,) = execute("SELECT * FROM OPS.QUALITY_RESULTS")
        assert (row["SUCCESS"], row["OBSERVED"], row["ROWS_CHECKED"], row["RANGES"]) == (True, "it's", 10, 1)
