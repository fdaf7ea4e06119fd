"""Every number of a card comes from the manifest, and the figures of a card are read back."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from reclm_hf.hub import card_format
from reclm_hf.hub.cards import card_figures, render_card, template_folder
from tests.hub.test_cards import NAMES, manifest

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_FORMS = (card_format.count, card_format.figure, card_format.measure, card_format.percent, card_format.moment, str)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_stands_in_the_manifest(name: str) -> None:
    content = manifest(name)
    body = render_card(content).split("\n---\n", 1)[1]
    said = set(_NUMBER.findall(body))
    known = {number for path in template_folder().iterdir() for number in _NUMBER.findall(path.read_text("utf-8"))}
    for _, value in _leaves(content):
        forms = [form(value) for form in _FORMS] if isinstance(value, int | float) else [str(value)]
        known |= {number for text in forms for number in _NUMBER.findall(text)}
    known |= {number for file in content["files"] for number in _NUMBER.findall(file)}
    assert said - known == set()


def _shown(content: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Paths of the numbers that a card shows as results."""
    for path, value in _leaves(content):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if path[0] == "measures" and not ("accuracy_by_kind" in path and path[-1] in ("margin", "users")):
            yield path
        if path[0] == "cost" or path[:2] == ("data", "counts"):
            yield path
        in_row = path[-1] in ("rows", "items_after", "titles", "hits", "false_positive_rate")
        if path[0] == "certificates" and in_row and path[-2:] != ("probe", "rows"):
            yield path
        if path[0] == "figures" and path[-1] in ("value", "low", "high", "n_users", "n_targets", "n_candidates"):
            line = content["figures"][path[1]]
            own = line["kind"] == "model" and content["kind"] == "recommender"
            first = path[1] == next(
                number
                for number, other in enumerate(content["figures"])
                if (other["setting"], other["metric"]) == (line["setting"], line["metric"])
            )
            if own or (line["metric"] == "recall@20" and (first or not path[-1].startswith("n_"))):
                yield path


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_figure_changes_the_card(name: str) -> None:
    """One after the other, by a little; which one it was is told by `card_figures` where it stands in a table."""
    content = manifest(name)
    card, found = render_card(content), card_figures(render_card(content))
    for path in _shown(content):
        changed = copy.deepcopy(content)
        place: Any = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = place[path[-1]] + 1 if isinstance(place[path[-1]], int) else place[path[-1]] * 1.01 + 0.01
        other = render_card(changed)
        assert other != card, path
        if path[0] in ("figures", "certificates") and not str(path[-1]).startswith("n_"):
            now = card_figures(other)
            assert now.keys() == found.keys(), path
            differ = [label for label in found if now[label] != found[label]]
            assert differ, path
            if path[0] == "figures":
                line = content["figures"][path[1]]
                setting = line["setting"].removeprefix("catalogue_").replace("_", "-")
                assert all(line["setting"] in label or setting in label for label in differ), path
                row = line["row"].removesuffix(" (mean user)")
                assert all(row in label for label in differ if not label.startswith("model-index")), path


def test_figures_of_a_card_by_their_places() -> None:
    found = card_figures(render_card(manifest("recommender")))
    own = "Results / this model lightgcn-floor_residual-llm / "
    assert found[f"{own}catalogue"] == "0.2198 [0.1345, 0.3073]"
    assert found["Results / floor mix / cold"] == "0.1545 [0.1207, 0.1899]"
    assert found["model-index / recall@20, catalogue"] == "0.2198"
    assert found["model-index / recall@20, catalogue / low"] == "0.1345"
    assert found["Leak certificate / user_profiles, test cut / rows"] == "2,086"
    rewards = card_figures(render_card(manifest("reward-model")))
    assert rewards["Results / floor: the longer reply / told apart [95 %]"] == "0.6461"


def test_a_figure_edited_in_the_card_is_found() -> None:
    card = render_card(manifest("recommender"))
    shown = card_figures(card)
    edited = card.replace("0.2198 [0.1345, 0.3073]", "0.3198 [0.1345, 0.3073]", 1)
    assert edited != card
    differ = {place: value for place, value in card_figures(edited).items() if shown[place] != value}
    assert differ == {"Results / this model lightgcn-floor_residual-llm / catalogue": "0.3198 [0.1345, 0.3073]"}
    edited = card.replace("value: 0.2198", "value: 0.3198", 1)
    differ = {place: value for place, value in card_figures(edited).items() if shown[place] != value}
    assert differ == {"model-index / recall@20, catalogue": "0.3198"}


@pytest.mark.parametrize("text", ["", "# A card\n\n| a |\n|---|\n| 1 |\n", "---\ntitle: x\n---\n"])
def test_a_card_of_somebody_else_has_other_figures(text: str) -> None:
    assert card_figures(text) == {}


@pytest.mark.parametrize("front", ["model-index: [1]", "model-index: {a: b}", "{{{", "- a"])
def test_broken_front_matter_is_said(front: str) -> None:
    with pytest.raises(ValueError, match=r"README\.md: the front matter cannot be read"):
        card_figures(f"---\n{front}\n---\n\n# A card\n")


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if entries is None:
        yield path, value
    else:
        for name, entry in entries:
            yield from _leaves(entry, (*path, name))
