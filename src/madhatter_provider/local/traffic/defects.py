"""Rows that violate their contract, each for one known reason."""

from __future__ import annotations

import random
from typing import NamedTuple

import msgspec

from madhatter_provider.local.traffic.journey import Row

KINDS = ("broken_json", "missing_field", "wrong_type", "out_of_range", "unknown_enum")
CONTRACT_BREAK = "contract_break"


class _Fields(NamedTuple):
    """What can go wrong in a stream.

    ``ranges``: column and a value outside its range. ``renamed``: what a contract break renames.
    """

    required: tuple[str, ...]
    numeric: tuple[str, ...]
    ranges: tuple[tuple[str, float], ...]
    enums: tuple[str, ...]
    renamed: tuple[str, str]


_STREAMS = {
    "clicks": _Fields(
        ("event_time", "session_id", "device_id", "page_type", "referrer", "country", "dwell_ms"),
        ("dwell_ms",),
        (("dwell_ms", -250), ("dwell_ms", 7_200_000)),
        ("page_type", "referrer"),
        ("page_type", "pageType"),
    ),
    "searches": _Fields(
        ("event_time", "session_id", "device_id", "query", "results", "country", "latency_ms"),
        ("results", "latency_ms"),
        (("results", -1), ("results", 5_000_000), ("latency_ms", -40)),
        (),
        ("query", "q"),
    ),
    "transactions": _Fields(
        (
            "event_time",
            "order_id",
            "customer_id",
            "session_id",
            "device_id",
            "card_id",
            "merchant_id",
            "amount",
            "currency",
            "status",
        ),
        ("amount", "items", "latitude", "longitude"),
        (
            ("amount", -12.5),
            ("amount", 2_500_000.0),
            ("items", 0),
            ("latitude", 123.4),
            ("longitude", -512.0),
        ),
        ("merchant_category", "currency", "payment_method", "status", "channel"),
        ("amount", "amount_minor"),
    ),
    "system_logs": _Fields(
        ("event_time", "service", "host", "level", "action", "duration_ms", "message"),
        ("duration_ms", "status_code"),
        (("status_code", 999), ("duration_ms", -5), ("duration_ms", 86_400_000)),
        ("service", "level", "action"),
        ("message", "msg"),
    ),
    "iot_telemetry": _Fields(
        ("event_time", "sensor_id", "sensor_type", "site_id", "value", "unit", "battery_percent", "status"),
        ("value", "battery_percent"),
        (("value", 4096.0), ("value", -273.15), ("battery_percent", 140)),
        ("sensor_type", "unit", "status"),
        ("value", "reading"),
    ),
}
_NOT_A_NUMBER = ("n/a", "unknown", "twelve", {"value": 12})
_UNKNOWN = ("other", "UNKNOWN_7", "legacy", "tbd")


def spoil(rng: random.Random, stream: str, row: Row) -> tuple[str, bytes]:
    """A copy of a row with one defect.

    :return: the kind of defect and the message's bytes.
    """
    fields = _STREAMS[stream]
    kind = rng.choice([k for k in KINDS if k != "unknown_enum" or fields.enums])
    bad = dict(row)
    if kind == "broken_json":
        whole = msgspec.json.encode(bad)
        return kind, whole[: rng.randrange(5, len(whole) - 1)]
    if kind == "missing_field":
        del bad[rng.choice(fields.required)]
    elif kind == "wrong_type":
        bad[rng.choice(fields.numeric)] = rng.choice(_NOT_A_NUMBER)
    elif kind == "out_of_range":
        column, value = rng.choice(fields.ranges)
        bad[column] = value
    else:
        bad[rng.choice(fields.enums)] = rng.choice(_UNKNOWN)
    return kind, msgspec.json.encode(bad)


def break_contract(stream: str, row: Row) -> bytes:
    """The row as a producer sends it that was deployed with a renamed field and another type."""
    fields = _STREAMS[stream]
    old, new = fields.renamed
    bad = {new if name == old else name: value for name, value in row.items()}
    retyped = next(name for name in fields.numeric if name in bad)
    bad[retyped] = {"value": bad[retyped], "unit": "v2"}
    return msgspec.json.encode(bad)
