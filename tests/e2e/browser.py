"""Chromium without a window, and what a test asks of a page: that it is wide, legible and quiet enough."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--force-prefers-reduced-motion"),
]
PATIENCE = 60.0  # seconds: a busy machine is no failure

# Elements that end outside of the page, and are not in a box that scrolls by itself.
TOO_WIDE = """
const scrolls = e => e && (/auto|scroll|hidden|clip/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
const found = [...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && box.height && (box.right > innerWidth + 1 || box.left < -1 || box.width > innerWidth + 1)
    && !scrolls(e.parentElement);
}).map(e => e.tagName + '.' + e.className + ' ' + Math.round(e.getBoundingClientRect().right));
if (document.documentElement.scrollWidth > innerWidth) found.push('page ' + document.documentElement.scrollWidth);
return found;
"""

# WCAG 2's contrast of all visible text that is no picture and not disabled, with what has less than asked for.
FAINT = """
const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const behind = e => {
  if (!e) return rgba(getComputedStyle(document.documentElement).backgroundColor)[3] ?
    rgba(getComputedStyle(document.documentElement).backgroundColor) : [255, 255, 255, 1];
  const own = rgba(getComputedStyle(e).backgroundColor);
  return own[3] === 1 ? own : over(own, behind(e.parentElement));
};
const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
  return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const clear = e => e ? Number(getComputedStyle(e).opacity) * clear(e.parentElement) : 1;
const faint = [];
let seen = 0;
const look = (e, colour, text) => {
  const back = behind(e), ink = rgba(colour);
  ink[3] *= clear(e);
  const [a, b] = [light(over(ink, back)), light(back)];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  seen += 1;
  if (contrast < arguments[0]) faint.push(contrast.toFixed(2) + ' ' + colour + ' on ' + back.join() + ': ' + text);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
  const style = getComputedStyle(e);
  if (!/[\\p{L}\\p{N}]/u.test(text) || !e.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
  if (e.closest('script, style, [disabled]') || !e.getClientRects().length || e.closest('.visually-hidden')) continue;
  look(e, style.color, text.slice(0, 40));
}
for (const e of document.querySelectorAll('input, textarea')) {
  if (!e.checkVisibility() || !e.getClientRects().length || /checkbox|radio|range/.test(e.type)) continue;
  look(e, e.value ? getComputedStyle(e).color : getComputedStyle(e, '::placeholder').color, e.value || e.placeholder);
}
return [seen, faint];
"""


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """A browser with a profile in `folder`; skips where none is installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium: apt-get install chromium chromium-driver fonts-noto-color-emoji")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


class Visitor:
    """Somebody at a page of the Space."""

    def __init__(self, chrome: Any, url: str) -> None:
        self.chrome, self.url = chrome, url

    def comes(self, width: int = 1280, theme: str = "light") -> Visitor:
        """Load the page afresh, in a window so wide, and wait until it can be used."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.chrome.get(f"{self.url}/?__theme={theme}")
        self.waits(lambda: "Title" in self.text("#user-ranking"), "the first ranking")
        return self

    def run(self, script: str, *given: Any) -> Any:
        return self.chrome.execute_script(script, *given)

    def waits(self, done: Callable[[], Any], what: str) -> Any:
        """Until `done()` says something; fails after a while."""
        end = time.monotonic() + PATIENCE
        while not (found := done()):
            assert time.monotonic() < end, f"waited in vain for {what}; errors shown: {self.toasts()}"
            time.sleep(0.1)
        return found

    def text(self, css: str) -> str:
        """What is shown there, "" where there is nothing."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", css))

    def shows(self, css: str, *words: str) -> str:
        """Wait until all the words stand there."""
        self.waits(lambda: all(word in self.text(css) for word in words), f"{words} in {css}: {self.text(css)[:300]}")
        return self.text(css)

    def clicks(self, css: str) -> None:
        found = self.waits(lambda: self.chrome.find_elements("css selector", css), css)[0]
        self.run("arguments[0].scrollIntoView({block: 'center'})", found)
        found.click()

    def opens(self, *tabs: str) -> None:
        """The tabs of these names, one in the other."""
        for tab in tabs:
            script = (
                f"[...document.querySelectorAll('button[role=tab]')].find(b => b.innerText.trim() == {json.dumps(tab)})"
            )
            self.waits(lambda script=script: self.run(f"const b = {script}; if (b) b.click(); return !!b"), tab)
            self.waits(lambda script=script: self.run(f"return {script}?.ariaSelected == 'true'"), f"{tab} to open")

    def types(self, css: str, text: str, *, afresh: bool = True) -> Any:
        """Into the field there; returns it."""
        from selenium.webdriver.common.keys import Keys

        field = self.waits(lambda: self.chrome.find_elements("css selector", f"{css} textarea, {css} input"), css)[0]
        self.run("arguments[0].scrollIntoView({block: 'center'})", field)
        field.click()
        if afresh:
            field.send_keys(Keys.CONTROL, "a")
            field.send_keys(Keys.DELETE)
        field.send_keys(text)
        return field

    def value(self, css: str) -> str:
        return str(self.run("return document.querySelector(arguments[0] + ' :is(textarea, input)')?.value ?? ''", css))

    def toasts(self) -> list[str]:
        """The errors that are shown."""
        return list(
            self.run("return [...document.querySelectorAll('.toast-message-text')].map(e => e.innerText.trim())")
        )

    def console(self) -> list[str]:
        """What was written to the console since the last call."""
        return [f"{line['level']} {line['message']}" for line in self.chrome.get_log("browser")]

    def too_wide(self) -> list[str]:
        return list(self.run(TOO_WIDE))

    def faint(self, least: float = 4.5) -> list[str]:
        """Texts with less contrast once the page has come to rest; fails where it sees next to no text at all."""
        found: list[str] = []
        for _ in range(25):  # an answer fades in
            seen, found = self.run(FAINT, least)
            assert seen > 20
            if not found:
                break
            time.sleep(0.2)
        return found
