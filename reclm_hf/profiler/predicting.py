"""The two-turn dialogues by which a profiler is asked whether a user will take an item (RecLM eq. 3-4)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import Split
from ..profiles.budget import TokenBudget
from ..profiles.dialogues import first_reply, first_turn, second_reply, second_turn
from ..profiles.evidence import histories
from ..profiles.instruction_sampling import FEWEST_ITEMS, UNFIT, Skip
from ..profiles.instructions import MAX_TOKENS, readable_profiles
from ..profiles.prompts import ItemLine, Message, PromptStyle, item_lines

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Questions:
    """Makes the dialogues as those are made that a profiler is tuned on, up to the second question.

    Attributes:
        lines: of all items. histories: item rows of every user, most recent first. profiles: user row -> profile.
        budget: what a whole dialogue may cost; histories lose their oldest items until it fits.
    """

    lines: Sequence[ItemLine]
    histories: Sequence[Sequence[int]]
    profiles: Mapping[int, str]
    budget: TokenBudget
    style: PromptStyle

    @classmethod
    def of(
        cls,
        split: Split,
        items: pd.DataFrame,
        profiles: pd.DataFrame,
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int,
        style: PromptStyle,
    ) -> Questions:
        """From an item table in the order of the split's item rows and `user_profiles` as of its cut."""
        budget = TokenBudget(tokenizer, max_tokens)
        return cls(item_lines(items, style), histories(split), readable_profiles(profiles, split), budget, style)

    def chats(
        self, users: np.ndarray, items: np.ndarray, neighbors: np.ndarray
    ) -> tuple[list[int], list[list[Message]]]:
        """The dialogues about pairs, and their places among the pairs; the others are counted in the log with reasons.

        Args:
            users, items: int [n] rows. neighbors: int [U, m] rows, -1 for none.
        """
        places, made, skipped = [], [], Counter[str]()
        for place, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
            try:
                made.append(self.chat(user, item, [other for other in neighbors[user].tolist() if other >= 0]))
            except Skip as reason:
                skipped[str(reason)] += 1
            else:
                places.append(place)
        for why, count in skipped.items():
            logger.warning("%d of %d pairs have no answer: %s", count, len(users), why)
        return places, made

    def chat(self, user: int, item: int, neighbors: Sequence[int]) -> list[Message]:
        """The dialogue about a user and a candidate; the candidate is not shown among the user's own items.

        Neighbours without a well-formed profile are left out, as they are in tuning.

        Raises:
            Skip: nothing can be asked, the message says why.
        """
        if user not in self.profiles:
            raise Skip("no well-formed profile of the user")
        near = [other for other in neighbors if other in self.profiles and self.histories[other]]
        lists = [[row for row in self.histories[user] if row != item], *(list(self.histories[other]) for other in near)]
        if not lists[0]:
            raise Skip("nothing known of the user but the candidate")
        replies = [self.profiles[person] for person in (user, *near)]
        room = self.budget.max_tokens - self._tokens(self._turns([[] for _ in lists], replies, item))

        def make() -> tuple[list[Message], int]:
            chat = self._turns(lists, replies, item)
            return chat, self._tokens(chat)

        chat = self.budget.fit(lists, self._cost, room, FEWEST_ITEMS, make)
        if chat is None:
            raise Skip(UNFIT)
        return chat

    def _turns(self, lists: Sequence[Sequence[int]], replies: Sequence[str], item: int) -> list[Message]:
        target, *others = [[self.lines[row] for row in rows] for rows in lists]
        return [*first_turn(target, others, self.style), first_reply(replies), second_turn(self.lines[item])]

    def _tokens(self, chat: Sequence[Message]) -> int:
        return max(self.budget.chat([*chat, second_reply(label)]) for label in (True, False))

    def _cost(self, item: int) -> int:
        return self.budget.line(str(self.lines[item]))


def context_limit(model: Any, max_tokens: int = MAX_TOKENS) -> int:
    """`max_tokens`, or what a model's positions reach where that is less."""
    return min(max_tokens, getattr(model.config, "max_position_embeddings", max_tokens))


def item_rows(split: Split, items: Sequence[str]) -> np.ndarray:
    """int64 rows of items by id. Raises KeyError naming unknown ones."""
    row_of = {identity: row for row, identity in enumerate(split.item_ids)}
    unknown = [item for item in items if item not in row_of]
    if unknown:
        raise KeyError(f"unknown items: {', '.join(map(repr, unknown[:3]))}; the item table does not have them")
    return np.array([row_of[item] for item in items], dtype=np.int64)
