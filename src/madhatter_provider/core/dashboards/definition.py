"""A dashboard's file. Its name is the file's; what stands in it::

    title: Fraud
    text: one sentence
    dag: fraud_response          # who may read this DAG sees the dashboard; everybody, if left out
    order: 20                    # place in the navigation
    charts:
      - id: rate
        title: Payments with an alert
        text: one sentence
        mart: FRAUD_RATE         # a view or table of schema MARTS
        kind: lines              # lines, bars, table or figures
        x: HOUR                  # lines: the time; bars: what a bar stands for
        per: hour                # lines: minute, hour or day
        since: 48 hours          # lines: how far back
        series: CURRENCY         # lines: one line for each
        where: {STATE: [open]}   # only these rows
        fields:
          - {name: ALERTED_PAYMENTS, of: PAYMENTS, title: Share, unit: "%"}
          - {name: AMOUNT, aggregate: sum, where: {STATUS: [open]}}
        sort: AMOUNT desc        # table: the order of the rows
        limit: 50
        wide: true

``of`` makes a percentage of two sums. ``aggregate`` is sum, count, avg, min, max or latest; tables have none.
``as`` says how a table shows a field: time, day, state, run (DAG_ID must be there too), case, code,
list (words with commas between) or text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from madhatter_provider.core.errors import ConfigurationError

KINDS: Final = ("lines", "bars", "table", "figures")
AGGREGATES: Final = ("sum", "count", "avg", "min", "max", "latest")
PERIODS: Final = ("minute", "hour", "day")
SHOWN_AS: Final = ("", "time", "day", "state", "run", "case", "code", "list", "text")
MOST_ROWS: Final = 500

_IDENTIFIER = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SINCE = re.compile(r"([1-9]\d{0,3}) (minute|hour|day)s?")
_SORT = re.compile(r"([A-Z][A-Z0-9_]*)(?: (asc|desc))?")


@dataclass(frozen=True, slots=True)
class Field:
    """A column or a measure. ``where``: the measure is of these rows only."""

    name: str
    title: str
    aggregate: str = ""
    of: str = ""
    unit: str = ""
    shown_as: str = ""
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the mart that it needs."""
        return (self.name, *filter(None, (self.of,)), *(c for c, _ in self.where))


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, a table, or figures."""

    id: str
    title: str
    mart: str
    kind: str
    fields: tuple[Field, ...]
    text: str = ""
    x: str = ""
    per: str = ""
    since: tuple[int, str] | None = None
    series: str = ""
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sort: str = ""
    limit: int = 50
    wide: bool = False

    @property
    def columns(self) -> set[str]:
        """Columns of the mart that it needs."""
        own = {c for field in self.fields for c in field.columns} | {c for c, _ in self.where}
        runs = {"DAG_ID"} if any(f.shown_as == "run" for f in self.fields) else set()
        return {c for c in own | runs | {self.x, self.series, self.sort.split(" ")[0]} if c}


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard."""

    name: str
    title: str
    charts: tuple[Chart, ...]
    text: str = ""
    dag: str | None = None
    order: int = 100

    @property
    def marts(self) -> dict[str, set[str]]:
        """The columns that it needs, by mart."""
        found: dict[str, set[str]] = {}
        for chart in self.charts:
            found.setdefault(chart.mart, set()).update(chart.columns)
        return found


def load_dashboards(folder: str | Path) -> list[Dashboard]:
    """All dashboards of a folder, in the order of the navigation.

    :raises ConfigurationError: there is none, or a file is wrong; it says which and where in it.
    """
    files = sorted(Path(folder).glob("*.yaml"))
    if not files:
        raise ConfigurationError(
            "No dashboard found", where=str(folder), remedy="Give a folder of .yaml files."
        )
    return sorted(map(load_dashboard, files), key=lambda d: (d.order, d.name))


def load_dashboard(file: str | Path) -> Dashboard:
    """Read one file.

    :raises ConfigurationError: it is wrong; it says where.
    """
    import yaml

    path = Path(file)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise ConfigurationError(f"No dashboard: {err}", where=str(path), remedy="Mend the file.") from err
    return _Reader(str(path)).dashboard(path.stem, content)


