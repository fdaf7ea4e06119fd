"""Pictures of the Space: starts it from a run, walks through its tabs in Chromium, and writes a WebP for each.

    python training/screenshots.py runs/demo --output training/screenshots
    python training/screenshots.py http://127.0.0.1:7860 --output shots --theme dark

Needs `chromium` and `chromedriver` (Debian: `apt-get install chromium chromium-driver fonts-noto-color-emoji`).
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDTHS = (1280, 390)
# Of a page: picture name -> ids of the buttons that lead to it, each pressed when the one before has been answered.
VIEWS = {
    "user": ["tab:A user"],
    "new_person": ["tab:Something new", "tab:A new person", "example:new-person", "new-recommend"],
    "new_item": ["tab:Something new", "tab:A new item", "example:new-item", "item-place"],
    "results": ["tab:How good is it"],
}
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
)
_LONGEST = 6_000  # pixels of a page
_BYTES = 200_000


@contextmanager
def browser(width: int) -> Iterator[Any]:
    """Chromium without a window, with a profile of its own; the page is `width` pixels wide."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        raise SystemExit("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory() as profile:
        options = ChromeOptions()
        options.binary_location = binary
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        chrome = Chrome(options=options, service=ChromeService(driver))
        try:
            # A window has a smallest width; a device has none.
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            yield chrome
        finally:
            chrome.quit()


_FIND = {
    "tab": "[...document.querySelectorAll('button[role=tab]')].find(b => b.innerText.trim() == arguments[0])",
    "example": "document.querySelector('#' + arguments[0] + ' .gallery-item, #' + arguments[0] + ' tr.tr-body')",
    "": "document.querySelector('#' + arguments[0])",
}


def walk(chrome: Any, steps: list[str], patience: float = 60.0) -> None:
    """Do what VIEWS names: `tab:NAME`, `example:ID` (its first one) or the id of a button."""
    for step in steps:
        kind, _, name = step.rpartition(":")
        # Found and pressed in one breath: the page builds its tabs anew when it has measured them.
        script = f"const found = {_FIND[kind]}; if (found) found.click(); return !!found"
        end = time.monotonic() + patience
        settle(chrome, patience)
        while not chrome.execute_script(script, name):
            if time.monotonic() > end:
                raise SystemExit(f"{step}: not found on the page")
            time.sleep(0.2)
        settle(chrome, patience)


def settle(chrome: Any, patience: float = 60.0) -> None:
    """Wait until nothing is being computed."""
    end = time.monotonic() + patience
    time.sleep(0.6)
    while chrome.execute_script("return !!document.querySelector('.generating, .pending, .eta-bar, .progress-text')"):
        if time.monotonic() > end:
            raise SystemExit("the page did not come to rest")
        time.sleep(0.2)
    time.sleep(0.6)  # answers fade in


def picture(chrome: Any, path: Path, height: int | None) -> None:
    """The page from its top, whole or its first `height` pixels, as a WebP of less than 200 kB."""
    import base64

    from PIL import Image

    whole = int(chrome.execute_script("return document.documentElement.scrollHeight"))
    width = int(chrome.execute_script("return innerWidth"))
    clip = {"x": 0, "y": 0, "width": width, "height": min(height or whole, whole, _LONGEST), "scale": 1}
    shot = chrome.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in (90, 80, 65, 50):
        image.save(path, quality=quality, method=6)
        if path.stat().st_size < _BYTES:
            break
    print(f"{path}: {image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="run folder, recommender, Hub id, or the address of a Space that runs")
    parser.add_argument("--output", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--theme", choices=("light", "dark", "both"), default="light")
    parser.add_argument("--views", nargs="+", choices=list(VIEWS), default=list(VIEWS))
    parser.add_argument("--width", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--height", type=int, help="pixels from the top; default: the whole page")
    given = parser.parse_args()
    url = given.source
    if not url.startswith("http"):
        from reclm_hf.space.app import start
        from reclm_hf.space.sources import settings_of

        url = start(settings_of(given.source), block=False)
    for width in given.width:
        with browser(width) as chrome:
            for theme in ("light", "dark") if given.theme == "both" else (given.theme,):
                for view in given.views:
                    chrome.get(f"{url.rstrip('/')}/?__theme={theme}")
                    walk(chrome, VIEWS[view])
                    dark = "_dark" if theme == "dark" else ""
                    picture(chrome, given.output / f"{view}_{width}{dark}.webp", given.height)


if __name__ == "__main__":
    main()
