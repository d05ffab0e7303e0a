"""Pictures of the control room, taken of the running local platform.

``python scripts/screenshots.py`` takes those that the documentation embeds, and puts them into docs/images.
``python scripts/screenshots.py --all FOLDER`` takes every page light, dark and narrow, to be looked at; also
the control room inside the Airflow UI, the replay dialog and a fraud case. Without a browser nothing is done,
and why is said.
"""

from __future__ import annotations

import argparse
import functools
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from madhatter_provider.core.errors import ConfigurationError, MadHatterError
from madhatter_provider.local.platform import Platform
from madhatter_provider.testing import browser as chromium
from madhatter_provider.testing.browser import WatchedPage

if TYPE_CHECKING:
    from PIL import Image
    from playwright.sync_api import Page

ROOT: Final = Path(__file__).parents[1]
IMAGES: Final = ROOT / "docs/images"
PAGES: Final = (
    "streams",
    "stream?name=clicks",
    "fraud",
    "sales",
    "operations",
    "quality",
    "quarantine?stream=clicks",
)
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "": {"color_scheme": "light"},
    "-dark": {"color_scheme": "dark"},
    "-narrow": {"color_scheme": "light", "viewport": {"width": 420, "height": 900}},
}
SETTLE_MS: Final = 1500

Take = Callable[[WatchedPage, Path], None]


def main() -> int:
    """Take them; the number of faults in the pages is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="take every page in every look")
    look_at: Path | None = parser.parse_args().all
    if why := chromium.missing():
        print(f"No screenshots: {why}")
        return 0
    try:
        platform = running_platform()
    except MadHatterError as err:
        print(err, file=sys.stderr)
        return 1
    out = look_at or IMAGES
    out.mkdir(parents=True, exist_ok=True)
    wanted = pictures() if look_at else {name: pictures()[name] for name in sorted(embedded())}
    user = ("admin", platform.airflow_passwords["admin"])
    faults: list[str] = []
    with chromium.running_browser() as browser:
        for name, (take, look) in wanted.items():
            watched = WatchedPage(browser, platform.airflow_url, user, **look)
            take(watched, out / name)
            faults += [f"{name}: {e}" for e in (*watched.errors, *watched.foreign)]
            watched.close()
    for fault in faults:
        print(fault, file=sys.stderr)
    return min(len(faults), 100)


def pictures() -> dict[str, tuple[Take, dict[str, Any]]]:
    """Every picture that can be taken, by its file's name: how it is taken, and how the page looks."""
    subjects: dict[str, Take] = {path.partition("?")[0]: functools.partial(whole, path) for path in PAGES}
    subjects |= {"in-airflow": inside_airflow, "replay": replay_dialog, "case": newest_case}
    return {
        f"control-room-{subject}{name}.png": (take, look)
        for subject, take in subjects.items()
        for name, look in LOOKS.items()
    }


def embedded() -> set[str]:
    """Names of the pictures that the documentation shows."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = re.compile(r"!\[[^\]]+\]\([^)]*images/([^)]+)\)")
    return {name for page in pages for name in shown.findall(page.read_text())}


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


def whole(path: str, watched: WatchedPage, file: Path) -> None:
    """A page from its top, at most two screens high."""
    page = opened(watched, f"madhatter/{path}")
    height = page.evaluate("document.documentElement.scrollHeight")
    viewport = page.viewport_size or {"width": 1360, "height": 900}
    page.set_viewport_size({"width": viewport["width"], "height": min(max(height, 400), 1800)})
    page.wait_for_timeout(SETTLE_MS)
    keep(page, file)


def opened(watched: WatchedPage, path: str) -> Page:
    """A page with its data and the brokers' answers."""
    page = watched.open(path)
    page.wait_for_selector(".live.on", timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    return page


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


def inside_airflow(watched: WatchedPage, file: Path) -> None:
    """The control room in its frame, as people find it."""
    page = watched.open("plugin/madhatter/madhatter/streams")
    page.frame_locator("iframe").locator(".live.on").wait_for(timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    keep(page, file)
    watched.errors.clear()  # Airflow's own


def replay_dialog(watched: WatchedPage, file: Path) -> None:
    """The dialog after a dry run."""
    page = opened(watched, "madhatter/stream?name=clicks")
    page.get_by_role("button", name="Replay …").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("From").fill("0:0,1:0")
    dialog.get_by_label("To, exclusive").fill("0:200,1:150")
    dialog.get_by_label("Reason").fill("rows were deleted by hand")
    dialog.get_by_role("button", name="Dry run").click()
    dialog.locator("[data-plan]").wait_for(timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    keep(page, file)


def newest_case(watched: WatchedPage, file: Path) -> None:
    """A case, as its link in a notification shows it."""
    page = opened(watched, "madhatter/fraud")
    page.locator("[data-figure=cases] tbody a.mono").first.click()
    page.locator("[data-case]").wait_for(timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    keep(page, file)


if __name__ == "__main__":
    sys.exit(main())
