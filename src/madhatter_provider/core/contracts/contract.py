"""Read an ODCS 3.x data contract: one stream's schema, row rules, quality metrics and SLAs.

Source: Open Data Contract Standard 3.1 (Bitol). Only what a stream needs is read; the rest of the document is
left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from madhatter_provider.core.contracts.columns import LOGICAL_TYPES, Column, parse_column
from madhatter_provider.core.contracts.values import (
    as_number,
    as_object,
    as_objects,
    as_percent,
    as_texts,
    identifier,
    named_values,
    one_of,
    promised_seconds,
    wrong,
)
from madhatter_provider.core.errors import ContractError

__all__ = [
    "FORMATS",
    "LOGICAL_TYPES",
    "REGISTRY_FORMATS",
    "Column",
    "Contract",
    "Metric",
    "load_contract",
    "load_contracts",
    "parse_contract",
]
REGISTRY_FORMATS: Final = ("avro", "protobuf", "jsonschema")
FORMATS: Final = ("json", "raw", *REGISTRY_FORMATS)
KAFKA_TIME: Final = "_timestamp"
"""The coordinate that holds the time Kafka gives a message: an event time for want of a better one."""
_COORDINATES: Final = {"_topic_id", "_partition", "_offset", KAFKA_TIME, "_key", "_headers"}


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

    ``format`` says how a message is encoded: one of :data:`FORMATS`. For those with a schema registry,
    ``subject`` limits messages to the schemas of one subject, and ``validate`` has each message checked
    against its JSON Schema. ``compacted``: the topic keeps the newest message of every key.
    ``freshness_seconds``: service level ``freshness``, else ``latency``.
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
    compacted: bool = False
    max_quarantine_percent: float = 100.0
    freshness_seconds: float | None = None
    format: str = "json"
    subject: str = ""
    validate: bool = False
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
            raise wrong(
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
        raise wrong(
            "not a data contract (kind: DataContract)", where, "Start from a file in include/contracts."
        )
    if not str(doc.get("apiVersion", "")).startswith("v3."):
        raise wrong(f"apiVersion {doc.get('apiVersion')!r} is not ODCS 3.x", where, "Set apiVersion: v3.1.0.")
    schema = as_objects(doc.get("schema"), f"{where} schema")
    if len(schema) != 1:
        raise wrong(
            f"schema has {len(schema)} objects, a stream has exactly one", where, "Split the contract."
        )
    obj = schema[0]
    custom = named_values(doc, "customProperties", where)
    message_format = one_of(FORMATS, custom.get("format") or "json", f"{where} format")
    columns = _columns(obj, message_format, where)
    names = [c.name for c in columns]
    stream = identifier(obj.get("name"), f"{where} schema[0].name")
    return Contract(
        id=str(doc.get("id") or stream),
        version=str(doc.get("version") or "0"),
        stream=stream,
        topic=str(custom.get("topic") or stream),
        table=identifier(obj.get("physicalName") or stream.upper(), where),
        event_time=_event_time(custom, columns, message_format, where),
        columns=columns,
        metrics=tuple(
            _metric(q, names, f"{where} schema[0].quality")
            for q in as_objects(obj.get("quality"), f"{where} schema[0].quality")
            if q.get("type", "library") == "library"
        ),
        partitions=int(as_number(custom.get("partitions"), f"{where} partitions") or 1),
        compacted=_flag(custom.get("compacted"), f"{where} compacted"),
        max_quarantine_percent=as_percent(
            custom.get("maxQuarantinePercent"), f"{where} maxQuarantinePercent"
        ),
        freshness_seconds=promised_seconds(doc, ("freshness", "latency"), where),
        format=message_format,
        subject=str(custom.get("subject") or ""),
        validate=_flag(custom.get("validate"), f"{where} validate"),
        path=where,
    )


def _columns(obj: dict[str, Any], message_format: str, where: str) -> tuple[Column, ...]:
    properties = as_objects(obj.get("properties"), f"{where} schema[0].properties")
    columns = tuple(parse_column(p, f"{where} schema[0].properties[{i}]") for i, p in enumerate(properties))
    names = [c.name.lower() for c in columns]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise wrong(f"column named twice: {twice}", where, "Rename one; upper and lower case are the same.")
    if taken := sorted(set(names) & _COORDINATES):
        raise wrong(f"{taken} are columns that every table has", where, "Rename them.")
    binary = [c.name for c in columns if c.binary]
    if message_format == "raw" and not (len(columns) == 1 and binary):
        raise wrong(
            "format raw has one column, of physicalType BINARY",
            where,
            "Declare only value: BINARY, or a format.",
        )
    if message_format in ("json", "jsonschema") and binary:
        raise wrong(f"JSON has no bytes for {binary}", where, "Use VARCHAR, or the format avro or protobuf.")
    return columns


def _event_time(custom: dict[str, Any], columns: tuple[Column, ...], message_format: str, where: str) -> str:
    """The column that says when an event happened; for raw bytes Kafka's own time."""
    chosen = custom.get("eventTimeColumn") or (KAFKA_TIME if message_format == "raw" else "event_time")
    times = [c.name for c in columns if c.logical_type == "timestamp"]
    if chosen != KAFKA_TIME and chosen not in times:
        raise wrong(
            f"eventTimeColumn {chosen!r} is not a column of type timestamp",
            where,
            f"Choose one of {[*times, KAFKA_TIME]}; {KAFKA_TIME} is Kafka's own.",
        )
    return str(chosen)


