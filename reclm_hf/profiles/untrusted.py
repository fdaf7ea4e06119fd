"""Item texts are written by strangers: what could steer a model, or break out of its place in a prompt, is removed."""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 80
PLACEHOLDER = "untitled"

_MARKUP = re.compile(r"<\|[^|<>]*\|>|</?\w{1,20}>|<<[^<>]*>>|\[/?(?:INST|SYS)\]", re.IGNORECASE)
# The characters of which the control tokens of all common chat formats are made; no title needs them to be understood.
_SYMBOLS = re.compile(r"[<>|{}`\\]")
_ROLES = re.compile(r"\b(system|assistant|user|human|ai|user identity|user interests)\s*:", re.IGNORECASE)
_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.!?]{0,40}?"
    r"\b(?:instructions?|prompts?|rules|messages?|(?:all|everything|anything) (?:above|before))\b[^.!?]*[.!?]?"
    r"|\b(?:you are now|pretend to be|from now on you|new instructions)\b[^.!?]*[.!?]?",
    re.IGNORECASE,
)


def neutralize(text: object, max_characters: int = MAX_CHARACTERS) -> str:
    """An item's text as it may stand in a prompt: one line, no chat markup, no control characters, not too long.

    Role labels lose their colon, sentences that give a model orders ("ignore all previous instructions") are dropped.
    Anything that is not text, NaN included, and text of which nothing is left become `PLACEHOLDER`.
    """
    if not isinstance(text, str):
        return PLACEHOLDER
    text = unicodedata.normalize("NFKC", text)
    text = "".join(" " if letter.isspace() else letter for letter in text if letter.isspace() or _is_visible(letter))
    before = None
    while before != text:  # taking one mark out may put the halves of another together
        before, text = text, _MARKUP.sub(" ", text)
    text = _ROLES.sub(r"\1", _SYMBOLS.sub(" ", text))
    text = " ".join(_ORDERS.sub(" ", text).split())
    if len(text) > max_characters:
        cut = text[: max_characters + 1].rpartition(" ")[0]
        text = (cut or text[:max_characters]).rstrip(" ,;:-") + "…"
    return text if any(letter.isalnum() for letter in text) else PLACEHOLDER


def _is_visible(letter: str) -> bool:
    """Not a control, format (zero-width, right-to-left override), private or unassigned character."""
    return unicodedata.category(letter)[0] != "C"
