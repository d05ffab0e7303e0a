"""Packages that only some users need."""

from __future__ import annotations

import importlib
from typing import Any

from madhatter_provider.core.errors import ConfigurationError


def required_package(module: str, extra: str) -> Any:
    """Import a module.

    :param extra: the extra of this package that brings it.
    :raises ConfigurationError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise ConfigurationError(
            f"The package of {module} is not installed",
            where=str(err),
            remedy=f'Install it: pip install "airflow-provider-madhatter[{extra}]".',
        ) from err
