"""The forms in which a user's profile can be asked for: a tuned model is asked in the form that it was tuned with.

`examples` serves models as they come: system message, worked examples, one request. `plain` is the same without the
examples, `own` without the similar users too (what the instructions `distill` show). `dialogue` is the first turn of
the instructions `mask` and `naive`: histories of the person and of similar people in, but only the person's profile
out (RecLM eq. 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..data.splits import Split
from .budget import TokenBudget
from .dialogues import DIALOGUE_VERSION, PERSON_LABEL, first_turn
from .engines import ProfileRequest
from .evidence import (
    HISTORY_ITEMS,
    NEIGHBOR_ITEMS,
    UserEvidence,
    category_shares,
    collect_evidence,
    histories,
)
from .instruction_sampling import FEWEST_ITEMS
from .prompts import PROMPT_VERSION, ItemLine, Message, PromptStyle, examples, item_lines, user_message

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

EXAMPLES_FORM = "examples"
FORMS = (EXAMPLES_FORM, "plain", "own", "dialogue")
COUNTED = ("own", "dialogue")
"""Forms that are cut to a number of tokens, as the chats are that models are tuned on."""

CHAT_TOKENS = 1024
"""Of a whole chat, reply included, where nothing else is asked for."""

REPLY_TOKENS = 64
"""Left free for the reply, which a profile of 3+3 fits in."""


@dataclass(frozen=True)
class Asked:
    """A request, and the part of the evidence that it shows."""

    request: ProfileRequest
    shown: UserEvidence


def require_form(form: object) -> None:
    """Raises ValueError for an unknown form."""
    if form not in FORMS:
        raise ValueError(f"form={form!r} is not known; choose one of {', '.join(FORMS)}.")


def form_version(form: str, style: PromptStyle) -> str:
    """What the column `prompt_version` calls requests of a form."""
    require_form(form)
    if form == "dialogue":
        return f"{DIALOGUE_VERSION}{style.version}, person"
    return PROMPT_VERSION + style.version + ("" if form == EXAMPLES_FORM else f", {form}")


def requests_in_form(
    split: Split,
    items: pd.DataFrame,
    neighbors: np.ndarray,
    users: Sequence[int] | np.ndarray,
    form: str = EXAMPLES_FORM,
    style: PromptStyle | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_tokens: int = CHAT_TOKENS,
    *,
    history_items: int = HISTORY_ITEMS,
    neighbor_items: int = NEIGHBOR_ITEMS,
) -> list[ProfileRequest]:
    """The requests for the profiles of `users` as of the cut of `split`, in their order.

    Args:
        items: the item table in the order of the split's item rows.
        neighbors: [U, n] int32 user rows, -1 for none. users: user rows.
        form, tokenizer, max_tokens: see `ask`. style: how items are shown.
        history_items, neighbor_items: see `collect_evidence`; a dialogue shows what fits.

    Raises:
        ValueError: as `ask`.
    """
    style = style or PromptStyle()
    evidence = collect_evidence(split, neighbors, users, history_items=history_items, neighbor_items=neighbor_items)
    asked = ask(evidence, split, item_lines(items, style), form, style, tokenizer, max_tokens)
    return [one.request for one in asked]


def ask(
    evidence: Sequence[UserEvidence],
    split: Split,
    lines: Sequence[ItemLine],
    form: str = EXAMPLES_FORM,
    style: PromptStyle | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_tokens: int = CHAT_TOKENS,
) -> list[Asked]:
    """The request for the profile of each user, and what it shows.

    Args:
        lines: of all items, see `item_lines`.
        form: of `FORMS`.
        tokenizer: of the model that is asked, with a chat template; needed for the forms `COUNTED`.
        max_tokens: of a whole chat by the tokenizer's template, `REPLY_TOKENS` for the reply included. The forms
            `COUNTED` leave out the oldest items until it fits, never part of one; the longest history gives way first.

    Raises:
        ValueError: an unknown form, no tokenizer where one is needed, or not even one item fits.
    """
    require_form(form)
    writer = _Writer(split, lines, style or PromptStyle(), _budget(form, tokenizer, max_tokens))
    write: Mapping[str, Callable[[UserEvidence], Asked]] = {
        EXAMPLES_FORM: writer.with_examples,
        "plain": writer.plain,
        "own": writer.own,
        "dialogue": writer.dialogue,
    }
    return [write[form](part) for part in evidence]


def own_chat(
    whole: Sequence[ItemLine], shown: int, shares: Mapping[str, float], style: PromptStyle
) -> tuple[Message, Message]:
    """System message and request, without worked examples and similar users.

    Args:
        whole: the history, most recent first, of which the first `shown` items are shown.
        shares: category -> its share of all interactions before the cut.
    """
    return examples(style)[0], user_message(whole[:shown], [], shares, whole)


def _budget(form: str, tokenizer: PreTrainedTokenizerBase | None, max_tokens: int) -> TokenBudget | None:
    if form not in COUNTED:
        return None
    if tokenizer is None:
        raise ValueError(f"form={form!r} is cut to a number of tokens: give the tokenizer of the model that is asked.")
    return TokenBudget(tokenizer, max_tokens)


@dataclass(frozen=True)
class _Writer:
    """What all requests are written from; a method for each form."""

    split: Split
    lines: Sequence[ItemLine]
    style: PromptStyle
    budget: TokenBudget | None

    @cached_property
    def shares(self) -> dict[str, float]:
        return category_shares(self.split, self.lines)

    @cached_property
    def histories(self) -> list[list[int]]:
        return histories(self.split)

    def with_examples(self, part: UserEvidence) -> Asked:
        return self._asked(part, examples(self.style), self._message(part))

    def plain(self, part: UserEvidence) -> Asked:
        return self._asked(part, examples(self.style)[:1], self._message(part))

    def own(self, part: UserEvidence) -> Asked:
        whole, most = self._lines(part.whole), len(part.history)
        for shown in range(most, min(most, 1) - 1, -1):
            system, message = own_chat(whole, shown, self.shares, self.style)
            if self._tokens([system, message], "") <= self._counted.max_tokens:
                return self._asked(_with(part, part.whole[:shown], [], []), (system,), message)
        raise self._unfit(part)

    def dialogue(self, part: UserEvidence) -> Asked:
        """Neighbours without history are left out; further ones, the least similar first, only where nothing fits."""
        near = [other for other in part.neighbors if self.histories[other]]
        for count in range(len(near), -1, -1):
            lists = [list(part.whole), *(list(self.histories[other]) for other in near[:count])]
            chat = self._fitted(lists)
            if chat is not None:
                shown = list(dict.fromkeys(item for items in lists[1:] for item in items if item not in lists[0]))
                system, message = chat
                return self._asked(
                    _with(part, lists[0], shown, near[:count]), (system,), message, begin=f"{PERSON_LABEL}: "
                )
        raise self._unfit(part)

    def _fitted(self, lists: list[list[int]]) -> list[Message] | None:
        """The first turn about lists that lose their oldest items, in place, until it fits; None where nothing does."""
        budget = self._counted
        room = budget.max_tokens - self._tokens(self._turn([[] for _ in lists]), f"{PERSON_LABEL}: ")
        fewest = FEWEST_ITEMS if len(lists) > 1 else 1

        def make() -> tuple[list[Message], int]:
            chat = self._turn(lists)
            return chat, self._tokens(chat, f"{PERSON_LABEL}: ")

        return budget.fit(lists, lambda item: budget.line(str(self.lines[item])), room, fewest, make)

    def _turn(self, lists: Sequence[Sequence[int]]) -> list[Message]:
        target, *others = map(self._lines, lists)
        return first_turn(target, others, self.style, ask_all=False)

    def _tokens(self, chat: Sequence[Message], begin: str) -> int:
        reply: Message = {"role": "assistant", "content": begin}
        return self._counted.chat([*chat, reply]) + REPLY_TOKENS

    @property
    def _counted(self) -> TokenBudget:
        if self.budget is None:
            raise ValueError("no tokenizer to count tokens by")
        return self.budget

    def _message(self, part: UserEvidence) -> Message:
        history, similar, whole = map(self._lines, (part.history, part.similar, part.whole))
        return user_message(history, similar, self.shares, whole)

    def _lines(self, items: Sequence[int]) -> list[ItemLine]:
        return [self.lines[item] for item in items]

    def _asked(self, part: UserEvidence, beginning: tuple[Message, ...], message: Message, begin: str = "") -> Asked:
        key = str(self.split.user_ids[part.user])
        request = ProfileRequest(key, beginning, (message,), language=self.style.language, begin=begin)
        return Asked(request, part)

    def _unfit(self, part: UserEvidence) -> ValueError:
        return ValueError(
            f"max_tokens={self._counted.max_tokens}: not even one item of user "
            f"{str(self.split.user_ids[part.user])!r} fits beside the question and its answer; give more."
        )


def _with(part: UserEvidence, history: list[int], similar: list[int], neighbors: list[int]) -> UserEvidence:
    return replace(part, history=history, similar=similar, neighbors=neighbors)
