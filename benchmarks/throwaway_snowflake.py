"""A local Snowflake for one benchmark, in a process of its own and with data of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from madhatter_provider.testing.snowflake import RunningSnowflake, make_authority


@contextmanager
def throwaway_snowflake() -> Iterator[RunningSnowflake]:
    """The running server. This process trusts it; it ends with the block, and its data with it."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Path(folder, "authority")
        authority.mkdir()
        server = RunningSnowflake(Path(folder), make_authority(authority))
        os.environ.update(server.trust)
        server.start()
        try:
            yield server
        finally:
            server.stop(grace=0)
