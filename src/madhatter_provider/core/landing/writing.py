"""What whoever writes a slice has to know."""

from __future__ import annotations

from dataclasses import dataclass

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.decoders import SchemaSource
from madhatter_provider.core.landing.files import PARQUET, FileOptions
from madhatter_provider.core.slices.offsets import Slice


@dataclass(frozen=True, slots=True)
class Writing:
    """What is written, for whom, under which contract, and how. Picklable: a worker process gets it whole."""

    contract: Contract
    owned: Slice
    run_id: str
    options: FileOptions = PARQUET
    schemas: SchemaSource | None = None
