"""What the provider says of itself is true."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.get_provider_info import get_provider_info

PACKAGE = Path(__file__).parents[2] / "src/madhatter_provider"
INFO = get_provider_info()


def modules(kind: str) -> list[str]:
    if kind == "transfers":
        return [t["python-module"] for t in INFO[kind]]
    return [name for group in INFO[kind] for name in group["python-modules"]]


@pytest.mark.parametrize("kind", ["operators", "transfers", "hooks", "triggers"])
def test_every_module_named_exists(kind: str) -> None:
    for name in modules(kind):
        importlib.import_module(name)


def test_every_task_decorator_can_be_used() -> None:
    from airflow.sdk import task

    for named in INFO["task-decorators"]:
        module, _, name = named["class-name"].rpartition(".")
        assert getattr(task, named["name"]) is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("kind", "base"), [("operators", "Operator"), ("triggers", "Trigger")])
def test_every_public_class_is_in_a_module_named(kind: str, base: str) -> None:
    with_class = {
        f"madhatter_provider.{kind}.{file.stem}"
        for file in (PACKAGE / kind).glob("*.py")
        if any(
            line.startswith("class ") and f"{base}(" in line.split(":")[0]
            for line in file.read_text().split("\n")
        )
    }
    assert with_class <= set(modules(kind))


@pytest.mark.parametrize(
    ("group", "name"), [("apache_airflow_provider", "provider_info"), ("airflow.plugins", "madhatter")]
)
def test_entry_points_load(group: str, name: str) -> None:
    loaded: list[Any] = [p.load() for p in entry_points(group=group) if p.name == name]
    assert loaded


def test_airflow_accepts_the_metadata() -> None:
    from airflow.providers_manager import ProvidersManager

    assert "airflow-provider-madhatter" in ProvidersManager().providers