class _Reader:
    """Checks every value; errors name the place."""

    def __init__(self, file: str) -> None:
        self._file = file

    def dashboard(self, name: str, content: Any) -> Dashboard:
        given = self._mapping(content, "the file", {"title", "text", "dag", "order", "charts"})
        charts = tuple(
            self._chart(c, f"charts[{i}]") for i, c in enumerate(self._list(given, "charts", "the file"))
        )
        if len({c.id for c in charts}) != len(charts):
            self._wrong("two charts have the same id", "charts")
        return Dashboard(
            self._matching(_NAME, name, "the file's name"),
            self._text(given, "title", "the file", required=True),
            charts,
            self._text(given, "text", "the file"),
            self._text(given, "dag", "the file") or None,
            self._integer(given, "order", "the file", 100, 1000),
        )

    def _chart(self, content: Any, place: str) -> Chart:
        known = {
            "id", "title", "text", "mart", "kind", "x", "per", "since", "series", "where", "fields", "sort",
            "limit", "wide",
        }  # fmt: skip
        given = self._mapping(content, place, known)
        kind = self._one_of(KINDS, given.get("kind"), f"{place}.kind")
        fields = tuple(
            self._field(f, f"{place}.fields[{i}]", kind)
            for i, f in enumerate(self._list(given, "fields", place))
        )
        x = self._column(given, "x", place, required=kind in ("lines", "bars"))
        series = self._column(given, "series", place)
        if series and (kind != "lines" or len(fields) != 1):
            self._wrong("series goes with lines of one field", f"{place}.series")
        if ("since" in given or "per" in given) and kind != "lines":
            self._wrong("since and per go with lines", place)
        if not x and any(f.aggregate == "latest" for f in fields):
            self._wrong("latest needs x, the time", f"{place}.x")
        return Chart(
            id=self._matching(_NAME, given.get("id"), f"{place}.id"),
            title=self._text(given, "title", place, required=True),
            mart=self._matching(_IDENTIFIER, given.get("mart"), f"{place}.mart"),
            kind=kind,
            fields=fields,
            text=self._text(given, "text", place),
            x=x,
            per=self._one_of(("", *PERIODS), given.get("per", ""), f"{place}.per"),
            since=self._since(given.get("since"), f"{place}.since"),
            series=series,
            where=self._where(given.get("where"), f"{place}.where"),
            sort=self._matching(_SORT, given["sort"], f"{place}.sort") if "sort" in given else "",
            limit=self._integer(given, "limit", place, 50, MOST_ROWS),
            wide=given.get("wide") is True,
        )

    def _field(self, content: Any, place: str, kind: str) -> Field:
        if isinstance(content, str):
            content = {"name": content}
        given = self._mapping(content, place, {"name", "title", "aggregate", "of", "unit", "as", "where"})
        name = self._column(given, "name", place, required=True)
        aggregate, of = str(given.get("aggregate", "")), self._column(given, "of", place)
        if kind == "table" and (aggregate or of or given.get("where")):
            self._wrong("a table shows columns as they are", place)
        if kind != "table" and not of:
            aggregate = self._one_of(AGGREGATES, aggregate or "sum", f"{place}.aggregate")
        return Field(
            name,
            self._text(given, "title", place) or name.replace("_", " ").capitalize(),
            aggregate,
            of,
            self._text(given, "unit", place),
            self._one_of(SHOWN_AS, given.get("as", ""), f"{place}.as"),
            self._where(given.get("where"), f"{place}.where"),
        )

    def _where(self, content: Any, place: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        if content is None:
            return ()
        given = self._mapping(content, place)
        found = []
        for column, values in given.items():
            self._matching(_IDENTIFIER, column, place)
            if not isinstance(values, list) or not values:
                self._wrong(f"{column} needs a list of values", place)
            found.append((column, tuple(map(str, values))))
        return tuple(found)

    def _since(self, content: Any, place: str) -> tuple[int, str] | None:
        if content is None:
            return None
        match = _SINCE.fullmatch(str(content))
        if match is None:
            self._wrong(f"{content!r} is no span such as 24 hours", place)
        return int(match[1]), match[2]

    def _mapping(self, content: Any, place: str, known: set[str] | None = None) -> Mapping[str, Any]:
        if not isinstance(content, dict):
            self._wrong("a mapping is wanted", place)
        if known is not None and (unknown := sorted(map(str, set(content) - known))):
            self._wrong(f"{unknown[0]!r} is not known; known are {', '.join(sorted(known))}", place)
        return content

    def _list(self, given: Mapping[str, Any], name: str, place: str) -> Sequence[Any]:
        content = given.get(name)
        if not isinstance(content, list) or not content:
            self._wrong(f"{name} needs a list", place)
        return content

    def _text(self, given: Mapping[str, Any], name: str, place: str, *, required: bool = False) -> str:
        content = given.get(name)
        if content is None and not required:
            return ""
        if not isinstance(content, str) or not content.strip():
            self._wrong(f"{name} needs a text", place)
        return content.strip()

    def _column(self, given: Mapping[str, Any], name: str, place: str, *, required: bool = False) -> str:
        if name not in given and not required:
            return ""
        return self._matching(_IDENTIFIER, given.get(name), f"{place}.{name}")

    def _matching(self, pattern: re.Pattern[str], content: Any, place: str) -> str:
        if not isinstance(content, str) or not pattern.fullmatch(content):
            self._wrong(f"{content!r} does not look as it must: {pattern.pattern}", place)
        return content

    def _one_of(self, known: Sequence[str], content: Any, place: str) -> str:
        if content not in known:
            self._wrong(f"{content!r} is none of {', '.join(filter(None, known))}", place)
        return str(content)

    def _integer(self, given: Mapping[str, Any], name: str, place: str, default: int, most: int) -> int:
        content = given.get(name, default)
        if not isinstance(content, int) or isinstance(content, bool) or not 1 <= content <= most:
            self._wrong(f"{name} needs a whole number from 1 to {most}", place)
        return content

    def _wrong(self, what: str, place: str) -> NoReturn:
        raise ConfigurationError(
            f"{place}: {what}", where=self._file, remedy="See docs/how-to/control-room.md, Dashboards."
        )
