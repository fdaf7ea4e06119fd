"""Cards: a repository's README from its manifest and nothing else, and the figures of a card read back.

The templates stand in `hub_cards/`: six, one for a kind or two, and `_shared.j2` with the sections that they have in
common. A sentence stands in a card only where the manifest has what it says; what is not there is called not recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .card_context import card_context
from .card_data import card_data
from .kinds import KINDS
from .manifest import without_nan

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = "hub_cards"
_HEADING = re.compile(r"#{1,6} (.*)")
_RULE = re.compile(r"\|(\s*:?-+:?\s*\|)+")
_CELL = re.compile(r"(?<!\\)\|")
_EMPTY_SECTION = re.compile(r"^## .*\n\s*(?=## |\Z)", re.MULTILINE)
_LOOSE_LIST = re.compile(r"^(- .*)\n\n(?=- )", re.MULTILINE)
_STARTS, _ALONE = ("#", "|", "- "), ("#", "|", "```")
_DIGIT = re.compile(r"\d")


def render_card(manifest: Mapping[str, Any]) -> str:
    """The README of a repository: YAML front matter and text.

    The same manifest gives the same card, whatever the order of its keys; NaN is as good as null.

    Args:
        manifest: as of `manifest.validate_manifest`.

    Raises:
        ValueError: a kind without a card, or a `repo_id` that is no Hub id.
        FileNotFoundError: the templates are not installed.
    """
    content: dict[str, Any] = without_nan(manifest)
    if content.get("kind") not in KINDS:
        raise ValueError(f"kind={content.get('kind')!r}: there is no card for it; known are {', '.join(KINDS)}.")
    template = _environment().get_template(KINDS[content["kind"]].template)
    text = template.render(card_context(content))
    return f"---\n{card_data(content).to_yaml()}\n---\n\n{_tidy(text)}\n"


def card_figures(card: str) -> dict[str, str]:
    """The figures that a card shows: where they stand -> what is said there.

    Of the text, the cells of tables that hold a number ("Results / this model `x` / catalogue" -> "0.1 [0.0, 0.2]");
    of the front matter, the values and intervals of `model-index` ("model-index / recall@20, catalogue / low").
    Compare them with those of `render_card(manifest)` to say which figure was changed.

    Raises:
        ValueError: the front matter is no YAML, or means nothing as a `model-index`.
    """
    return {**_index_figures(card), **_table_figures(card)}


def _tidy(text: str) -> str:
    """A paragraph or list entry on one line each, no runs of empty lines, no section that says nothing."""
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        fence = line.startswith("```")
        goes_on = bool(lines and lines[-1] and line.strip()) and not (fence or fenced)
        if goes_on and not line.startswith(_STARTS) and not lines[-1].startswith(_ALONE):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line.rstrip())
        fenced ^= fence
    joined = re.sub(r"\n{3,}", "\n\n", _EMPTY_SECTION.sub("", "\n".join(lines)))
    return _LOOSE_LIST.sub(r"\1\n", joined).strip()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(template_folder()),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown: whatever comes from data went through `card_format`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def template_folder() -> Path:
    """Where the templates are: within the package where it was installed from a wheel, beside it in a checkout.

    Raises:
        FileNotFoundError: in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for place in (package / _TEMPLATES, package.parent / _TEMPLATES):
        if (place / "_shared.j2").is_file():
            return place
    raise FileNotFoundError(f"The card templates ({_TEMPLATES}/) are missing: install reclm-hf again.")


def _index_figures(card: str) -> dict[str, str]:
    import yaml
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    block = REGEX_YAML_BLOCK.search(card)
    try:
        front = yaml.safe_load(block[2]) if block else {}
        entries = (front or {}).get("model-index") or []
        metrics = [metric for entry in entries for result in entry["results"] for metric in result["metrics"]]
        found = {}
        for metric in metrics:
            place = f"model-index / {metric.get('name', metric['type'])}"
            found[place] = str(metric["value"])
            found |= {f"{place} / {name}": str(value) for name, value in (metric.get("args") or {}).items()}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"README.md: the front matter cannot be read ({type(error).__name__}): {error}") from error
    return found


def _table_figures(card: str) -> dict[str, str]:
    found: dict[str, str] = {}
    heading, fenced = "", False
    head: list[str] = []
    for line in card.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        if fenced or _RULE.fullmatch(line):
            continue
        if title := _HEADING.fullmatch(line):
            heading = title[1]
        cells = [cell.strip() for cell in _CELL.split(line.strip())[1:-1]] if line.startswith("|") else []
        if not cells:
            head = []
        elif not head:
            head = cells
        else:
            for name, cell in zip(head[1:], cells[1:], strict=False):
                if _DIGIT.search(cell):
                    found[_unused(f"{heading} / {_unmarked(cells[0])} / {name}", found)] = _unmarked(cell)
    return found


def _unused(place: str, found: Mapping[str, str]) -> str:
    """A place of its own for a row whose label stands there already."""
    return place if place not in found else f"{place} ({sum(name.startswith(place) for name in found) + 1})"


def _unmarked(cell: str) -> str:
    return cell.replace("**", "").replace("`", "").strip()
