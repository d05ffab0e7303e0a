"""Which command a Flex Template stands for on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from madhatter_provider.core.errors import ConfigurationError


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pipeline's command line (parameters of a launch follow as ``--name=value``), its kind and its
    environment.
    """

    command: tuple[str, ...]
    streaming: bool = False
    environment: dict[str, str] = {}


def load_templates(path: Path) -> Mapping[str, Template]:
    """Read a JSON file ``{"gs://bucket/template.json": {"command": […], "streaming": true, "environment":
    {…}}}``.

    :raises ConfigurationError: the file cannot be read or says something else.
    """
    try:
        templates = msgspec.json.decode(path.read_bytes(), type=dict[str, Template])
    except (OSError, msgspec.DecodeError) as err:
        raise ConfigurationError(
            f"Cannot read the templates: {err}",
            where=str(path),
            remedy="Expected path of a template to its command.",
        ) from err
    empty = sorted(name for name, template in templates.items() if not template.command)
    if empty:
        raise ConfigurationError(
            f"Templates without a command: {empty}", where=str(path), remedy="Name the command."
        )
    return templates
