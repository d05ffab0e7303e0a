"""The platform's dashboards against its SQL: every mart, every field, every query."""

from __future__ import annotations

from pathlib import Path

import pytest

from madhatter_provider.core.dashboards.definition import Dashboard, load_dashboards
from madhatter_provider.core.dashboards.queries import chart_query
from madhatter_provider.testing.snowflake import RunningSnowflake

pytestmark = pytest.mark.integration
DASHBOARDS = load_dashboards(Path(__file__).parents[2] / "include/dashboards")


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.name)
def test_marts_and_fields_are_there(dashboard: Dashboard, snowflake: RunningSnowflake) -> None:
    sql = snowflake.client()
    found = sql.execute(
        "SELECT TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'MARTS'"
    )
    columns = {(r["TABLE_NAME"], r["COLUMN_NAME"]) for r in found}
    wanted = {(mart, column) for mart, names in dashboard.marts.items() for column in names}
    assert wanted - columns == set()
    for chart in dashboard.charts:
        sql.execute(*chart_query(chart))
