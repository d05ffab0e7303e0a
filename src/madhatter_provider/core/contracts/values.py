"""Values of a contract's document, read or refused with their place.

Every function takes ``where``, the place in the document, and raises :class:`ContractError` that names it.
"""

from __future__ import annotations

import re
from typing import Any

from madhatter_provider.core.errors import ContractError

_COMPARE = "Compare with a file in include/contracts."
_IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def wrong(what: str, where: str, remedy: str) -> ContractError:
    return ContractError(f"Contract: {what}", where=where, remedy=remedy)


def identifier(name: Any, where: str) -> str:
    """Names become topic, file and SQL names: nothing that needs quoting may get in."""
    if not isinstance(name, str) or not _IDENTIFIER.match(name):
        raise wrong(f"{name!r} is not a plain name", where, "Use letters, digits and underscores.")
    return name


def as_objects(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects; nothing is an empty one."""
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(v, dict) for v in value):
        return value
    raise wrong(f"{value!r:.60} is not a list of objects", where, _COMPARE)


def as_object(value: Any, where: str) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    raise wrong(f"{value!r:.60} is not an object", where, _COMPARE)


def named_values(doc: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """A list of ``property`` and ``value`` as a mapping."""
    return {str(p.get("property")): p.get("value") for p in as_objects(doc.get(key), f"{where} {key}")}


def as_texts(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list) and not any(isinstance(v, list | dict) for v in value):
        return tuple(str(v) for v in value)
    raise wrong(f"{value!r:.60} is not a list of values", where, _COMPARE)


def as_number(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise wrong(f"{value!r:.60} is not a number", where, "Write a number, without quotes.")


def one_of(choices: tuple[str, ...], value: Any, where: str) -> str:
    if value not in choices:
        raise wrong(f"{value!r:.60} is none of its choices", where, f"Use one of {', '.join(choices)}.")
    return str(value)


_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}


def promised_seconds(doc: dict[str, Any], properties: tuple[str, ...], where: str) -> float | None:
    """The first of these service levels that is stated, in seconds, which is also the unit of none."""
    promises = {
        str(p.get("property")): p for p in as_objects(doc.get("slaProperties"), f"{where} slaProperties")
    }
    for name in properties:
        promise = promises.get(name, {})
        place = f"{where} {name}"
        if (number := as_number(promise.get("value"), place)) is not None:
            if number <= 0:
                raise wrong(f"{number:g} is no time to keep", place, "Write a number above 0.")
            return number * _SECONDS[one_of(tuple(_SECONDS), promise.get("unit") or "s", f"{place} unit")]
    return None


def as_length(value: Any, where: str) -> int | None:
    number = as_number(value, where)
    return None if number is None else int(number)


def as_percent(value: Any, where: str) -> float:
    number = as_number(value, where)
    if number is None:
        return 100.0
    if not 0 <= number <= 100:
        raise wrong(f"{value!r} is not a percentage", where, "Write a number from 0 to 100.")
    return float(number)


def as_pattern(value: Any, where: str) -> str | None:
    try:
        if value is not None:
            re.compile(value)
    except (re.error, TypeError) as err:
        raise wrong(f"pattern {value!r:.60}: {err}", where, "Mend the regular expression.") from err
    return None if value is None else str(value)
