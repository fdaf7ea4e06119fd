"""Item texts are written by strangers: what could steer a model, or break out of its place in a prompt, is removed.

Whatever the wording, what comes out is one line of bounded length, without invisible characters and without those
that the control tokens of chat formats are made of. The known wordings of orders to a model are cut off on top.
"""

from __future__ import annotations

import re
import unicodedata

from .orders import first_order, skeleton

MAX_CHARACTERS = 80
PLACEHOLDER = "untitled"

_READ = 25
"""As many times the characters that are kept are looked at: a text of any length costs the same."""

_MARKUP = re.compile(
    # <|im_start|>, <|eot_id|>, <｜User｜>, [|user|]; </s>, <start_of_turn>, <tool_call name="x">; <<SYS>>
    r"[<\[]\s*\|[^|<>\[\]]*\|\s*[>\]]|</?\s*[a-z_][^<>]{0,60}>|<<[^<>]*>>"
    # [INST], [/INST], [SYSTEM_PROMPT], [gMASK]
    r"|\[\s*/?\s*(?:inst|sys|sep|cls|pad|unk|bos|eos|img|[gs]?mask|think|prefix|suffix|middle|[a-z]+(?:_[a-z0-9]+)+)\s*\]"
    # the names of such tokens alone, and headings such as ### Instruction
    r"|(?<![a-z])(?:im_(?:start|end|sep)|eo[tm]_id|(?:start|end)_(?:header_id|of_turn|of_text|of_role)|begin_of_text"
    r"|endoftext)(?![a-z])"
    r"|#{2,}",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\b(?:[a-z]{2,10}://|www\.)\S*", re.IGNORECASE)
# No title needs them to be understood. The last is what SentencePiece writes for a space.
_SYMBOLS = re.compile(r"[<>|{}`\\▁]")
# Speakers of a dialogue, and the labels of our own prompts and profiles.
_LABELS = re.compile(
    r"\b(?:system|assistant|user|human|ai|model|developer|tool|function|instructions?|response|input|output"
    r"|(?:user|item) (?:identity|identities|interests?)|(?:person|people) (?:chose|says)|chose it|chooses them"
    r"|stands out|the thing)\s*(:[:\s]*)"
)
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # not control characters, but fillers


def neutralize(text: object, max_characters: int = MAX_CHARACTERS) -> str:
    """An item's text as it may stand in a prompt: one line, no chat markup, no control characters, not too long.

    Web addresses go, speakers and labels lose their colon, and from the first order to a model on ("ignore all
    previous instructions") nothing is kept. Anything that is not text, NaN included, and text of which nothing is left
    become `PLACEHOLDER`.
    """
    if not isinstance(text, str):
        return PLACEHOLDER
    text, before = _visible(text[: _READ * max_characters]), None
    while before != text:  # taking one thing out may lay another open
        before, text = text, _cleaned(text)
    if len(text) > max_characters:
        cut = text[: max_characters + 1].rpartition(" ")[0]
        text = (cut or text[:max_characters]).rstrip(" ,;:-") + "…"
    return text if any(letter.isalnum() for letter in text) else PLACEHOLDER


def is_harmless(text: object) -> bool:
    """Whether nothing would be taken out of a text: it is shown as it stands, apart from white space and length."""
    if not isinstance(text, str) or len(text) > _READ * MAX_CHARACTERS:
        return False
    shown = " ".join(unicodedata.normalize("NFKC", text).split())
    return _cleaned(shown) == shown == _visible(text)


def _cleaned(text: str) -> str:
    before = None
    while before != text:
        before, text = text, _ADDRESS.sub(" ", _MARKUP.sub(" ", text))
    text = _SYMBOLS.sub(" ", text.replace(" | ", " - "))  # the bar between the halves of a headline
    text = _without_labels(" ".join(text.split()))
    order = first_order(text)
    return text if order is None else text[:order].rstrip(" ,;:-–—([\"'*")


def _visible(text: str) -> str:
    """The text in its compatibility form, white space as single spaces, without what nobody sees."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", "".join(filter(_is_visible, text)))
    return " ".join("".join(letter for letter in text if letter.isspace() or _is_visible(letter)).split())


def _is_visible(letter: str) -> bool:
    """Not a control, format (zero-width, right-to-left override), private or unassigned character, nor a filler."""
    if letter.isspace():
        return True
    return unicodedata.category(letter)[0] != "C" and letter not in _INVISIBLE and not _selects_variant(letter)


def _selects_variant(letter: str) -> bool:
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"


def _without_labels(text: str) -> str:
    colons = set[int]()
    for match in _LABELS.finditer("".join(map(skeleton, text))):
        colons.update(range(*match.span(1)))
    return " ".join("".join(" " if place in colons else letter for place, letter in enumerate(text)).split())
