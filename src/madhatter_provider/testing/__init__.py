"""Test your own streams against real services: a pytest plugin, whose fixtures are named ``madhatter_…``,
crash points, and the oracle that compares broker and table.

pytest loads the plugin by itself once this package is installed with the extra ``testing``. See
docs/how-to/testing-your-dags.md.
"""

from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.testing.crash import Crash, crash_at, kill_at

__all__ = ["Crash", "StreamVerdict", "crash_at", "judge_stream", "kill_at"]
