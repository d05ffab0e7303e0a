"""The ledger's SQL, run on the local engine."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.core.conftest import Execute

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import LedgerRow


@pytest.fixture(scope="module", autouse=True)
def _table(execute: Execute) -> None:
    execute(ledger.create_table())


@pytest.fixture(autouse=True)
def _empty(execute: Execute, _table: None) -> None:
    execute(f"DELETE FROM {ledger.TABLE}")


def row(start: int = 0, end: int = 10, state: str = "claimed", **facts: Any) -> LedgerRow:
    return LedgerRow(
        stream="clicks",
        topic_id="T",
        partition_id=facts.pop("partition_id", 0),
        start_offset=start,
        end_offset=end,
        state=state,
        **facts,
    )


def stored(execute: Execute) -> dict[str, Any]:
    (found,) = execute(f"SELECT * FROM {ledger.TABLE}")
    return found


class TestRecord:
    def test_a_row_goes_its_way(self, execute: Execute) -> None:
        times: list[Any] = []
        moment = datetime(2026, 11, 24, 6, 0, 0, 123456, tzinfo=UTC)
        for state, facts in (
            ("claimed", {"topic": "clicks", "dag_id": "land_clicks", "run_id": "r1"}),
            ("landed", {"rows_read": 9, "rows_landed": 8, "rows_quarantined": 1, "min_event_time": moment}),
            ("loaded", {"rows_loaded": 8, "gate": "pass", "file_path": 'it\'s/a "file"\\.parquet'}),
        ):
            execute(*ledger.record([row(state=state, **facts)]))
            times.append(stored(execute))
        last = times[-1]
        assert (last["STATE"], last["RUN_ID"], last["ROWS_READ"], last["ROWS_LOADED"]) == (
            "loaded",
            "r1",
            9,
            8,
        )
        assert last["FILE_PATH"] == 'it\'s/a "file"\\.parquet'
        assert last["MIN_EVENT_TIME"] == moment
        assert last["CLAIMED_AT"] < last["LANDED_AT"] < last["LOADED_AT"] == last["GATED_AT"]
        assert times[0]["LANDED_AT"] is None
        assert last["DEEP_GATED_AT"] is None

    def test_an_earlier_step_replayed_overwrites_nothing(self, execute: Execute) -> None:
        execute(*ledger.record([row(state="loaded", run_id="r1", rows_loaded=8, gate="pass")]))
        before = stored(execute)
        execute(*ledger.record([row(state="claimed", run_id="r2", rows_loaded=3)]))
        execute(*ledger.record([row(state="lost", run_id="r3")]))
        assert stored(execute) == before

    def test_an_earlier_step_fills_in_what_is_unknown(self, execute: Execute) -> None:
        execute(*ledger.record([row(state="loaded", rows_loaded=8)]))
        execute(*ledger.record([row(state="landed", rows_landed=8, bytes=100)]))
        assert (stored(execute)["STATE"], stored(execute)["ROWS_LANDED"], stored(execute)["BYTES"]) == (
            "loaded",
            8,
            100,
        )

    def test_the_newest_judgement_stands(self, execute: Execute) -> None:
        for gate in ("fail", "pass"):
            execute(*ledger.record([row(state="loaded", gate=gate, deep_gate=gate)]))
        execute(*ledger.record([row(state="loaded")]))
        assert (stored(execute)["GATE"], stored(execute)["DEEP_GATE"]) == ("pass", "pass")

    def test_times_given_are_kept(self, execute: Execute) -> None:
        landed = datetime(2026, 1, 1, tzinfo=UTC)
        execute(
            *ledger.record([row(state="loaded", landed_at=landed, claimed_at=landed - timedelta(minutes=1))])
        )
        assert stored(execute)["LANDED_AT"] == landed
        assert stored(execute)["CLAIMED_AT"] == landed - timedelta(minutes=1)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.sampled_from(ledger.STATES), min_size=1, max_size=6))
    def test_state_only_rises_whatever_the_order(self, execute: Execute, states: list[str]) -> None:
        execute(f"DELETE FROM {ledger.TABLE}")
        for state in states:
            execute(*ledger.record([row(state=state)]))
        assert stored(execute)["STATE"] == max(states, key=ledger.STATES.index)

    def test_many_rows_in_one_statement(self, execute: Execute) -> None:
        rows = [row(i * 10, i * 10 + 10, partition_id=p) for p in range(3) for i in range(100)]
        execute(*ledger.record(rows))
        execute(*ledger.record(rows))
        assert execute(f"SELECT COUNT(*) AS N FROM {ledger.TABLE}") == [{"N": 300}]

    def test_a_backlog_fits_into_memory(self, execute: Execute) -> None:
        execute(*ledger.record([row(i, i + 1, run_id="manual__2026-11-24T00:00:00") for i in range(10_000)]))
        assert execute(f"SELECT COUNT(*) AS N FROM {ledger.TABLE}") == [{"N": 10_000}]

    def test_what_the_ledger_does_not_know_may_be_left_out(self, execute: Execute) -> None:
        execute(*ledger.record([row(0, 10)]))
        execute(*ledger.record([row(0, 10, "landed"), row(10, 20, "landed")], only_known=True))
        assert (stored(execute)["STATE"], stored(execute)["END_OFFSET"]) == ("landed", 10)

    def test_nothing_and_the_same_range_twice_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="Nothing to record"):
            ledger.record([])
        with pytest.raises(ConfigurationError, match="Two ledger rows"):
            ledger.record([row(), row(state="landed")])


class TestRow:
    @pytest.mark.parametrize(
        ("facts", "words"),
        [
            ({"state": "done"}, "'done'"),
            ({"gate": "ok"}, "'ok'"),
            ({"deep_gate": "no"}, "'no'"),
            ({"start": 11}, "backwards"),
        ],
    )
    def test_refuses_other_words(self, facts: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            row(**facts)

    def test_comes_back_from_a_query(self, execute: Execute) -> None:
        one = row(state="loaded", rows_loaded=3, run_id="r")
        execute(*ledger.record([one]))
        (found,) = execute(*ledger.not_deep_gated(["clicks"]))
        again = LedgerRow.from_row({**found, "OTHER": 1})
        assert (again.key, again.rows_loaded, again.run_id) == (one.key, 3, "r")
        assert pickle.loads(pickle.dumps(again)) == again


class TestQueries:
    def test_a_tiled_topic_has_neither_gaps_nor_overlaps(self, execute: Execute) -> None:
        execute(
            *ledger.record([row(0, 10), row(10, 15), row(15, 15), row(15, 20), row(5, 9, partition_id=1)])
        )
        assert execute(*ledger.gaps()) == []
        assert execute(*ledger.overlaps()) == []

    def test_a_gap_is_found_behind_nested_ranges(self, execute: Execute) -> None:
        execute(*ledger.record([row(0, 20), row(3, 5), row(25, 30)]))
        (gap,) = execute(*ledger.gaps())
        assert (gap["STREAM"], gap["PARTITION_ID"], gap["GAP_START"], gap["GAP_END"]) == ("clicks", 0, 20, 25)

    def test_overlaps_are_found_but_not_those_of_lost_rows(self, execute: Execute) -> None:
        execute(*ledger.record([row(0, 10), row(9, 12), row(12, 20, "lost"), row(15, 20, "loaded")]))
        (overlap,) = execute(*ledger.overlaps())
        assert (overlap["START_OFFSET"], overlap["PREVIOUS_END"]) == (9, 10)

    def test_topic_epochs_are_apart(self, execute: Execute) -> None:
        other = LedgerRow(
            stream="clicks", topic_id="U", partition_id=0, start_offset=5, end_offset=9, state="loaded"
        )
        execute(*ledger.record([row(0, 10), other]))
        assert execute(*ledger.overlaps()) == []

    def test_only_loaded_and_unjudged_ranges_wait_for_the_deep_gate(self, execute: Execute) -> None:
        execute(
            *ledger.record(
                [row(0, 1), row(1, 2, "landed"), row(2, 3, "loaded"), row(3, 4, "loaded", deep_gate="warn")]
            )
        )
        found = execute(*ledger.not_deep_gated(["clicks", "searches"]))
        assert [r["START_OFFSET"] for r in found] == [2]
        assert execute(*ledger.not_deep_gated(["searches"])) == []
        with pytest.raises(ConfigurationError, match="at least one"):
            ledger.not_deep_gated([])
