"""Instructions to tune a profiler on (RecLM section 2.3, eq. 3-4): two-turn dialogues, and one-turn distillation.

Everything shown or asked about comes from before the cut of the split that is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import Split
from ..data.tables import INSTRUCTION_COLUMNS, TableError, require_columns
from .budget import TokenBudget
from .dialogues import first_reply, first_turn, second_reply, second_turn
from .evidence import HISTORY_ITEMS, category_shares, histories
from .forms import CHAT_TOKENS, own_chat
from .generate import MASKED
from .instruction_sampling import FEWEST_ITEMS, SHORTCUTS, UNFIT, Skip, draw_pairs, pools, take_out, user_rng
from .profile import USER_ITEMS, Profile, parse, render, well_formed
from .prompts import ItemLine, Message, PromptStyle, item_lines
from .untrusted import neutralize

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

VARIANTS = ("mask", "naive", "distill")
"""Of section 6.4. `mask` and `naive` are the same dialogues: the trainer's loss tells them apart (both replies, or the
last one only). `distill` is one turn: the person's own history in, the teacher's profile out."""

MAX_TOKENS = CHAT_TOKENS
PER_USER = 2


@dataclass(frozen=True)
class Instructions:
    """Chats to tune on, and what could not be made.

    Attributes:
        table: columns `INSTRUCTION_COLUMNS`. skipped: reason -> users (or items) of whom nothing could be made.
        facts: one row for each of the table's: `tokens` of the whole chat and, for two turns, `label` and `SHORTCUTS`
            (see `shortcut_aucs`).
        neighbors_left_out: neighbours who are not shown because their profile is malformed or absent.
    """

    table: pd.DataFrame
    skipped: dict[str, int]
    facts: pd.DataFrame
    neighbors_left_out: int = 0


def build_instructions(
    split: Split,
    items: pd.DataFrame,
    neighbors: np.ndarray,
    profiles: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    *,
    variant: str = "mask",
    n_per_user: int = PER_USER,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    match_popularity: bool = False,
    unread: bool = False,
    style: PromptStyle | None = None,
    progress: bool = False,
) -> Instructions:
    """Dialogues about every user with a well-formed profile.

    The first turn is the same in all dialogues of a user, whatever the answer: an item that is asked about as a Yes is
    missing from the user's list in all of them. What is asked about is shown in a neighbour's list in all of them. A
    user's dialogues depend on the seed and on what is known of the user and the neighbours alone, not on the order of
    rows; only `match_popularity` also looks at how often everybody chose an item.

    Args:
        items: the item table in the order of the split's item rows.
        neighbors: [U, n] int32 user rows, -1 for none; see `neighbor_rows`.
        profiles: `user_profiles` as of the cut of `split`, which `certify` has passed.
        variant: of `VARIANTS`.
        n_per_user: dialogues of a user at most, half Yes, half No; an even number. One always for `distill`.
        max_tokens: of a whole chat by the tokenizer's template. Histories lose their oldest items until it fits, the
            longest first; no item is shown in part, and no reply is cut.
        match_popularity: the No of each pair is about as popular as the Yes, see `POPULARITY_RATIO`.
        unread: ask only about items that the user's profile was not written from. A profile knows of the others: with
            its help the first reply gives the second one away.
        style: how items are shown, and the language of the profiles.

    Raises:
        ValueError: an unknown variant, an odd or empty `n_per_user`.
        TableError: a missing column, a user twice, profiles written without titles or as of a time after the cut.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    if variant not in VARIANTS:
        raise ValueError(f"variant={variant!r}: choose one of {', '.join(VARIANTS)}.")
    if n_per_user < 2 or n_per_user % 2:
        raise ValueError(f"n_per_user={n_per_user}: half are Yes and half are No, so give 2, 4, 6, ...")
    style = style or PromptStyle()
    known, evidence, skipped = _with_evidence(profiles, split)
    budget = TokenBudget(tokenizer, max_tokens)
    maker = _Maker(split, item_lines(items, style), histories(split), known, evidence, budget, style)
    rows: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    left_out = 0
    for user in tqdm(sorted(known), desc="instructions", unit="user", disable=not progress):
        near = [int(other) for other in neighbors[user] if other >= 0]
        readable = [other for other in near if other in known and maker.histories[other]]
        try:
            if variant == "distill":
                made = maker.distill(user)
            else:
                left_out += len(near) - len(readable)
                made = maker.two_turns(user, readable, n_per_user // 2, seed, match_popularity, unread)
        except Skip as reason:
            skipped[str(reason)] += 1
            continue
        rows += [{"variant": variant, "user_id": str(split.user_ids[user]), **chat} for chat, _ in made]
        facts += [fact for _, fact in made]
    columns = ["tokens"] if variant == "distill" else ["tokens", "label", *SHORTCUTS]
    return Instructions(instruction_table(rows), dict(skipped), pd.DataFrame(facts, columns=columns), left_out)


def instruction_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame with the columns `INSTRUCTION_COLUMNS`; what a row does not have is None."""
    import pandas as pd

    return pd.DataFrame(
        [{**dict.fromkeys(INSTRUCTION_COLUMNS), **row} for row in rows], columns=list(INSTRUCTION_COLUMNS), dtype=object
    )


def neighbor_rows(profiles: pd.DataFrame, split: Split) -> np.ndarray:
    """[U, n] int32 user rows of the neighbours that each profile was written with, -1 for none.

    Args:
        profiles: columns `user_id` and `neighbors` (ids); ids that the data do not have are left out.
    """
    require_columns(profiles, ["user_id", "neighbors"], "profiles")
    row_of = {str(user): row for row, user in enumerate(split.user_ids)}
    found = {
        row_of[user]: [row_of[other] for other in (() if near is None else near) if other in row_of]
        for user, near in zip(profiles["user_id"], profiles["neighbors"], strict=True)
        if user in row_of
    }
    rows = np.full((split.n_users, max(map(len, found.values()), default=0)), -1, dtype=np.int32)
    for user, near in found.items():
        rows[user, : len(near)] = near
    return rows


def safe_profile(text: object, size: int = USER_ITEMS) -> str | None:
    """A well-formed profile as it may stand in a chat, or None.

    Profiles are made of texts that strangers wrote: chat markup in them would end the turn that they stand in.
    """
    if not isinstance(text, str) or not well_formed(text, size):
        return None
    profile = parse(text)
    sections = (tuple(map(neutralize, section)) for section in (profile.identities, profile.interests))
    clean = render(Profile(*sections))
    return clean if well_formed(clean, size) else None


def distillation(
    whole: Sequence[ItemLine], shares: Mapping[str, float], profile: str, budget: TokenBudget, style: PromptStyle
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One turn: the request that profiles are generated by, without similar users and worked examples, and the profile.

    Args:
        whole: the history, most recent first. shares: category -> its share of all interactions before the cut.

    Returns:
        The chat as the column `messages`, and the fact `tokens`.

    Raises:
        Skip: not even one item fits.
    """
    reply: Message = {"role": "assistant", "content": profile}
    for shown in range(min(len(whole), HISTORY_ITEMS), 0, -1):
        chat = [*own_chat(whole, shown, shares, style), reply]
        tokens = budget.chat(chat)
        if tokens <= budget.max_tokens:
            return {"messages": chat}, {"tokens": tokens}
    raise Skip(UNFIT)


def readable_profiles(profiles: pd.DataFrame, split: Split) -> dict[int, str]:
    """User row -> profile as it may stand in a chat, of the users of a split whose profile is well-formed.

    Raises:
        TableError: a missing column, a user twice, or a profile that was written after the cut of the split.
    """
    import pandas as pd

    require_columns(profiles, ["user_id", "profile"], "profiles")
    repeated = profiles["user_id"][profiles["user_id"].duplicated()]
    if len(repeated):
        raise TableError(f"profiles: user {repeated.iloc[0]!r} has two profiles; keep one row for a user.")
    if split.cut is not None and "as_of" in profiles.columns:
        late = profiles["user_id"][profiles["as_of"] > pd.Timestamp(split.cut, unit="us", tz="UTC")]
        if len(late):
            raise TableError(
                f"profiles: {len(late)} were written as of a time after the cut, that of {late.iloc[0]!r} the first; "
                "give those of this cut."
            )
    row_of = {str(user): row for row, user in enumerate(split.user_ids)}
    found = {}
    for user, text in zip(profiles["user_id"], profiles["profile"], strict=True):
        profile = safe_profile(text)
        if user in row_of and profile is not None:
            found[row_of[user]] = profile
    return found


def _with_evidence(
    profiles: pd.DataFrame, split: Split
) -> tuple[dict[int, str], dict[int, frozenset[int]], Counter[str]]:
    """User row -> profile, user row -> items that it was written from, and why other rows are not used."""
    require_columns(profiles, ["user_id", "profile", "evidence", "prompt_version"], "profiles")
    readable = readable_profiles(profiles, split)
    if profiles["prompt_version"].astype(str).str.endswith(MASKED).any():
        raise TableError("profiles: some were written without titles (--mask-titles); give those written with titles.")
    user_row = {str(user): row for row, user in enumerate(split.user_ids)}
    item_row = {str(item): row for row, item in enumerate(split.item_ids)}
    has_history = np.bincount(split.history_user, minlength=split.n_users) > 0
    known: dict[int, str] = {}
    evidence: dict[int, frozenset[int]] = {}
    skipped: Counter[str] = Counter()
    for user, shown in zip(profiles["user_id"], profiles["evidence"], strict=True):
        row = user_row.get(user)
        if row is None or not has_history[row]:
            skipped["no history before the cut"] += 1
        elif row not in readable:
            skipped["malformed profile"] += 1
        else:
            known[row] = readable[row]
            evidence[row] = frozenset(item_row[item] for item in (() if shown is None else shown) if item in item_row)
    return known, evidence, skipped


@dataclass(frozen=True)
class _Maker:
    """What all chats are made from; pairs of a chat and what is known of it come out."""

    split: Split
    lines: list[ItemLine]
    histories: list[list[int]]
    profiles: Mapping[int, str]
    evidence: Mapping[int, frozenset[int]]
    budget: TokenBudget
    style: PromptStyle

    @cached_property
    def popularity(self) -> np.ndarray:
        """[I] interactions before the cut."""
        return np.bincount(self.split.history_item, minlength=self.split.n_items)

    @cached_property
    def shares(self) -> dict[str, float]:
        return category_shares(self.split, self.lines)

    def cost(self, item: int) -> int:
        return self.budget.line(str(self.lines[item]))

    def two_turns(
        self, user: int, near: Sequence[int], n_pairs: int, seed: int, match_popularity: bool, unread: bool
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The dialogues of one user, Yes and No in turns."""
        if not near:
            raise Skip("no neighbour with a well-formed profile")
        own = set(self.histories[user])
        excluded = self.evidence[user] if unread else frozenset()
        lists = [list(self.histories[person]) for person in (user, *near)]
        replies = [self.profiles[person] for person in (user, *near)]
        longest = max((item for items in lists[1:] for item in items), key=self.cost)
        room = self.budget.max_tokens - self.budget.chat(self._dialogue([[] for _ in lists], replies, longest, False))

        def make() -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], int]:
            positives, negatives = pools(lists[1:], own, excluded, self.split.item_ids)
            rng = user_rng(seed, str(self.split.user_ids[user]))
            drawn = draw_pairs(positives, negatives, n_pairs, rng, self.popularity if match_popularity else None)
            target, pairs = take_out(lists[0], drawn)
            made = []
            for item, label in ((item, label) for yes, no in pairs for item, label in ((yes, True), (no, False))):
                chat = self._dialogue([target, *lists[1:]], replies, item, label)
                row = {"messages": chat, "candidate_item_id": str(self.split.item_ids[item]), "label": label}
                fact = {"tokens": self.budget.chat(chat), "label": label}
                made.append((row, fact | self._fact(item, label, user, near, lists[1:])))
            return made, max(fact["tokens"] for _, fact in made)

        fitting = self.budget.fit(lists, self.cost, room, FEWEST_ITEMS, make)
        if fitting is None:
            raise Skip(UNFIT)
        return fitting

    def _dialogue(
        self, lists: Sequence[Sequence[int]], replies: Sequence[str], candidate: int, label: bool
    ) -> list[Message]:
        target, *others = [[self.lines[item] for item in items] for items in lists]
        turns = [*first_turn(target, others, self.style), first_reply(replies)]
        return [*turns, second_turn(self.lines[candidate]), second_reply(label)]

    def _fact(
        self, item: int, label: bool, user: int, near: Sequence[int], shown: Sequence[Sequence[int]]
    ) -> dict[str, Any]:
        places = [items.index(item) for items in shown if item in items]
        return {
            "popularity": int(self.popularity[item]) - label,
            "shown_by": len(places),
            "had_by": sum(item in self.histories[other] for other in near),
            "place": -min(places),
            "read": item in self.evidence[user],
        }

    def distill(self, user: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """One turn about one user."""
        whole = [self.lines[item] for item in self.histories[user]]
        return [distillation(whole, self.shares, self.profiles[user], self.budget, self.style)]
