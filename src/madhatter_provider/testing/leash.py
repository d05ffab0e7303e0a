"""Run a command that ends with the process that started it, however that one ends.

``python -m madhatter_provider.testing.leash COMMAND …``. A test run that is killed runs no fixture's end; its
brokers would be left running for ever. Linux only; elsewhere the command just runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def leashed(command: list[str]) -> list[str]:
    """The command on a leash, if the main thread starts it: the kernel ends a child with the thread that
    started it, and other threads end before the process does.
    """
    if threading.current_thread() is not threading.main_thread():
        return command
    return [sys.executable, "-m", "madhatter_provider.testing.leash", *command]


def main() -> None:
    """Become the command; the kernel keeps the leash over that."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the leash was on
            sys.exit(1)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
