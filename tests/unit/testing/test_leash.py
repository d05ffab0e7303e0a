"""What a test run started ends with it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from madhatter_provider.local.process import wait_gone
from madhatter_provider.testing.leash import leashed


# Elsewhere the leash is documented to do nothing, so there is nothing to test.
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel ends children with their parent")
def test_a_killed_parent_takes_its_service_along() -> None:
    script = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({leashed(['sleep', '60'])!r}, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = psutil.Process(int(parent.stdout.readline()))
    while child.name() != "sleep":
        pass
    parent.kill()
    parent.wait()
    wait_gone([child], 5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_command_that_does_not_exist_is_said() -> None:
    done = subprocess.run(leashed(["no-such-command"]), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "No such file" in done.stderr


def test_a_thread_that_ends_takes_no_service_along() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(leashed, ["sleep"]).result() == ["sleep"]
