"""Item-side instructions (RecLM section 6.6): from an item to the profile of the audience that it finds.

Two forms, as items are profiled in two phases. Both are practised on items with interactions: `readers` shows what
stands out in the profiles of users who chose the item, `similar` shows the most similar items with their profiles, as
if nobody had chosen the item yet. The answer is the profile that was written from real interactions in both: a profile
that was itself guessed from similar items teaches nothing, and the items that such profiles are of come after the cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.tables import require_columns
from .budget import TokenBudget
from .instruction_sampling import UNFIT
from .instructions import MAX_TOKENS, Instructions, instruction_table, safe_profile
from .item_profiles import SIMILAR_ITEMS, phrase_shares, telling_phrases
from .item_prompts import cold_item_message, item_examples, item_message
from .profile import ITEM_ITEMS, Profile, parse
from .prompts import ItemLine, Message, PromptStyle, item_lines

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase


def build_item_instructions(
    items: pd.DataFrame,
    item_profiles: pd.DataFrame,
    user_profiles: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    *,
    similar: Mapping[str, Sequence[str]] | None = None,
    max_tokens: int = MAX_TOKENS,
    style: PromptStyle | None = None,
) -> Instructions:
    """One-turn instructions (`distill`, `user_id` None) about every item with a well-formed profile from interactions.

    Args:
        items: the item table. item_profiles, user_profiles: as of one cut, and certified.
        similar: item_id -> items most like it, best first, see `similar_items`; None: only the form `readers`.
        max_tokens: of a whole chat; similar items go one by one, the least like first, until it fits.

    Returns:
        `facts` has `tokens` and `form`.
    """
    require_columns(item_profiles, ["item_id", "profile", "evidence", "phase"], "item profiles")
    require_columns(user_profiles, ["user_id", "profile"], "profiles")
    style = style or PromptStyle()
    users = {
        user: parse(text)
        for user, profile in zip(user_profiles["user_id"], user_profiles["profile"], strict=True)
        if (text := safe_profile(profile)) is not None
    }
    first = item_profiles[item_profiles["phase"] == "interactions"]
    readers = {
        item: [users[user] for user in (() if shown is None else shown) if user in users]
        for item, shown in zip(first["item_id"], first["evidence"], strict=True)
    }
    lines = dict(zip(items["item_id"], item_lines(items, style), strict=True))
    profiles = dict(zip(first["item_id"], first["profile"], strict=True))
    shares = phrase_shares(users.values()) if users else {}
    made = item_chats(lines, profiles, readers, shares, similar or {}, TokenBudget(tokenizer, max_tokens), style)
    guessed = len(item_profiles) - len(first)
    if guessed:
        made.skipped["item profile guessed from similar items"] = guessed
    return made


def item_chats(
    lines: Mapping[str, ItemLine],
    profiles: Mapping[str, str],
    readers: Mapping[str, Sequence[Profile]],
    shares: Mapping[str, float],
    similar: Mapping[str, Sequence[str]],
    budget: TokenBudget,
    style: PromptStyle,
) -> Instructions:
    """The chats of `build_item_instructions`, everything by item id.

    Args:
        profiles: of items, well-formed or not. readers: profiles of users who chose an item. shares: of phrases in all
            users' profiles, see `phrase_shares`.
    """
    import pandas as pd

    skipped: Counter[str] = Counter()
    known = {item: text for item, profile in profiles.items() if (text := safe_profile(profile, ITEM_ITEMS))}
    skipped.update({"malformed item profile": len(profiles) - len(known)} if len(known) < len(profiles) else {})
    rows: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    for item, text in sorted(known.items()):
        near = [(lines[other], parse(known[other])) for other in similar.get(item, ()) if other in known]
        requests: dict[str, list[Message]] = {"readers": [], "similar": []}
        if readers.get(item):
            requests["readers"] = [item_message(lines[item], *telling_phrases(readers[item], shares))]
        elif item in readers:
            skipped["item without a reader's well-formed profile"] += 1
        if near:
            requests["similar"] = [cold_item_message(lines[item], near[:count]) for count in range(len(near), 0, -1)]
        elif similar:
            skipped["item without a similar item's profile"] += 1
        reply: Message = {"role": "assistant", "content": text}
        for form, wordings in requests.items():
            chats = ([item_examples(style)[0], request, reply] for request in wordings)
            fitting = next(((chat, n) for chat in chats if (n := budget.chat(chat)) <= budget.max_tokens), None)
            if fitting:
                rows.append({"messages": fitting[0], "variant": "distill", "candidate_item_id": item})
                facts.append({"tokens": fitting[1], "form": form})
            elif wordings:
                skipped[f"item {UNFIT}"] += 1
    return Instructions(instruction_table(rows), dict(skipped), pd.DataFrame(facts, columns=["tokens", "form"]))


def similar_items(
    item_profiles: pd.DataFrame, item_ids: Sequence[str] | np.ndarray, item_vectors: np.ndarray, n: int = SIMILAR_ITEMS
) -> dict[str, list[str]]:
    """For each item with a well-formed profile from interactions, the other such items most like it by their texts.

    Args:
        item_ids: [I]. item_vectors: [I, d_t] text vectors in that order; they are centred first.
    """
    row_of = {str(item): row for row, item in enumerate(item_ids)}
    usable = item_profiles["phase"].eq("interactions") & item_profiles["profile"].map(
        lambda text: safe_profile(text, ITEM_ITEMS) is not None
    )
    known = [str(item) for item in item_profiles["item_id"][usable] if item in row_of]
    if len(known) < 2:
        return {}
    vectors = item_vectors[[row_of[item] for item in known]].astype(np.float32)
    vectors = vectors - vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found = {}
    for row, item in enumerate(known):
        scores = vectors @ vectors[row]
        scores[row] = -np.inf
        best = np.argsort(-scores, kind="stable")[: min(n, len(known) - 1)]
        found[item] = [known[other] for other in best]
    return found
