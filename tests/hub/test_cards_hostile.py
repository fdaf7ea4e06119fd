"""Titles, names and notes come from data, and data from anybody: they stay text, and short."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from reclm_hf.hub import card_format
from reclm_hf.hub.cards import card_figures, render_card
from tests.hub.test_cards import manifest, repo_type
from tests.hubserver.cards import problems

markdown_it = pytest.importorskip("markdown_it")

HOSTILE = {
    "front matter": "x\n---\nlicense: mit\nlibrary_name: evil\n---\n# y",
    "yaml": "'\": [evil, {a: &b *b}] # x\n- evil: !!python/object:os.system",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)><!-- &lt;b&gt; --> </details>",
    "markdown": "*a* __b__ [c](javascript:alert(1)) ![d](http://evil.test/e.png) <http://evil.test> `f` ~~g~~ $$h$$",
    "blocks": "a\n\n# Heading\n\n```\nrm -rf /\n```\n\n- item\n\n> quote\n\n| a | b |\n|---|---|\n| 1 | 2 |\n***\n",
    "breakout": "` | ``` | ]( | **",
    "backslashes": "\\` \\\\| \\[a](b) \\<b>",
    "links": "see https://evil.example and www.evil.example",
    "direction": "a\u202eb\u2066c\u0000d\u001b[31me\u2028f\u2029g\ufeffh",
    "template": "{{ 7 * 7 }}{% for x in y %}{{ repo }}",
    "long": "x" * 10**6,
    "long words": "word " * 200_000,
    "nothing": "   \n\t ",
}
_ATTACKED = (
    *("recommender", "profiler-adapter", "profiler-merged", "reward-model"),
    *("tables", "results", "space", "metric"),
)
"""One of each kind."""

_CLOSELY = ("recommender", "tables")
"""In these every part is attacked alone too."""

_SECTIONS = (
    *("Use it", "Results", "Leak certificate", "How it was made", "Limits", "Citation"),
    *("API", "/recommend_user", "/recommend_profile", "/recommend_history", "/place_item"),
)
_EXEMPT = ("kind", "repo_id", "format")


def _hostile(content: dict[str, Any], text: str) -> dict[str, Any]:
    """The manifest with a text in the place of every string that is not checked elsewhere."""

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: replaced(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [replaced(entry) for entry in value]
        return text if isinstance(value, str) else value

    return {name: value if name in (*_EXEMPT, "files") else replaced(value) for name, value in content.items()}


def _each(content: dict[str, Any], text: str) -> Iterator[dict[str, Any]]:
    """All strings at once; then those of each part alone, where other parts stay what they are."""
    whole = _hostile(content, text)
    yield whole
    for name in content:
        if whole[name] != content[name]:
            yield {**copy.deepcopy(content), name: whole[name]}


@pytest.mark.parametrize("attack", HOSTILE)
@pytest.mark.parametrize("name", _ATTACKED)
def test_a_hostile_text_stays_a_text(name: str, attack: str) -> None:
    content = manifest(name)
    for bad in _each(content, HOSTILE[attack]) if name in _CLOSELY else [_hostile(content, HOSTILE[attack])]:
        card = render_card(bad)
        assert problems(card, repo_type(bad)).errors == []
        assert card.count("\n---\n") == 1
        assert len(card) < 200_000
        front = yaml.safe_load(REGEX_YAML_BLOCK.search(card)[2])  # type: ignore[index]
        assert front.get("library_name") != "evil"
        now = _frame(card)
        assert now["html"] == []
        assert [address for address in now["links"] if not address.startswith("https://")] == []
        hosts = {address.split("/")[2] for address in now["links"]}
        assert hosts <= {"huggingface.co", "arxiv.org"}
        assert now["images"] == []
        assert set(now["headings"][1:]) <= set(_SECTIONS)
        assert now["widths"] == []
        assert set(now["fences"]) == {"python"}
        card_figures(card)


def _frame(card: str) -> dict[str, list[Any]]:
    """What of a card is structure: its headings, links, pictures, HTML, fences, and tables of uneven rows."""
    parser = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = parser.parse(card.split("\n---\n", 1)[1])
    inner = [token for block in tokens for token in block.children or ()]
    found: dict[str, list[Any]] = {
        "headings": [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"],
        "links": [str(token.attrs["href"]) for token in inner if token.type == "link_open"],
        "images": [token for token in inner if token.type == "image"],
        "html": [token.content for token in (*tokens, *inner) if token.type.startswith("html")],
        "fences": [token.info for token in tokens if token.type == "fence"],
        "widths": [],
    }
    lines = card.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|---"):
            width = line.count("|")
            rows = [lines[number - 1]]
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(row)
            found["widths"] += [row for row in rows if row.replace("\\|", "").count("|") != width]
    return found


def test_what_is_shown_is_what_was_said() -> None:
    """Escaping hides nothing: rendered, the characters are those of the text."""
    said = "a*b_c [d](e) <f> & `g` ~h~ | $i$ \\j"
    parser = markdown_it.MarkdownIt("commonmark")
    (_, inline, _) = parser.parse(f"x {card_format.plain(said)}")
    assert "".join(token.content for token in inline.children) == f"x {said}"


def test_long_texts_are_cut() -> None:
    assert card_format.one_line("x" * 10**6, 100) == "x" * 99 + "…"
    assert len(card_format.plain("*" * 10**6, 100)) <= 200
    card = render_card(manifest("recommender") | {"title": "x" * 10**6})
    assert f"# {'x' * 99}…\n" in card
    assert "x" * 101 not in card


def test_scripts_that_need_joiners_keep_them() -> None:
    assert card_format.one_line("می\u200cخواهم 👩\u200d🚀") == "می\u200cخواهم 👩\u200d🚀"


def test_code_holds_nothing_but_an_id() -> None:
    for repo_id in ('a/b"); print("', "a/b\nimport os", "a b", "../x", "", "x" * 10**6):
        with pytest.raises(ValueError, match="no Hub id"):
            render_card(manifest("space") | {"repo_id": repo_id})


def test_configurations_of_strange_names_are_not_opened() -> None:
    """Names of files are checked, but not for what Python can call a variable."""
    content = manifest("tables-plain")
    content["files"] = {"class.parquet": {}, "Ünï.parquet": {}, "1st.parquet": {}, "a-b.parquet": {}}
    card = render_card(content)
    assert "class = " not in card