def _flag(value: Any, where: str) -> bool:
    if value in (None, True, False):
        return bool(value)
    raise wrong(f"{value!r:.60} is neither true nor false", where, "Write true or false, without quotes.")


_METRICS = ("duplicateValues", "nullValues", "invalidValues", "rowCount")


def _metric(q: dict[str, Any], names: list[str], where: str) -> Metric:
    metric, ident = q.get("metric"), str(q.get("id") or q.get("metric"))
    if metric not in _METRICS:
        raise wrong(
            f"quality {ident}: metric {metric!r} is unknown", where, f"Use one of {', '.join(_METRICS)}."
        )
    place = f"{where} {ident}"
    args = as_object(q.get("arguments"), place)
    columns = as_texts(args.get("properties"), place)
    for c in columns:
        if c not in names:
            raise wrong(f"quality {ident}: {c!r} is not a column", where, f"Choose of {names}.")
    low, high = _bounds(q, place)
    if low is None and high is None:
        raise wrong(f"quality {ident}: no bound", where, "Add mustBe, mustBeLessOrEqualTo, mustBeBetween …")
    return Metric(
        id=ident,
        metric=metric,
        columns=columns,
        unit=str(q.get("unit", "rows")),
        low=low,
        high=high,
        critical=q.get("severity") == "critical",
        values=as_texts(args.get("validValues"), place),
    )


def _bounds(q: dict[str, Any], where: str) -> tuple[float | None, float | None]:
    """The interval that the measured number must lie in. Strict bounds are closed at the next smaller unit of
    counting.
    """
    if "mustBe" in q:
        exact = as_number(q["mustBe"], where)
        return exact, exact
    if "mustBeBetween" in q:
        between = q["mustBeBetween"]
        if not isinstance(between, list) or len(between) != 2:
            raise wrong(f"mustBeBetween {between!r:.60} is not a pair", where, "Write [low, high].")
        return as_number(between[0], where), as_number(between[1], where)
    low = as_number(q.get("mustBeGreaterOrEqualTo"), where)
    high = as_number(q.get("mustBeLessOrEqualTo"), where)
    step = 1 if q.get("unit", "rows") == "rows" else 1e-9
    above, below = as_number(q.get("mustBeGreaterThan"), where), as_number(q.get("mustBeLessThan"), where)
    return (low if above is None else above + step), (high if below is None else below - step)
