"""URLs of Looker Studio's Linking API: a copy of a template report, under the dashboard's name.

The Snowflake connector is a partner's and its parameters are not documented. So the URL does not name a
connector: the copy keeps the data sources of the template, with the names that are given here. Nothing
secret is ever part of a URL: people sign in to Snowflake in Looker Studio.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from madhatter_provider.core.dashboards.definition import Dashboard
from madhatter_provider.core.errors import ConfigurationError

CREATE = "https://lookerstudio.google.com/reporting/create"
_REPORT_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_REPORT_IN_URL = re.compile(r"/reporting/([A-Za-z0-9_-]{8,64})")


def report_id(given: str) -> str:
    """The id of a report, from its id or its address.

    :raises ConfigurationError: it is neither.
    """
    match = _REPORT_IN_URL.search(given)
    found = match[1] if match else given.strip()
    if not _REPORT_ID.fullmatch(found):
        raise ConfigurationError(
            f"{given!r} is no report of Looker Studio",
            where="the template",
            remedy="Open the template report and give the part of its address behind /reporting/.",
        )
    return found


def alias(mart: str) -> str:
    """The alias that the template's data source of a mart must have."""
    return mart.lower()


def link(dashboard: Dashboard, template: str, *, page: str | None = None) -> str:
    """The address that makes this dashboard's report.

    :param template: id or address of the template report.
    :param page: id of the template's page to begin with.
    """
    parameters: dict[str, str] = {"c.reportId": report_id(template), "c.mode": "edit"}
    if page:
        parameters["c.pageId"] = page
    parameters["r.reportName"] = f"MadHatter: {dashboard.title}"
    for mart in sorted(dashboard.marts):
        parameters[f"ds.{alias(mart)}.datasourceName"] = f"MARTS.{mart}"
    return f"{CREATE}?{urlencode(parameters)}"


def links(dashboards: list[Dashboard], templates: Mapping[str, str], default: str | None) -> dict[str, str]:
    """Addresses by dashboard.

    :param templates: template by dashboard.
    :param default: template of the others; they are left out without one.
    :raises ConfigurationError: a template is for a dashboard that there is not.
    """
    known = {d.name for d in dashboards}
    if unknown := sorted(set(templates) - known):
        raise ConfigurationError(
            f"There is no dashboard {unknown[0]!r}",
            where="--template",
            remedy=f"Known are {', '.join(sorted(known))}.",
        )
    chosen = {d.name: templates.get(d.name, default) for d in dashboards}
    return {d.name: link(d, template) for d in dashboards if (template := chosen[d.name])}
