"""What the demo says of the recommendations: their quality, and whether the topic has what the table has."""

from __future__ import annotations

import json
from typing import Any

from madhatter_provider.core.recommendations.publication import TOPIC
from madhatter_provider.core.warehouse.sql_client import Sql
from madhatter_provider.local.oracle import read_topic

_LISTS = """SELECT CUSTOMER_ID, LISTAGG(PRODUCT_ID, ',') WITHIN GROUP (ORDER BY POSITION) AS PRODUCTS
FROM MARTS.RECOMMENDATIONS_PER_CUSTOMER GROUP BY CUSTOMER_ID"""
_QUALITY = """SELECT SESSIONS, HIT_RATE_AT_10, POPULARITY_HIT_RATE_AT_10, COVERAGE
FROM MARTS.RECOMMENDATION_LIFT ORDER BY EVALUATED_AT DESC LIMIT 1"""


def recommendation_facts(sql: Sql, bootstrap: str) -> dict[str, Any]:
    """Newest quality (``None`` where nothing was held out), lists made, and lists that the topic lacks or has
    otherwise.
    """
    made = {str(r["CUSTOMER_ID"]): str(r["PRODUCTS"]) for r in sql.execute(_LISTS)}
    measured = (sql.execute(_QUALITY) or [{}])[0]
    shares = {
        name: None if measured.get(name.upper()) is None else round(float(measured[name.upper()]), 4)
        for name in ("hit_rate_at_10", "popularity_hit_rate_at_10", "coverage")
    }
    sent = _newest(bootstrap)
    return {
        **shares,
        "sessions": int(measured.get("SESSIONS") or 0),
        "lists": len(made),
        "not_on_topic": sum(sent.get(customer) != products for customer, products in made.items()),
    }


def _newest(bootstrap: str) -> dict[str, str]:
    """Products of the newest message of every customer. Those of one are in one partition, in order."""
    newest: dict[str, str] = {}
    for _, _, value in read_topic(bootstrap, TOPIC).rows:
        if value:
            row = json.loads(value)
            newest[row["customer_id"]] = ",".join(p["product_id"] for p in row["products"])
    return newest
