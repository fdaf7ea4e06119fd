"""What may be written into a slot of a profile, as masks over a tokenizer's vocabulary.

Left alone, a small model fills a slot with titles, years and brackets from the list that it has just read, or stops
early. A slot holds plain lower-case phrases of two words and more, so that tokens with capitals, digits or symbols are
excluded while it is being filled, a comma as long as the phrase is a single word, another word when the phrase is long,
and an end mark until the last item. An identity is closed when it names a person ("crime thriller" goes on to "crime
thriller fan"), an interest does not name those who share it ("comedy fans").
What the phrases say is the model's own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from .persons import TASTES, names_person
from .profile import USER_ITEMS, content_words, split_items
from .stems import phrase_stems, stem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SLOTS_VERSION = "slots-2"
"""Part of what an engine is called: bump it with every change of the rules, or profiles by the old ones are kept."""

MIN_WORDS = 2
"""Content words of an item at least: single words come out as a bare list of categories."""

FULL_WORDS = 4
"""An item of so many words, parts of hyphenated words included, gets no further one."""

HYPHENATED = 4
"""Letters before a hyphen at most."""

_ENDS = ("\n", ";")
_MARKS = set(" ,-")
_TASTE_STEMS = frozenset(stem(taste) for taste in TASTES)
# Where a phrase may not be closed yet, "in the dark" and "of the past" followed whatever it was; occupations are made
# up ("comedy writer" for whoever sees comedies).
_OCCUPATIONS = ("writer", "writers", "detective", "detectives", "author", "authors", "filmmaker", "filmmakers")
_FILLERS = {
    "identities": frozenset(
        f" {word}" for word in ("in", "of", "who", "whose", "and", "or", "with", "from", *_OCCUPATIONS)
    ),
    "interests": frozenset(f" {word}" for word in ("in", *_OCCUPATIONS)),
}
_I_WORDS = frozenset(("in", "is", "it", "if", "its", "ice", "icy", "ill", "ink", "inn", "ivy"))


class SlotVocabulary:
    """The masks, and how the tokens of a slot become items.

    Args:
        tokenizer: the model's tokenizer.
        vocab_size: columns of the model's logits, which may be more than the tokenizer has tokens.
        size: items of a slot.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocab_size: int, size: int = USER_ITEMS) -> None:
        self.size = size
        self.kind = "any"
        special = set(tokenizer.all_special_ids)
        count = min(vocab_size, len(tokenizer))
        self.pieces = ["" if token in special else str(tokenizer.decode([token])) for token in range(count)]
        self.ending = {token for token in special if token < count}
        self.ending |= {token for token, piece in enumerate(self.pieces) if any(end in piece for end in _ENDS)}
        # The repetition penalty is for words: commas and end marks must stay as likely as they are.
        self.unpenalized = self.ending | {token for token, piece in enumerate(self.pieces) if not _has_letter(piece)}
        states = [(a, b, c, d) for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)]
        self._masks = {state: torch.full((vocab_size,), -torch.inf) for state in states}
        for token, piece in enumerate(self.pieces):
            ends = token in self.ending
            if not ends and not _is_plain(piece):
                continue
            closes, hyphenates = ends or "," in piece, "-" in piece
            opens = not closes and (" " in piece or hyphenates)
            for (short, full, hyphenated, last), mask in self._masks.items():
                banned = (short and closes) or (full and opens) or (hyphenated and hyphenates) or (ends and not last)
                if not banned:
                    mask[token] = 0.0
        self._avoided = {
            "any": torch.zeros(vocab_size),
            "identities": self._without(lambda piece: piece in _FILLERS["identities"], vocab_size),
            "interests": self._without(
                lambda piece: piece in _FILLERS["interests"] or _begins_taste(piece), vocab_size
            ),
        }

    def _without(self, avoided: Callable[[str], bool], vocab_size: int) -> torch.Tensor:
        mask = torch.zeros(vocab_size)
        mask[[token for token, piece in enumerate(self.pieces) if avoided(piece)]] = -torch.inf
        return mask

    def of(self, size: int, kind: str) -> SlotVocabulary:
        """The same vocabulary for another slot; the masks are shared.

        Args:
            kind: "identities", "interests", or "any" where it is not known what names a person.
        """
        other = copy.copy(self)
        other.size, other.kind = size, kind
        return other

    def mask(self, tokens: Sequence[int], taken: Sequence[str] = ()) -> torch.Tensor:
        """[V] to be added to the logits of the token after `tokens`: 0 where it is allowed, -inf elsewhere."""
        before, _, current = self.text(tokens).rpartition(",")
        full = len(current.replace("-", " ").split()) >= FULL_WORDS
        short = not full and (
            len(content_words(current)) < MIN_WORDS or (self.kind == "identities" and not names_person(current))
        )
        last = len(_new_items(before, taken)) >= self.size - 1
        # Chains of hyphens are how a small model avoids ever finishing an item: one for a word, and after a short one
        # ("sci-fi", "film-noir", but not "comedy-thriller-adventure").
        word = current.rpartition(" ")[2]
        mask = self._masks[short, full, "-" in word or len(word) > HYPHENATED, last]
        return mask + self._avoided[self.kind]

    def text(self, tokens: Sequence[int]) -> str:
        """The slot's text, up to its end mark."""
        text = ""
        for token in tokens:
            text += self.pieces[token]
            if token in self.ending:
                break
        for end in _ENDS:
            text = text.partition(end)[0]
        return text

    def items(self, tokens: Sequence[int], taken: Sequence[str] = ()) -> list[str]:
        """The first distinct items of a slot that are not `taken` by the slot before, `size` at most.

        An item that the token limit has cut off is left out, since its last word may be half a word.
        """
        text = self.text(tokens)
        closed = any(token in self.ending for token in tokens)
        return _new_items(text if closed else text.rpartition(",")[0], taken)[: self.size]

    def is_full(self, tokens: Sequence[int], taken: Sequence[str] = ()) -> bool:
        """Whether the slot has ended, or a comma has closed its last item."""
        if tokens[-1] in self.ending:
            return True
        return "," in self.pieces[tokens[-1]] and len(self.items(tokens, taken)) >= self.size


