"""Retry policy of this package's operators: what a retry cannot mend is not retried."""

from __future__ import annotations

from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from madhatter_provider.core.errors import TerminalError


def retry_defaults(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Operator arguments with the policy added, unless the author has chosen another."""
    rule = RetryRule(exception=TerminalError, action=RetryAction.FAIL, reason="a retry sees the same thing")
    return {"retry_policy": ExceptionRetryPolicy(rules=[rule]), **kwargs}
