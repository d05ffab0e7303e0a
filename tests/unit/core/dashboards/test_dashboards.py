"""Dashboards' files: what is read, what is refused, the SQL and the links that come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from madhatter_provider.core.dashboards.definition import Dashboard, load_dashboard, load_dashboards
from madhatter_provider.core.dashboards.looker import link, links, report_id
from madhatter_provider.core.dashboards.queries import chart_query
from madhatter_provider.core.errors import ConfigurationError

FOLDER = Path(__file__).parents[4] / "include/dashboards"
LINES: dict[str, Any] = {
    "id": "rate", "title": "Rate", "mart": "FRAUD_RATE", "kind": "lines", "x": "HOUR", "per": "hour",
    "since": "2 days",
    "fields": [{"name": "ALERTED", "of": "PAYMENTS", "where": {"STATE": ["open", "asked"]}}],
}  # fmt: skip
TABLE: dict[str, Any] = {
    "id": "cases", "title": "Cases", "mart": "FRAUD_CASES", "kind": "table",
    "sort": "OPENED_AT desc", "limit": 7, "where": {"STATUS": ["o'pen"]},
    "fields": ["CASE_ID", {"name": "RUN_ID", "as": "run"}],
}  # fmt: skip


def written(folder: Path, *charts: dict[str, Any], **more: Any) -> Dashboard:
    file = folder / "one.yaml"
    file.write_text(yaml.safe_dump({"title": "One", "charts": list(charts), **more}))
    return load_dashboard(file)


def test_the_platforms_dashboards_are_in_order() -> None:
    assert [d.name for d in load_dashboards(FOLDER)] == ["fraud", "sales", "operations", "quality"]


def test_lines_group_by_time_and_bind_values(tmp_path: Path) -> None:
    sql, bindings = chart_query(written(tmp_path, LINES).charts[0])
    assert sql == (
        "SELECT DATE_TRUNC('hour', \"HOUR\") AS X, "
        '100.0 * SUM(IFF("STATE" IN (?, ?), "ALERTED", NULL)) '
        '/ NULLIF(SUM(IFF("STATE" IN (?, ?), "PAYMENTS", NULL)), 0) '
        "AS M0 FROM MARTS.FRAUD_RATE AS mart WHERE \"HOUR\" >= DATEADD('day', -2, CURRENT_TIMESTAMP()) "
        "GROUP BY X ORDER BY X DESC LIMIT 5000"
    )
    assert bindings == ["open", "asked", "open", "asked"]


def test_of_many_series_only_the_greatest_are_asked(tmp_path: Path) -> None:
    chart = written(tmp_path, LINES | {"series": "CURRENCY"}).charts[0]
    sql, bindings = chart_query(chart)
    assert sql.startswith("SELECT X, SERIES, M0, PLACE, MAX(PLACE) OVER () AS SERIES_COUNT FROM (")
    assert "MAX(M0) OVER (PARTITION BY SERIES) AS WEIGHT" in sql
    assert sql.endswith("QUALIFY PLACE <= 12 ORDER BY X DESC LIMIT 5000")
    assert chart_query(chart, 10_000, series=None) == (
        sql[sql.index("SELECT DATE_TRUNC") : sql.index(") AS points")] + " ORDER BY X DESC LIMIT 10000",
        bindings,
    )


def test_tables_show_columns_in_their_order(tmp_path: Path) -> None:
    chart = written(tmp_path, TABLE).charts[0]
    sql, bindings = chart_query(chart)
    assert sql == (
        'SELECT "DAG_ID" AS DAG_ID, "CASE_ID" AS M0, "RUN_ID" AS M1 FROM MARTS.FRAUD_CASES AS mart '
        'WHERE "STATUS" IN (?) ORDER BY "OPENED_AT" DESC NULLS LAST LIMIT 7'
    )
    assert bindings == ["o'pen"]
    assert chart.columns == {"DAG_ID", "CASE_ID", "RUN_ID", "STATUS", "OPENED_AT"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mart": "FRAUD; DROP"}, "mart"),
        ({"mart": "RAW.CLICKS"}, "mart"),
        ({"x": 'HOUR"'}, "x"),
        ({"x": None}, "x"),
        ({"kind": "pie"}, "none of lines, bars"),
        ({"per": "second"}, "none of minute"),
        ({"since": "a while"}, "no span"),
        ({"fields": []}, "fields needs a list"),
        ({"fields": [{"name": "A", "aggregate": "median"}]}, "none of sum"),
        ({"fields": [{"name": "A", "where": {"B": "open"}}]}, "needs a list of values"),
        ({"fields": ["A", "B"], "series": "C"}, "series goes with lines of one field"),
        ({"colour": "red"}, "'colour' is not known"),
        ({"limit": 0}, "whole number"),
        ({"title": " "}, "title needs a text"),
        ({"kind": "bars"}, "since and per go with lines"),
    ],
)
def test_wrong_charts_are_refused_with_their_place(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        written(tmp_path, LINES | change)
    assert words in caught.value.what
    assert "charts[0]" in caught.value.what
    assert caught.value.where == str(tmp_path / "one.yaml")


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="same id"):
        written(tmp_path, TABLE, TABLE)
    with pytest.raises(ConfigurationError, match="a table shows columns as they are"):
        written(tmp_path, TABLE | {"fields": [{"name": "A", "aggregate": "sum"}]})
    (tmp_path / "one.yaml").write_text("a: [")
    with pytest.raises(ConfigurationError, match="No dashboard"):
        load_dashboards(tmp_path)
    with pytest.raises(ConfigurationError, match="No dashboard found"):
        load_dashboards(tmp_path / "nothing")


def test_looker_links_name_the_data_sources_and_nothing_secret() -> None:
    template = "1a2B3c4D-5e6F"
    for dashboard in load_dashboards(FOLDER):
        address = urlsplit(link(dashboard, template, page="p_1"))
        given = parse_qs(address.query)
        assert (address.netloc, address.path) == ("lookerstudio.google.com", "/reporting/create")
        assert given.pop("c.reportId") == [template]
        assert given.pop("r.reportName") == [f"MadHatter: {dashboard.title}"]
        assert (given.pop("c.mode"), given.pop("c.pageId")) == (["edit"], ["p_1"])
        assert given == {f"ds.{m.lower()}.datasourceName": [f"MARTS.{m}"] for m in dashboard.marts}


def test_a_template_is_given_for_all_or_by_dashboard() -> None:
    dashboards = load_dashboards(FOLDER)
    assert set(links(dashboards, {}, "11112222")) == {d.name for d in dashboards}
    assert set(links(dashboards, {"fraud": "11112222"}, None)) == {"fraud"}
    with pytest.raises(ConfigurationError, match="no dashboard 'nothing'"):
        links(dashboards, {"nothing": "11112222"}, None)
    assert report_id("https://lookerstudio.google.com/u/0/reporting/1a2b3c4d-55/page/p1") == "1a2b3c4d-55"
    with pytest.raises(ConfigurationError, match="no report"):
        report_id("https://example.com/?key=secret")
