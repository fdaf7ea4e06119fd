"""The Python blocks of a Space's card, run as a visitor would paste them, against a Space that is served."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reclm_hf.space.app import build, serve
from reclm_hf.space.export import template_folder
from tests.space.worlds import tiny_world

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Ids of the demo's data, in whose place stand ids of the tiny world.
_IDS = {'"10"': '"user-03"', '"0078748"': '"001"', '"0090605"': '"003"'}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    page = build(tiny_world(trained=False))
    try:
        yield serve(page).rstrip("/")
    finally:
        page.close()


@pytest.mark.parametrize("card", ["README.md", "_space_api.j2"])
def test_every_block_runs(card: str, url: str, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = template_folder() if card == "README.md" else repository / "hub_cards"
    blocks = _BLOCK.findall((folder / card).read_text(encoding="utf-8"))
    assert len(blocks) == 5
    known: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        for here, there in {'"ORG/NAME"': f'"{url}", verbose=False', "{{ repo }}": f'"{url}", verbose=False'}.items():
            block = block.replace(here, there)
        for theirs, ours in _IDS.items():
            block = block.replace(theirs, ours)
        exec(compile(block, f"block {number} of {card}", "exec"), known)
        said = capsys.readouterr().out
        assert number == 0 or "Title 0" in said, f"block {number} of {card} shows no item: {said!r}"
