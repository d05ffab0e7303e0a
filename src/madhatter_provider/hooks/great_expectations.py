"""Great Expectations against Snowflake: a suite over the rows of a query, and a page about it.

Importing Great Expectations takes five seconds of CPU and 300 MB: it happens inside the methods, once a
process.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from madhatter_provider.core.errors import MadHatterError, SnowflakeUnavailable, SqlError
from madhatter_provider.core.warehouse.suite import Expectation, Outcome
from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile, load_private_key
from madhatter_provider.hooks.snowflake_rest import connection_profile

_OUTAGE = ("OperationalError", "InterfaceError", "250001", "timed out", "Connection refused")


class GreatExpectationsHook:
    """Checks rows in Snowflake with the stock Snowflake datasource.

    :param snowflake_conn_id: connection id of Snowflake (official type, key pair).
    """

    def __init__(self, snowflake_conn_id: str = "snowflake_default") -> None:
        self.snowflake_conn_id = snowflake_conn_id

    @cached_property
    def profile(self) -> SnowflakeProfile:
        """The connection.

        :raises ConfigurationError: it is missing or has no key pair.
        """
        return connection_profile(self.snowflake_conn_id)

    def check(self, name: str, query: str, suite: Sequence[Expectation]) -> tuple[list[Outcome], str]:
        """Check the rows of a query.

        :param name: what the page calls it.
        :returns: one outcome per expectation, and an HTML page without any value of the data in it.
        :raises SnowflakeUnavailable: Snowflake did not answer: nothing was judged.
        :raises SqlError: an expectation could not be evaluated, a column is missing for example.
        """
        try:
            result = self._validate(name, query, suite)
        except MadHatterError:
            raise
        except Exception as err:
            raise _as_error(name, f"{type(err).__name__}: {err}") from err
        by_id = {e.id: e for e in suite}
        outcomes = [_outcome(by_id[r.expectation_config.meta["id"]], r, name) for r in result.results]
        return outcomes, _page(result)

    def _validate(self, name: str, query: str, suite: Sequence[Expectation]) -> Any:
        import great_expectations as gx

        context, source = self._context, self._source
        asset = source.add_query_asset(name=name, query=query)
        rows = asset.add_batch_definition_whole_table("rows")
        expectations: list[Any] = [e.as_dict() for e in suite]
        known = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        definition = gx.ValidationDefinition(name=name, data=rows, suite=known)
        validation = context.validation_definitions.add(definition)
        return validation.run(result_format={"result_format": "SUMMARY", "partial_unexpected_count": 0})

    @cached_property
    def _context(self) -> Any:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        import great_expectations as gx

        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        context: Any = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        return context

    @cached_property
    def _source(self) -> Any:
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        profile = self.profile
        der = load_private_key(profile).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        address = {"host": profile.host, "port": profile.port} if profile.host else {}
        arguments = {**address, "disable_ocsp_checks": not profile.check_revocation}
        return self._context.data_sources.add_snowflake(
            name="snowflake",
            account=profile.account,
            user=profile.user,
            private_key=base64.b64encode(der).decode(),
            database=profile.database or "MADHATTER",
            schema=profile.schema or "RAW",
            warehouse=profile.warehouse or "MADHATTER",
            role=profile.role or "MADHATTER",
            kwargs={"connect_args": arguments},
        )


def _outcome(expectation: Expectation, result: Any, name: str) -> Outcome:
    if message := _exception(result.exception_info or {}):
        raise _as_error(f"{name}, expectation {expectation.id}", message)
    found: Mapping[str, Any] = result.result or {}
    observed = found.get("observed_value")
    return Outcome(
        expectation,
        passed=bool(result.success),
        observed="" if observed is None else str(observed),
        checked=found.get("element_count"),
        unexpected=found.get("unexpected_count"),
    )


def _exception(info: Mapping[str, Any]) -> str | None:
    """The first exception in a result; Great Expectations gives one, or one per metric."""
    several = [info] if "raised_exception" in info else [i for i in info.values() if isinstance(i, Mapping)]
    return next((str(i.get("exception_message")) for i in several if i.get("raised_exception")), None)


def _as_error(where: str, message: str) -> MadHatterError:
    if any(word in message for word in _OUTAGE):
        return SnowflakeUnavailable(
            f"Great Expectations lost Snowflake: {message[:500]}",
            where=where,
            remedy="Try again; nothing was judged.",
        )
    return SqlError(
        f"Great Expectations could not evaluate: {message[:500]}",
        where=where,
        remedy="Does the table have the contract's columns? `madhatter sql apply` adds what is missing.",
    )


def _page(result: Any) -> str:
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    return str(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result)))