def _new_items(text: str, taken: Sequence[str]) -> list[str]:
    """The items that say something which no single one before them, of this slot or the other, has said."""
    said = [phrase_stems(item) for item in taken]
    items = []
    for item in split_items(text):
        stems = phrase_stems(item) - _TASTE_STEMS
        if stems and not any(stems <= other for other in said):
            items.append(item)
            said.append(stems)
    return items


def _is_plain(piece: str) -> bool:
    """Whether a token is made of lower-case letters and the marks of a phrase, with hyphens inside words only.

    A lone space or first letter begins no word that the model knows as one: words spelt out of such pieces are
    inventions. So are those that begin with short pieces in "i", where the model wanted the pronoun and may not write
    capitals.
    """
    allowed = bool(piece) and all(letter in _MARKS or letter.islower() for letter in piece)
    word = piece[1:] if piece[0:1] == " " else ""
    invented = (
        piece == " " or (len(word) == 1 and word != "a") or (word[:1] == "i" and len(word) < 4 and word not in _I_WORDS)
    )
    return allowed and not invented and " -" not in piece and "- " not in piece and "--" not in piece


def _begins_taste(piece: str) -> bool:
    """Whether a token is a word of `TASTES`, or the first half of one that is long enough to be told by it."""
    word = piece.strip()
    whole = word in TASTES or word.removesuffix("s") in TASTES
    return whole or (piece.startswith(" ") and len(word) >= 6 and any(taste.startswith(word) for taste in TASTES))


def _has_letter(piece: str) -> bool:
    return any(letter.isalpha() for letter in piece)
