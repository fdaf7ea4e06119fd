"""`report.html` in Chromium, opened as a file: narrow and wide, light and dark, every table open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reclm_hf.report.page import write_html
from tests.e2e.browser import Visitor, chromium
from tests.report.tables import SCRIPT, extras, write_tables

pytestmark = pytest.mark.browser

# What a picture draws outside of itself, in its own units.
OUTSIDE = """
return [...document.querySelectorAll('figure svg text')].filter(text => {
  const box = text.getBoundingClientRect(), svg = text.ownerSVGElement.getBoundingClientRect();
  return box.left < svg.left - 1 || box.right > svg.right + 1 || box.top < svg.top - 1 || box.bottom > svg.bottom + 1;
}).map(text => text.textContent);
"""


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """At a page with hostile labels and titles in it."""
    folder = write_tables(tmp_path_factory.mktemp("report"), label=f"{SCRIPT} llm")
    url = write_html(folder, extras(f"{SCRIPT} {'W' * 120}"), strict=True).resolve().as_uri()
    with chromium(tmp_path_factory.mktemp("chromium")) as chrome:
        yield Visitor(chrome, url)


def open_page(visitor: Visitor, width: int, theme: str) -> None:
    chrome: Any = visitor.chrome
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    chrome.get(visitor.url)
    assert visitor.run("return innerWidth") == width
    assert visitor.run("return matchMedia('(prefers-color-scheme: dark)').matches") == (theme == "dark")


@pytest.mark.parametrize("width", [1280, 1000, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_and_can_be_read(visitor: Visitor, width: int, theme: str) -> None:
    open_page(visitor, width, theme)
    assert visitor.run("return document.querySelectorAll('figure svg').length") == 13
    assert visitor.too_wide() == []
    visitor.run("document.querySelectorAll('details').forEach(entry => { entry.open = true })")
    assert visitor.too_wide() == []
    assert visitor.faint() == []
    assert visitor.run(OUTSIDE) == []
    assert visitor.console() == []
    assert visitor.run("return performance.getEntriesByType('resource').map(entry => entry.name)") == []


def test_no_text_of_data_became_an_element(visitor: Visitor) -> None:
    open_page(visitor, 1280, "light")
    assert visitor.run("return document.scripts.length") == 0
    assert visitor.run("return document.title") == "Results on tiny, test split"
    assert "<script>alert(1)</script>" in visitor.text("#samples")


def test_it_is_read_by_keyboard(visitor: Visitor) -> None:
    """The first tab leads past the links, and a table opens by a key."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    open_page(visitor, 390, "light")
    keys = ActionChains(visitor.chrome)
    keys.send_keys(Keys.TAB, Keys.ENTER).perform()
    assert visitor.run("return location.hash") == "#results"
    keys.send_keys(Keys.TAB, Keys.ENTER).perform()
    assert visitor.run("return document.activeElement.tagName") == "SUMMARY"
    assert visitor.run("return document.activeElement.parentElement.open") is True


def test_every_picture_says_what_it_shows(visitor: Visitor) -> None:
    """As a screen reader would be told it: a picture with a name, and nothing of its inside."""
    open_page(visitor, 1280, "light")
    tree = visitor.chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    pictures = [node["name"]["value"] for node in tree if node.get("role", {}).get("value") == "image"]
    assert len(pictures) == 13
    assert len(set(pictures)) == 13
