"""Profiles of a named source as tables and as instructions: what the authors' ChatGPT-3.5 wrote, under its own name."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.importers.chatgpt_pairs import SOURCE, ChatGPTPairs, ItemPair, UserPair
from ..data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS
from .budget import TokenBudget
from .instruction_sampling import Skip
from .instructions import MAX_TOKENS, Instructions, distillation, instruction_table, safe_profile
from .item_instructions import item_chats
from .item_profiles import phrase_shares
from .profile import ITEM_ITEMS, USER_ITEMS, format_score, parse, render, well_formed
from .prompts import ItemLine, PromptStyle, item_lines

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

PROMPT_VERSION = "reclm-release"


@dataclass(frozen=True)
class ImportedPairs:
    """Tables and instructions made of the pairs of a named source.

    Attributes:
        user_profiles, item_profiles: columns `PROFILE_COLUMNS` and `ITEM_PROFILE_COLUMNS`; their `generator` is the
            source. Dates and token counts are not known.
        instructions: all of variant `distill`.
        counts: for `users` and `items`: rows, as_written (exactly in the format), well_formed (once punctuation is
            mended and surplus items are left out), malformed.
    """

    user_profiles: pd.DataFrame
    item_profiles: pd.DataFrame
    instructions: Instructions
    counts: dict[str, dict[str, int]]


def import_pairs(
    pairs: ChatGPTPairs,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int = MAX_TOKENS,
    style: PromptStyle | None = None,
) -> ImportedPairs:
    """The pairs as our tables, and as instructions in our wording: the source's prompts are read, not repeated.

    A profile is kept as the format has it: its items are the source's, its punctuation ours. A malformed one is kept as
    it is, with a `format_score` below 1, and gives no instruction.

    Args:
        max_tokens: of a whole chat; see `build_instructions` and `build_item_instructions`.
    """
    import pandas as pd

    style = style or PromptStyle()
    lines = dict(zip(pairs.items["item_id"], item_lines(pairs.items, style), strict=True))
    budget = TokenBudget(tokenizer, max_tokens)
    users = _table([_user_row(pair) for pair in pairs.users], PROFILE_COLUMNS)
    items = _table([_item_row(pair) for pair in pairs.item_pairs], ITEM_PROFILE_COLUMNS)
    readers = {
        pair.item_id: [profile for text in pair.readers if (profile := parse(text, USER_ITEMS)).is_complete()]
        for pair in pairs.item_pairs
    }
    everybody = [profile for found in readers.values() for profile in found]
    by_item = item_chats(
        lines,
        dict(zip(items["item_id"], items["profile"], strict=True)),
        readers,
        phrase_shares(everybody) if everybody else {},
        {pair.item_id: pair.similar for pair in pairs.item_pairs},
        budget,
        style,
    )
    shown = [(pair.user_id, [lines[item] for item in pair.items]) for pair in pairs.users]
    by_user = _user_chats(shown, users, budget, style)
    instructions = Instructions(
        pd.concat([by_user.table, by_item.table], ignore_index=True),
        {**by_user.skipped, **by_item.skipped},
        pd.concat([by_user.facts, by_item.facts], ignore_index=True),
    )
    counts = {
        "users": _counts([pair.text for pair in pairs.users], users, USER_ITEMS),
        "items": _counts([pair.text for pair in pairs.item_pairs], items, ITEM_ITEMS),
    }
    return ImportedPairs(users, items, instructions, counts)


def _user_chats(
    histories: Sequence[tuple[str, list[ItemLine]]], users: pd.DataFrame, budget: TokenBudget, style: PromptStyle
) -> Instructions:
    import pandas as pd

    shares = _category_shares([history for _, history in histories])
    rows: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    for (user, history), text in zip(histories, users["profile"], strict=True):
        profile = safe_profile(text)
        if profile is None:
            skipped["malformed profile"] += 1
            continue
        try:
            chat, fact = distillation(history, shares, profile, budget, style)
        except Skip as reason:
            skipped[str(reason)] += 1
            continue
        rows.append({"variant": "distill", "user_id": user, **chat})
        facts.append({**fact, "form": "history"})
    return Instructions(instruction_table(rows), dict(skipped), pd.DataFrame(facts, columns=["tokens", "form"]))


def _category_shares(histories: Sequence[Sequence[ItemLine]]) -> dict[str, float]:
    """Category -> share of everything listed in the prompts that carries it; see `prompts.standout`."""
    counts = Counter(category for history in histories for line in history for category in set(line.categories))
    total = sum(map(len, histories))
    return {category: count / total for category, count in counts.items()}


def _user_row(pair: UserPair) -> dict[str, Any]:
    near = {"neighbors": pair.neighbors, "neighbors_by": "interactions" if pair.neighbors else "none"}
    return {
        "user_id": pair.user_id,
        "evidence": pair.items,
        **near,
        "source": "interactions",
        **_profile_columns(pair.text, pair.prompt, USER_ITEMS),
    }


def _item_row(pair: ItemPair) -> dict[str, Any]:
    return {
        "item_id": pair.item_id,
        "evidence": pair.reader_ids,
        "neighbors": [],
        "phase": "interactions",
        **_profile_columns(pair.text, pair.prompt, ITEM_ITEMS),
    }


def _profile_columns(text: str, prompt: str, size: int) -> dict[str, Any]:
    profile = parse(text, size)
    kept = render(profile) if profile.identities and profile.interests else text.strip()
    return {
        "profile": kept,
        "identities": list(profile.identities),
        "interests": list(profile.interests),
        "generator": SOURCE,
        "prompt_version": PROMPT_VERSION,
        "input_hash": hashlib.sha256(prompt.encode()).hexdigest(),
        "format_score": format_score(kept, size),
    }


def _table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(columns))
    table["as_of"] = pd.Series(pd.NaT, index=table.index, dtype="datetime64[us, UTC]")
    return table.astype({"tokens_in": "Int64", "tokens_out": "Int64"})


def _counts(texts: Sequence[str], table: pd.DataFrame, size: int) -> dict[str, int]:
    good = int((table["format_score"] == 1.0).sum())
    return {
        "rows": len(table),
        "as_written": sum(well_formed(text, size) for text in texts),
        "well_formed": good,
        "malformed": len(table) - good,
    }
