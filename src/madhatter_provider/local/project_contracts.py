"""The contracts of a project, as far as the platform itself asks for them."""

from __future__ import annotations

from pathlib import Path

from madhatter_provider.core.contracts.contract import Contract, load_contract
from madhatter_provider.core.errors import ContractError
from madhatter_provider.local.topics import PUBLISHED


def readable_contracts(project: Path) -> list[Contract]:
    """Contracts of all topics of a project. One that is wrong is left out: it is said where topics are made
    of them, and must not keep anybody from ending a platform.
    """
    folder = project / "include" / "contracts"
    found = []
    for file in (*sorted(folder.glob("*.odcs.yaml")), *sorted((folder / PUBLISHED).glob("*.odcs.yaml"))):
        try:
            found.append(load_contract(file))
        except ContractError:
            continue
    return found
