"""Settings of the checks that differ from their defaults: rows of ``OPS.SETTINGS``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from madhatter_provider.core.warehouse.sql import literal

TABLE: Final = "OPS.SETTINGS"


def change_settings(values: Mapping[str, float], note: str = "") -> str:
    """A statement that sets these and leaves others as they are. The platform's health names what is unknown.

    :param values: by name in ``OPS.SETTING_VALUES``.
    """
    rows = literal(json.dumps([{"N": name, "V": value} for name, value in values.items()]))
    return (
        f"MERGE INTO {TABLE} AS t USING (SELECT r.VALUE:N::VARCHAR(128) AS NAME, r.VALUE:V::FLOAT AS WANTED "
        f"FROM TABLE(FLATTEN(INPUT => PARSE_JSON({rows}))) AS r) AS s ON t.NAME = s.NAME "
        f"WHEN MATCHED THEN UPDATE SET VALUE = s.WANTED, NOTE = {literal(note)} "
        f"WHEN NOT MATCHED THEN INSERT (NAME, VALUE, NOTE) VALUES (s.NAME, s.WANTED, {literal(note)})"
    )
