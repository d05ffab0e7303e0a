"""The example of docs/how-to/landing-files.md, and its table of options, are those of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from madhatter_provider.core.landing.batch import ROW_GROUP, ROW_GROUP_BYTES
from madhatter_provider.core.landing.range_writer import FILE_BYTES
from madhatter_provider.transfers.kafka_to_object_storage import KafkaToObjectStorageOperator

PAGE = (Path(__file__).parents[3] / "docs/how-to/landing-files.md").read_text()


def test_the_example_makes_a_dag() -> None:
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {}
    exec(example.group(1), names)
    assert names["dag"].task_dict.keys() == {"claim", "land"}


def test_the_options_and_figures_are_those_of_the_code() -> None:
    parameters = inspect.signature(KafkaToObjectStorageOperator.__init__).parameters
    for name in re.findall(r"^\| `(\w+)=", PAGE, re.MULTILINE):
        assert name in parameters
    assert (ROW_GROUP, ROW_GROUP_BYTES, FILE_BYTES) == (50_000, 8 << 20, 1 << 30)
    assert "50,000 messages" in PAGE
    assert "8 MiB" in PAGE
