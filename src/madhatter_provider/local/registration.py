"""Register schemas, as producers do."""

from __future__ import annotations

from urllib.parse import quote

from madhatter_provider.core.errors import ConfigurationError, RegistryUnavailable

_SECONDS = 15.0


def register_schema(
    url: str, subject: str, text: str, kind: str = "AVRO", *, auth: tuple[str, str] | None = None
) -> int:
    """Make a schema the newest version of a subject, unless it is one already; its id.

    :param text: the schema; for Protobuf a file descriptor in base64.
    :param kind: ``AVRO``, ``PROTOBUF`` or ``JSON``.
    :param auth: name and password.
    :raises ConfigurationError: the registry refuses it.
    :raises RegistryUnavailable: it does not answer.
    """
    import httpx

    at = f"{url}/subjects/{quote(subject, safe='')}/versions"
    try:
        answer = httpx.post(at, json={"schema": text, "schemaType": kind}, auth=auth, timeout=_SECONDS)
    except httpx.HTTPError as err:
        raise RegistryUnavailable(
            f"The schema registry does not answer: {err}", where=at, remedy="Is it up, its address right?"
        ) from err
    if answer.status_code != 200:
        raise ConfigurationError(
            f"The schema registry refuses the schema: {answer.text[:500]}",
            where=at,
            remedy=f"Mend the schema ({kind}).",
        )
    return int(answer.json()["id"])
