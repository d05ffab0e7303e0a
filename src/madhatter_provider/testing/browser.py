"""A real Chromium for tests of pages, and for their pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


def missing() -> str:
    """Why there is no browser here; empty if there is one."""
    from importlib.util import find_spec

    if find_spec("playwright") is None:
        return "no Playwright here: pip install playwright"
    if _executable() is None:
        return "no Chromium here: apt-get install chromium, or set MADHATTER_BROWSER"
    return ""


def _executable() -> str | None:
    given = os.environ.get("MADHATTER_BROWSER")
    return given or next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without a window. It downloads nothing: it is the machine's own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_executable(), args=list(_ARGUMENTS))
        yield browser
        browser.close()


class WatchedPage:
    """A page of a person who is signed in to Airflow, and what went wrong in it.

    :param user: name and password of an Airflow user with SimpleAuthManager.
    """

    def __init__(self, browser: Browser, url: str, user: tuple[str, str], **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **options})
        token = self.context.request.post(
            f"{url}/auth/token", data={"username": user[0], "password": user[1]}
        )
        self.context.add_cookies([{"name": "_token", "value": token.json()["access_token"], "url": url}])
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("dialog", self._refuse)
        self.page.on("request", lambda r: self._look_at(r.url))

    def _refuse(self, dialog: Dialog) -> None:
        self.errors.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _look_at(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != urlsplit(self.url).netloc:
            self.foreign.append(address)

    def open(self, path: str) -> Page:
        """Go to a path of the host and wait until the page has its data."""
        self.page.goto(f"{self.url}/{path}", wait_until="domcontentloaded")
        return self.page

    def close(self) -> None:
        """Close the page and forget the person."""
        self.context.close()
