"""Chats that fit a number of tokens, by the tokenizer's own template: whole items go, never parts of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from .prompts import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_Made = TypeVar("_Made")


class TokenBudget:
    """Counts tokens of chats and of lines.

    Args:
        tokenizer: with a chat template.
        max_tokens: of a whole chat, replies and the template's own marks included.

    Raises:
        ValueError: no chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        if not tokenizer.chat_template:
            raise ValueError("The tokenizer has no chat template: give a chat (instruct) model.")
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self._lines: dict[str, int] = {}

    def chat(self, messages: Sequence[Message]) -> int:
        """Tokens of a whole chat, exactly."""
        plain = [{"role": message["role"], "content": message["content"]} for message in messages]
        return self._count(str(self.tokenizer.apply_chat_template(plain, tokenize=False)))

    def line(self, line: str) -> int:
        """What one more line adds to a chat; to a token or so, since tokens may span line ends."""
        if line not in self._lines:
            self._lines[line] = self._count(f"\n{line}")
        return self._lines[line]

    def fit(
        self,
        lists: Sequence[list[int]],
        cost: Callable[[int], int],
        room: int,
        fewest: int,
        make: Callable[[], tuple[_Made, int]],
    ) -> _Made | None:
        """What `make` makes of lists that lose their oldest items, in place, until it fits; None where nothing does.

        Args:
            lists, cost, fewest: see `cut_oldest`. room: what the lists may cost at first, an estimate.
            make: what to make of the lists as they are now, and the tokens of its longest chat, exactly.
        """
        while cut_oldest(lists, cost, room, fewest):
            made, tokens = make()
            if tokens <= self.max_tokens:
                return made
            room = sum(cost(item) for items in lists for item in items) - 1
        return None

    def _count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def cut_oldest(lists: Sequence[list[int]], cost: Callable[[int], int], room: int, fewest: int) -> bool:
    """Shorten lists (most recent first) in place until they cost `room` at most: the longest loses its oldest item.

    Among lists of equal length the last one gives way, so that the first, the person's own, keeps most.

    Returns:
        Whether they fit with at least `fewest` items left in the longest.
    """
    total = sum(cost(item) for items in lists for item in items)
    while total > room:
        longest = max(reversed(lists), key=len)
        if len(longest) <= fewest:
            return False
        total -= cost(longest.pop())
    return True
