"""Pictures of the control room for docs/images, taken of the running local platform.

``python scripts/screenshots.py [--out docs/images]``: every page light, and two of them dark and narrow; the
control room inside the Airflow UI; the replay dialog. Without a browser nothing is done, and why is said.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from madhatter_provider.core.errors import ConfigurationError, MadHatterError
from madhatter_provider.local.platform import Platform
from madhatter_provider.testing import browser as chromium
from madhatter_provider.testing.browser import WatchedPage

if TYPE_CHECKING:
    from PIL import Image
    from playwright.sync_api import Browser, Page

PAGES = (
    "streams",
    "stream?name=clicks",
    "fraud",
    "sales",
    "operations",
    "quality",
    "quarantine?stream=clicks",
)
DARK = ("streams", "stream?name=clicks", "fraud", "operations")
NARROW = ("streams", "stream?name=clicks", "sales")
SETTLE_MS = 1500


def main() -> int:
    """Take them all; the number of pages with an error is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out: Path = parser.parse_args().out
    if why := chromium.missing():
        print(f"No screenshots: {why}")
        return 0
    try:
        platform = running_platform()
    except MadHatterError as err:
        print(err, file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    user = ("admin", platform.airflow_passwords["admin"])
    with chromium.running_browser() as browser:
        faults = take(browser, platform.airflow_url, user, out)
    for fault in faults:
        print(fault, file=sys.stderr)
    return min(len(faults), 100)


def running_platform() -> Platform:
    """The local platform.

    :raises ConfigurationError: it does not run.
    """
    platform = Platform()
    if not any(s.name == "airflow-api-server" and s.alive for s in platform.services):
        raise ConfigurationError(
            "The local platform does not run", where=str(platform.home.root), remedy="make demo KEEP=1"
        )
    return platform


def take(browser: Browser, url: str, user: tuple[str, str], out: Path) -> list[str]:
    """All pictures; what went wrong in the pages."""
    faults: list[str] = []
    wanted: list[tuple[str, str, dict[str, Any]]] = [
        (p, name_of(p), {"color_scheme": "light"}) for p in PAGES
    ]
    wanted += [(p, f"{name_of(p)}-dark", {"color_scheme": "dark"}) for p in DARK]
    small = {"color_scheme": "light", "viewport": {"width": 420, "height": 900}}
    wanted += [(p, f"{name_of(p)}-narrow", small) for p in NARROW]
    for path, name, options in wanted:
        watched = WatchedPage(browser, url, user, **options)
        picture(opened(watched, f"madhatter/{path}"), out / f"control-room-{name}.png")
        faults += [f"{name}: {e}" for e in (*watched.errors, *watched.foreign)]
        watched.close()
    faults += inside_airflow(browser, url, user, out)
    faults += replay_dialog(browser, url, user, out)
    faults += newest_case(browser, url, user, out)
    return faults


def name_of(path: str) -> str:
    """A page's name."""
    return path.partition("?")[0]


def opened(watched: WatchedPage, path: str) -> Page:
    """A page with its data and the brokers' answers."""
    page = watched.open(path)
    page.wait_for_selector(".live.on", timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    return page


def picture(page: Page, file: Path) -> None:
    """The page from its top, at most two screens high."""
    height = page.evaluate("document.documentElement.scrollHeight")
    viewport = page.viewport_size or {"width": 1360, "height": 900}
    page.set_viewport_size({"width": viewport["width"], "height": min(max(height, 400), 1800)})
    page.wait_for_timeout(SETTLE_MS)
    keep(page, file)


def keep(page: Page, file: Path) -> None:
    """The picture with 256 colours: a page has few, no eye sees it, and the file is a third."""
    from PIL import Image

    with Image.open(io.BytesIO(page.screenshot())) as shot:
        few_colours(shot.convert("RGB")).save(file, "PNG", optimize=True)
    print(f"{file} {file.stat().st_size // 1024} kB")


def few_colours(shot: Image.Image) -> Image.Image:
    """Those of large areas as they are, the others as near as the rest of 256 allows."""
    from PIL import Image

    counted = cast("list[tuple[int, tuple[int, ...]]]", shot.getcolors(shot.width * shot.height))
    exact = [colour for _, colour in sorted(counted, reverse=True)[:64]]
    near = shot.quantize(192, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in exact for part in colour] + near)
    return shot.quantize(palette=palette, dither=Image.Dither.NONE)


def inside_airflow(browser: Browser, url: str, user: tuple[str, str], out: Path) -> list[str]:
    """The control room in its frame, as people find it."""
    watched = WatchedPage(browser, url, user, color_scheme="light")
    page = watched.open("plugin/madhatter/madhatter/streams")
    page.frame_locator("iframe").locator(".live.on").wait_for(timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    file = out / "control-room-in-airflow.png"
    keep(page, file)
    watched.close()
    return [f"in Airflow: {address}" for address in watched.foreign]


def replay_dialog(browser: Browser, url: str, user: tuple[str, str], out: Path) -> list[str]:
    """The dialog after a dry run."""
    watched = WatchedPage(browser, url, user, color_scheme="light")
    page = opened(watched, "madhatter/stream?name=clicks")
    page.get_by_role("button", name="Replay …").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("From").fill("0:0,1:0")
    dialog.get_by_label("To, exclusive").fill("0:200,1:150")
    dialog.get_by_label("Reason").fill("rows were deleted by hand")
    dialog.get_by_role("button", name="Dry run").click()
    dialog.locator("[data-plan]").wait_for(timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    file = out / "control-room-replay.png"
    keep(page, file)
    watched.close()
    return [f"replay: {e}" for e in watched.errors]


def newest_case(browser: Browser, url: str, user: tuple[str, str], out: Path) -> list[str]:
    """A case, as its link in a notification shows it."""
    watched = WatchedPage(browser, url, user, color_scheme="light")
    page = opened(watched, "madhatter/fraud")
    page.locator("[data-figure=cases] tbody a.mono").first.click()
    page.locator("[data-case]").wait_for(timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    keep(page, out / "control-room-case.png")
    watched.close()
    return [f"case: {e}" for e in (*watched.errors, *watched.foreign)]


if __name__ == "__main__":
    sys.exit(main())
