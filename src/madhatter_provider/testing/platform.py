"""The whole local platform for a test: started, trusted, ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.platform import Platform


@contextmanager
def running_platform(
    home: Path,
    project: Path,
    cache: Path,
    *,
    max_wait_seconds: float = 3.0,
) -> Iterator[Platform]:
    """The platform of a project, in a folder of its own. Clients of this process trust its certificates.

    :param home: folder of its data; nothing is shared with another platform but the cache.
    :param project: holds dags/ and include/.
    :param max_wait_seconds: how long messages wait for a landing run; short, so that slices are open at any
        time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MADHATTER_CACHE", str(cache))
        patch.setenv("MADHATTER_MAX_WAIT_SECONDS", str(max_wait_seconds))
        platform = Platform(LocalHome(home, project))
        if platform.catalog.services["kafka"].kind != "real":
            pytest.skip("no Java here: the mock broker loses everything with its process")
        try:
            platform.start()
            for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
                patch.setenv(name, platform.env[name])
            yield platform
        finally:
            platform.stop()
