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

FORMATS = ("json",)
LOGICAL_TYPES = ("string", "integer", "number", "boolean", "timestamp", "date", "object", "array")
_NUMBER = re.compile(r"^(?:NUMBER|DECIMAL|NUMERIC)\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)$", re.IGNORECASE)
_COMPARE = "Compare with a file in include/contracts."
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
    """One stream's contract.

    ``format`` says how a message is encoded: one of :data:`FORMATS`.
    """

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
    format: str = "json"
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
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        mark = getattr(err, "problem_mark", None)
        place = f"{file}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(file)
        raise ContractError(
            f"Not valid YAML: {getattr(err, 'problem', None) or err}", where=place, remedy="Mend it there."
        ) from err
    return parse_contract(doc, where=str(file))


def load_contracts(folder: str | Path) -> dict[str, Contract]:
    """All ``<stream>.odcs.yaml`` of a folder, by stream name.

    :raises ContractError: there is none, one is wrong, or is named after another stream.
    """
    files = sorted(Path(folder).glob("*.odcs.yaml"))
    if not files:
        raise ContractError(
            "No contract found", where=str(folder), remedy="Expected files named <stream>.odcs.yaml."
        )
    contracts = {}
    for file in files:
        contract = load_contract(file)
        if file.name != f"{contract.stream}.odcs.yaml":
            raise _wrong(
                f"the stream is named {contract.stream!r}, the file is not",
                str(file),
                f"Name it {contract.stream}.odcs.yaml: DAGs find contracts by file name.",
            )
        contracts[contract.stream] = contract
    return contracts


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
    schema = _objects(doc.get("schema"), f"{where} schema")
    if len(schema) != 1:
        raise _wrong(
            f"schema has {len(schema)} objects, a stream has exactly one", where, "Split the contract."
        )
    obj = schema[0]
    custom = _named_values(doc, "customProperties", where)
    properties = _objects(obj.get("properties"), f"{where} schema[0].properties")
    columns = tuple(_column(p, f"{where} schema[0].properties[{i}]") for i, p in enumerate(properties))
    names = [c.name for c in columns]
    if len(set(names)) != len(names):
        raise _wrong(
            f"column named twice: {sorted({n for n in names if names.count(n) > 1})}", where, "Rename one."
        )
    event_time = custom.get("eventTimeColumn") or "event_time"
    if event_time not in names:
        raise _wrong(f"eventTimeColumn {event_time!r} is not a column", where, f"Choose one of {names}.")
    freshness = _named_values(doc, "slaProperties", where).get("freshness")
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
            for q in _objects(obj.get("quality"), f"{where} schema[0].quality")
            if q.get("type", "library") == "library"
        ),
        partitions=int(_number(custom.get("partitions"), f"{where} partitions") or 1),
        max_quarantine_percent=_percent(custom.get("maxQuarantinePercent"), f"{where} maxQuarantinePercent"),
        freshness_seconds=_number(freshness, f"{where} freshness"),
        format=_one_of(FORMATS, custom.get("format") or "json", f"{where} format"),
        path=where,
    )


def _wrong(what: str, where: str, remedy: str) -> ContractError:
    return ContractError(f"Contract: {what}", where=where, remedy=remedy)


def _identifier(name: Any, where: str) -> str:
    """Names become topic, file and SQL names: nothing that needs quoting may get in."""
    if not isinstance(name, str) or not _IDENTIFIER.match(name):
        raise _wrong(f"{name!r} is not a plain name", where, "Use letters, digits and underscores.")
    return name


