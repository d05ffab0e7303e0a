"""Read an ODCS 3.x data contract: one stream's schema, row rules, quality metrics and SLAs.

Source: Open Data Contract Standard 3.1 (Bitol). Only what a stream needs is read; the rest of the document is
left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from madhatter_provider.core.errors import ContractError

LOGICAL_TYPES = ("string", "integer", "number", "boolean", "timestamp", "date", "object", "array")
_NUMBER = re.compile(r"^(?:NUMBER|DECIMAL|NUMERIC)\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)$", re.IGNORECASE)
_IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True, slots=True)
class Column:
    """One property of the schema, with its row rules.

    ``decimal`` is (precision, scale) when the physical type asks for an exact number.
    ``minimum``/``maximum`` bound numbers; ``min_length``/``max_length``/``pattern`` bound strings; ``values``
    is an enumeration.
    """

    name: str
    logical_type: str
    physical_type: str
    description: str = ""
    required: bool = False
    primary_key: bool = False
    decimal: tuple[int, int] | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """One dataset-level quality rule (ODCS ``type: library``).

    ``metric`` is ``duplicateValues``, ``nullValues``, ``invalidValues`` or ``rowCount``; ``unit`` is ``rows``
    or ``percent``; the measured number must lie in [``low``, ``high``].
    """

    id: str
    metric: str
    columns: tuple[str, ...]
    unit: str = "rows"
    low: float | None = None
    high: float | None = None
    critical: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contract:
    """One stream's contract."""

    id: str
    version: str
    stream: str
    topic: str
    table: str
    event_time: str
    columns: tuple[Column, ...]
    metrics: tuple[Metric, ...] = ()
    partitions: int = 1
    max_quarantine_percent: float = 100.0
    freshness_seconds: float | None = None
    path: str = field(default="", compare=False)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Names of the primary-key columns."""
        return tuple(c.name for c in self.columns if c.primary_key)

    @property
    def by_name(self) -> dict[str, Column]:
        """Columns by name, in order."""
        return {c.name: c for c in self.columns}


def load_contract(path: str | Path) -> Contract:
    """Read one contract file.

    :raises ContractError: the file is missing, is not YAML, or says something impossible; the message names
        the place.
    """
    file = Path(path)
    try:
        doc = yaml.load(
            file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except OSError as err:
        raise ContractError(
            f"Cannot read the contract: {err.strerror}", where=str(file), remedy="Check the path."
        ) from err
    except yaml.YAMLError as err:
        raise ContractError(
            f"Not valid YAML: {err}", where=str(file), remedy="Mend the file at the place named."
        ) from err
    return parse_contract(doc, where=str(file))


def load_contracts(folder: str | Path) -> dict[str, Contract]:
    """All ``*.odcs.yaml`` of a folder, by stream name."""
    files = sorted(Path(folder).glob("*.odcs.yaml"))
    if not files:
        raise ContractError(
            "No contract found", where=str(folder), remedy="Expected files named <stream>.odcs.yaml."
        )
    return {c.stream: c for c in map(load_contract, files)}


def parse_contract(doc: Any, *, where: str = "") -> Contract:
    """Build a :class:`Contract` from a parsed document.

    :raises ContractError: something is missing or impossible.
    """
    if not isinstance(doc, dict) or doc.get("kind") != "DataContract":
        raise _wrong(
            "not a data contract (kind: DataContract)", where, "Start from a file in include/contracts."
        )
    if not str(doc.get("apiVersion", "")).startswith("v3."):
        raise _wrong(
            f"apiVersion {doc.get('apiVersion')!r} is not ODCS 3.x", where, "Set apiVersion: v3.1.0."
        )
    schema = doc.get("schema") or []
    if len(schema) != 1:
        raise _wrong(
            f"schema has {len(schema)} objects, a stream has exactly one", where, "Split the contract."
        )
    obj = schema[0]
    custom = {p.get("property"): p.get("value") for p in doc.get("customProperties") or []}
    columns = tuple(
        _column(p, f"{where} schema[0].properties[{i}]") for i, p in enumerate(obj.get("properties") or [])
    )
    names = [c.name for c in columns]
    if len(set(names)) != len(names):
        raise _wrong(
            f"column named twice: {sorted({n for n in names if names.count(n) > 1})}", where, "Rename one."
        )
    event_time = custom.get("eventTimeColumn") or "event_time"
    if event_time not in names:
        raise _wrong(f"eventTimeColumn {event_time!r} is not a column", where, f"Choose one of {names}.")
    freshness = next(
        (s.get("value") for s in doc.get("slaProperties") or [] if s.get("property") == "freshness"), None
    )
    stream = _identifier(obj.get("name"), f"{where} schema[0].name")
    return Contract(
        id=str(doc.get("id") or stream),
        version=str(doc.get("version") or "0"),
        stream=stream,
        topic=str(custom.get("topic") or stream),
        table=_identifier(obj.get("physicalName") or stream.upper(), where),
        event_time=event_time,
        columns=columns,
        metrics=tuple(
            _metric(q, names, f"{where} schema[0].quality")
            for q in obj.get("quality") or []
            if q.get("type", "library") == "library"
        ),
        partitions=int(custom.get("partitions") or 1),
        max_quarantine_percent=float(custom.get("maxQuarantinePercent", 100.0)),
        freshness_seconds=None if freshness is None else float(freshness),
        path=where,
    )


def _wrong(what: str, where: str, remedy: str) -> ContractError:
    return ContractError(f"Contract: {what}", where=where, remedy=remedy)


def _identifier(name: Any, where: str) -> str:
    """Names become topic, file and SQL names: nothing that needs quoting may get in."""
    if not isinstance(name, str) or not _IDENTIFIER.match(name):
        raise _wrong(f"{name!r} is not a plain name", where, "Use letters, digits and underscores.")
    return name


def _column(p: dict[str, Any], where: str) -> Column:
    name = _identifier(p.get("name"), where)
    logical = p.get("logicalType")
    if logical not in LOGICAL_TYPES:
        raise _wrong(
            f"column {name}: logicalType {logical!r} is unknown",
            where,
            f"Use one of {', '.join(LOGICAL_TYPES)}.",
        )
    physical = str(p.get("physicalType") or "VARCHAR")
    number = _NUMBER.match(physical)
    opts = p.get("logicalTypeOptions") or {}
    pattern = opts.get("pattern")
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as err:
            raise _wrong(
                f"column {name}: pattern {pattern!r}: {err}", where, "Mend the regular expression."
            ) from err
    values: tuple[str, ...] = ()
    for q in p.get("quality") or []:
        if q.get("metric") == "invalidValues":
            values = tuple(str(v) for v in (q.get("arguments") or {}).get("validValues") or ())
    return Column(
        name=name,
        logical_type=logical,
        physical_type=physical,
        description=str(p.get("description") or ""),
        required=bool(p.get("required") or p.get("primaryKey")),
        primary_key=bool(p.get("primaryKey")),
        decimal=(int(number[1]), int(number[2])) if number and logical == "number" else None,
        minimum=opts.get("minimum"),
        maximum=opts.get("maximum"),
        min_length=opts.get("minLength"),
        max_length=opts.get("maxLength"),
        pattern=pattern,
        values=values,
    )


_METRICS = ("duplicateValues", "nullValues", "invalidValues", "rowCount")


def _metric(q: dict[str, Any], names: list[str], where: str) -> Metric:
    metric, ident = q.get("metric"), str(q.get("id") or q.get("metric"))
    if metric not in _METRICS:
        raise _wrong(
            f"quality {ident}: metric {metric!r} is unknown", where, f"Use one of {', '.join(_METRICS)}."
        )
    args = q.get("arguments") or {}
    columns = tuple(args.get("properties") or ())
    for c in columns:
        if c not in names:
            raise _wrong(f"quality {ident}: {c!r} is not a column", where, f"Choose of {names}.")
    low, high = _bounds(q)
    if low is None and high is None:
        raise _wrong(f"quality {ident}: no bound", where, "Add mustBe, mustBeLessOrEqualTo, mustBeBetween …")
    return Metric(
        id=ident,
        metric=metric,
        columns=columns,
        unit=q.get("unit", "rows"),
        low=low,
        high=high,
        critical=q.get("severity") == "critical",
        values=tuple(str(v) for v in args.get("validValues") or ()),
    )


def _bounds(q: dict[str, Any]) -> tuple[float | None, float | None]:
    """The interval that the measured number must lie in. Strict bounds are closed at the next smaller unit of
    counting.
    """
    if "mustBe" in q:
        return float(q["mustBe"]), float(q["mustBe"])
    if "mustBeBetween" in q:
        low, high = q["mustBeBetween"]
        return float(low), float(high)
    low = q.get("mustBeGreaterOrEqualTo")
    high = q.get("mustBeLessOrEqualTo")
    if "mustBeGreaterThan" in q:
        low = _next(q["mustBeGreaterThan"], +1, q)
    if "mustBeLessThan" in q:
        high = _next(q["mustBeLessThan"], -1, q)
    return (None if low is None else float(low)), (None if high is None else float(high))


def _next(bound: float, step: int, q: dict[str, Any]) -> float:
    return float(bound) + (step if q.get("unit", "rows") == "rows" else step * 1e-9)
