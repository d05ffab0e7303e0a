"""The Airflow plugin. Every Airflow process imports it, so the app itself is imported at its first request
only.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from madhatter_provider.links.control_room import APP, base_path


class LazyApp:
    """An ASGI app that is made when it is first called."""

    _app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if self._app is None:
            from madhatter_provider.control_room.app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


class MadHatterPlugin(AirflowPlugin):
    """Adds the control room to Airflow's navigation."""

    name = "madhatter"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": APP, "name": "MadHatter control room"}]
    external_views = [
        {
            "name": "MadHatter",
            "href": f"{base_path()}{APP}/streams",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "madhatter",
            "icon": f"{base_path()}{APP}/static/hat.svg",
        }
    ]