def _objects(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects; nothing is an empty one."""
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(v, dict) for v in value):
        return value
    raise _wrong(f"{value!r:.60} is not a list of objects", where, _COMPARE)


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    raise _wrong(f"{value!r:.60} is not an object", where, _COMPARE)


def _named_values(doc: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """A list of ``property`` and ``value`` as a mapping."""
    return {str(p.get("property")): p.get("value") for p in _objects(doc.get(key), f"{where} {key}")}


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list) and not any(isinstance(v, list | dict) for v in value):
        return tuple(str(v) for v in value)
    raise _wrong(f"{value!r:.60} is not a list of values", where, _COMPARE)


def _number(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise _wrong(f"{value!r:.60} is not a number", where, "Write a number, without quotes.")


def _one_of(choices: tuple[str, ...], value: Any, where: str) -> str:
    if value not in choices:
        raise _wrong(f"{value!r:.60} is none of its choices", where, f"Use one of {', '.join(choices)}.")
    return str(value)


def _length(value: Any, where: str) -> int | None:
    number = _number(value, where)
    return None if number is None else int(number)


def _percent(value: Any, where: str) -> float:
    number = _number(value, where)
    if number is None:
        return 100.0
    if not 0 <= number <= 100:
        raise _wrong(f"{value!r} is not a percentage", where, "Write a number from 0 to 100.")
    return float(number)


def _pattern(value: Any, where: str) -> str | None:
    try:
        if value is not None:
            re.compile(value)
    except (re.error, TypeError) as err:
        raise _wrong(f"pattern {value!r:.60}: {err}", where, "Mend the regular expression.") from err
    return None if value is None else str(value)


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
    place = f"{where} column {name}"
    opts = _object(p.get("logicalTypeOptions"), place)
    values: tuple[str, ...] = ()
    for q in _objects(p.get("quality"), place):
        if q.get("metric") == "invalidValues":
            values = _texts(_object(q.get("arguments"), place).get("validValues"), place)
    return Column(
        name=name,
        logical_type=logical,
        physical_type=physical,
        description=str(p.get("description") or ""),
        required=bool(p.get("required") or p.get("primaryKey")),
        primary_key=bool(p.get("primaryKey")),
        decimal=(int(number[1]), int(number[2])) if number and logical == "number" else None,
        minimum=_number(opts.get("minimum"), f"{place} minimum"),
        maximum=_number(opts.get("maximum"), f"{place} maximum"),
        min_length=_length(opts.get("minLength"), f"{place} minLength"),
        max_length=_length(opts.get("maxLength"), f"{place} maxLength"),
        pattern=_pattern(opts.get("pattern"), place),
        values=values,
    )


_METRICS = ("duplicateValues", "nullValues", "invalidValues", "rowCount")


def _metric(q: dict[str, Any], names: list[str], where: str) -> Metric:
    metric, ident = q.get("metric"), str(q.get("id") or q.get("metric"))
    if metric not in _METRICS:
        raise _wrong(
            f"quality {ident}: metric {metric!r} is unknown", where, f"Use one of {', '.join(_METRICS)}."
        )
    place = f"{where} {ident}"
    args = _object(q.get("arguments"), place)
    columns = _texts(args.get("properties"), place)
    for c in columns:
        if c not in names:
            raise _wrong(f"quality {ident}: {c!r} is not a column", where, f"Choose of {names}.")
    low, high = _bounds(q, place)
    if low is None and high is None:
        raise _wrong(f"quality {ident}: no bound", where, "Add mustBe, mustBeLessOrEqualTo, mustBeBetween …")
    return Metric(
        id=ident,
        metric=metric,
        columns=columns,
        unit=str(q.get("unit", "rows")),
        low=low,
        high=high,
        critical=q.get("severity") == "critical",
        values=_texts(args.get("validValues"), place),
    )


def _bounds(q: dict[str, Any], where: str) -> tuple[float | None, float | None]:
    """The interval that the measured number must lie in. Strict bounds are closed at the next smaller unit of
    counting.
    """
    if "mustBe" in q:
        exact = _number(q["mustBe"], where)
        return exact, exact
    if "mustBeBetween" in q:
        between = q["mustBeBetween"]
        if not isinstance(between, list) or len(between) != 2:
            raise _wrong(f"mustBeBetween {between!r:.60} is not a pair", where, "Write [low, high].")
        return _number(between[0], where), _number(between[1], where)
    low = _number(q.get("mustBeGreaterOrEqualTo"), where)
    high = _number(q.get("mustBeLessOrEqualTo"), where)
    step = 1 if q.get("unit", "rows") == "rows" else 1e-9
    above, below = _number(q.get("mustBeGreaterThan"), where), _number(q.get("mustBeLessThan"), where)
    return (low if above is None else above + step), (high if below is None else below - step)
