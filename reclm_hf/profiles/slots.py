"""What may be written into a slot of a profile, as masks over a tokenizer's vocabulary.

Left alone, a small model fills a slot with titles, years and brackets from the list that it has just read. A slot
holds plain lower-case phrases of two words and more, so that tokens with capitals, digits or symbols are excluded
while it is being filled, and a comma or an end mark as long as the current phrase is a single word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from .profile import split_items

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MIN_WORDS = 2
_ENDS = ("\n", ";")
_MARKS = set(" ,'-")


class SlotVocabulary:
    """The masks, and how the tokens of a slot become items.

    Args:
        tokenizer: the model's tokenizer.
        vocab_size: columns of the model's logits, which may be more than the tokenizer has tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
        self.tokenizer = tokenizer
        special = set(tokenizer.all_special_ids)
        count = min(vocab_size, len(tokenizer))
        self.pieces = ["" if token in special else tokenizer.decode([token]) for token in range(count)]
        self.ending = {token for token in special if token < count}
        self.ending |= {token for token, piece in enumerate(self.pieces) if any(end in piece for end in _ENDS)}
        self.unpenalised = self.ending | {
            token for token, piece in enumerate(self.pieces) if not any(letter.isalpha() for letter in piece)
        }
        self.plain = torch.full((vocab_size,), -torch.inf)
        self.unfinished = torch.zeros(vocab_size)
        for token, piece in enumerate(self.pieces):
            ends = token in self.ending
            if ends or (piece and all(letter in _MARKS or (letter.isalpha() and letter.islower()) for letter in piece)):
                self.plain[token] = 0.0
            if ends or "," in piece:
                self.unfinished[token] = -torch.inf
        self.unfinished += self.plain

    def mask(self, tokens: list[int]) -> torch.Tensor:
        """[V] to be added to the logits of the token after `tokens`: 0 where allowed, -inf elsewhere."""
        words = self.text(tokens).rpartition(",")[2].split()
        return self.unfinished if len(words) < MIN_WORDS else self.plain

    def text(self, tokens: list[int]) -> str:
        """The slot's text, up to its end mark."""
        kept = []
        for token in tokens:
            if token in self.ending:
                kept.append(self.pieces[token])
                break
            kept.append(self.pieces[token])
        text = "".join(kept)
        for end in _ENDS:
            text = text.partition(end)[0]
        return text

    def items(self, tokens: list[int], size: int, taken: Sequence[str] = ()) -> list[str]:
        """The first `size` distinct items of a slot that are not `taken` by the slot before.

        An item cut off by the token limit is trimmed like any other.
        """
        used = {item.casefold() for item in taken}
        return [item for item in split_items(self.text(tokens)) if item.casefold() not in used][:size]

    def is_full(self, tokens: list[int], size: int, taken: Sequence[str] = ()) -> bool:
        """Whether the slot has ended, or a comma has closed its last item."""
        if not tokens:
            return False
        if tokens[-1] in self.ending:
            return True
        return "," in self.pieces[tokens[-1]] and len(self.items(tokens, size, taken)) >= size
