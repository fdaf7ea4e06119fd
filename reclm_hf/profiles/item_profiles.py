"""Writing the profiles of items, in two phases (RecLM section 6.6).

Phase 1: items with interactions, from the profiles of users who chose them. Phase 2: items that nobody has chosen yet,
from the most similar items of phase 1 and their profiles.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import Split
from ..data.tables import ITEM_PROFILE_COLUMNS, TableError
from .engines import Engine, GeneratedProfile, ProfileRequest
from .generate import as_table, draw_mark, input_hash, lineage
from .item_prompts import ITEM_PROMPT_VERSION, cold_item_message, item_examples, item_message
from .neighbors import nearest_by_text
from .profile import ITEM_ITEMS, USER_ITEMS, Profile, from_lists, render
from .prompts import ItemLine, Message, PromptStyle, item_lines
from .shards import SHARD_SIZE, Job, ShardStore, write_jobs

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

MIN_INTERACTIONS = 5
READERS = 20
PHRASES = 6
SIMILAR_ITEMS = 3


@dataclass(frozen=True)
class ItemEvidence:
    """What one item's profile is written from: rows of users (phase 1) or of items (phase 2)."""

    item: int
    readers: list[int]
    similar: list[int]

    @property
    def phase(self) -> str:
        """The value of the column `phase`."""
        return "interactions" if self.readers else "similar_items"


def generate_item_profiles(
    split: Split,
    items: pd.DataFrame,
    user_profiles: pd.DataFrame,
    item_vectors: np.ndarray,
    engine: Engine,
    folder: Path,
    *,
    min_interactions: int = MIN_INTERACTIONS,
    style: PromptStyle | None = None,
    shard_size: int = SHARD_SIZE,
    progress: bool = True,
    draws: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Profiles of all items with enough interactions before the cut of `split`, and of all cold items.

    A second call writes only what changed: an item's readers or their profiles, its similar items or theirs, its text,
    the generator or the prompt version.

    Args:
        items: the item table in the order of the split's item rows.
        user_profiles: as of the same cut; malformed ones are not read.
        item_vectors: [I, d_t] text vectors, by which similar items are found.
        folder: holds the shards.
        min_interactions: an item with fewer, but some, has too few readers and gets no profile.
        draws: item id -> which draw is taken, 1 or more, instead of the greedy profile.

    Returns:
        Columns `ITEM_PROFILE_COLUMNS`, in the order of the item rows.

    Raises:
        TableError: no item has readers with a profile, or a shard could not be written; what was finished is kept.
    """
    style = style or PromptStyle()
    lines = item_lines(items, style)
    readers = _complete(user_profiles, split.user_ids, "user_id", USER_ITEMS)
    store = ShardStore(folder, ITEM_PROFILE_COLUMNS, split.cut)
    options = {"shard_size": shard_size, "progress": progress}
    draws = draws or {}

    first = choose_readers(split, readers, min_interactions)
    if not first:
        raise TableError(
            f"No item has {min_interactions} interactions and a user with a well-formed profile among them: "
            "write user profiles first, or lower min_interactions (`--min-interactions`)."
        )
    shares = phrase_shares(readers.values())
    asked = []
    for part in first:
        chosen = [readers[user] for user in part.readers]
        message = item_message(lines[part.item], *telling_phrases(chosen, shares))
        asked.append((message, [render(profile) for profile in chosen]))
    rows = _write(first, asked, split, lines, engine, store, style, "item profiles", draws, options)
    known = _complete(as_table(rows, ITEM_PROFILE_COLUMNS), split.item_ids, "item_id", ITEM_ITEMS)
    second = choose_similar(split, known, item_vectors)
    asked = []
    for part in second:
        near = [(lines[item], known[item]) for item in part.similar]
        message = cold_item_message(lines[part.item], near)
        asked.append((message, [f"{line}|{render(profile)}" for line, profile in near]))
    rows += _write(second, asked, split, lines, engine, store, style, "cold item profiles", draws, options)

    order = np.argsort([part.item for part in (*first, *second)], kind="stable")
    return as_table([rows[position] for position in order], ITEM_PROFILE_COLUMNS)


def choose_readers(
    split: Split, readers: dict[int, Profile], min_interactions: int = MIN_INTERACTIONS, n: int = READERS
) -> list[ItemEvidence]:
    """Some of the users who chose each item, drawn by a hash of user and item.

    So the draw hardly changes when others choose the item as well: the profile stays while its audience grows. The
    latest users would have been new ones every day.
    """
    order = np.argsort(split.history_item, kind="stable")
    users = split.history_user[order]
    counts = np.bincount(split.history_item, minlength=split.n_items)
    chosen = []
    for item, part in enumerate(np.split(users, np.cumsum(counts)[:-1])):
        known = [int(user) for user in part if int(user) in readers] if counts[item] >= min_interactions else []
        known.sort(key=lambda user: _draw(str(split.item_ids[item]), str(split.user_ids[user])))
        if known:
            chosen.append(ItemEvidence(item, known[:n], []))
    return chosen


def phrase_shares(profiles: Iterable[Profile]) -> dict[str, float]:
    """Identity or interest -> share of the profiles that have it."""
    profiles = list(profiles)
    counts = Counter(phrase for profile in profiles for phrase in (*profile.identities, *profile.interests))
    return {phrase: count / len(profiles) for phrase, count in counts.items()}


def telling_phrases(
    readers: Sequence[Profile], shares: Mapping[str, float], n: int = PHRASES
) -> tuple[list[str], list[str]]:
    """The identities, and the interests, that readers share more than everybody does, by count x log(1 / share).

    Profiles one below the other would tell a small model what everybody likes: it copies the most common phrases.
    """

    def best(phrases: Iterable[str]) -> list[str]:
        counts = Counter(phrases)
        repeated = {phrase: count for phrase, count in counts.items() if count > 1}
        if not repeated:  # what a single reader has is no trait of the audience: what is common is likelier one
            return sorted(counts, key=lambda phrase: (-shares[phrase], phrase))[:n]
        weight = {phrase: count * math.log(1 / min(shares[phrase], 1.0)) for phrase, count in repeated.items()}
        return sorted(weight, key=lambda phrase: (-weight[phrase], phrase))[:n]

    return (
        best(phrase for reader in readers for phrase in reader.identities),
        best(phrase for reader in readers for phrase in reader.interests),
    )


def choose_similar(
    split: Split, known: dict[int, Profile], item_vectors: np.ndarray, n: int = SIMILAR_ITEMS
) -> list[ItemEvidence]:
    """The items with a profile that are most like each cold item, by cosine of their centred text vectors."""
    cold = np.flatnonzero(~split.warm)
    rows = np.array(sorted(known), dtype=np.int64)
    if not len(cold) or not len(rows):
        return []
    centred = item_vectors - item_vectors[rows].mean(axis=0)
    near = nearest_by_text(centred[cold], centred[rows], n)
    return [
        ItemEvidence(int(item), [], [int(rows[place]) for place in places if place >= 0])
        for item, places in zip(cold, near, strict=True)
    ]


def _draw(item_id: str, user_id: str) -> bytes:
    return hashlib.sha256(f"{item_id}\x00{user_id}".encode()).digest()


def _complete(table: pd.DataFrame, ids: np.ndarray, column: str, size: int) -> dict[int, Profile]:
    """Row -> profile of those that are complete."""
    row_of = {identity: row for row, identity in enumerate(ids)}
    profiles = {
        row_of[identity]: from_lists(identities, interests)
        for identity, identities, interests in zip(table[column], table["identities"], table["interests"], strict=True)
        if identity in row_of
    }
    return {row: profile for row, profile in profiles.items() if profile.is_complete(size)}


def _write(
    evidence: Sequence[ItemEvidence],
    asked: Sequence[tuple[Message, list[str]]],
    split: Split,
    lines: Sequence[ItemLine],
    engine: Engine,
    store: ShardStore,
    style: PromptStyle,
    what: str,
    draws: Mapping[str, int],
    options: dict[str, Any],
) -> list[Any]:
    """The rows of one phase; with each message come the profiles that it was made from, which renew it.

    What stands out among readers depends on everybody's profiles: hashed as it is shown, each would renew many.
    """
    version = ITEM_PROMPT_VERSION + style.version
    begin = item_examples(style)
    jobs = []
    for part, (message, sources) in zip(evidence, asked, strict=True):
        key, line = str(split.item_ids[part.item]), lines[part.item]
        own = [f"{line}|{','.join(line.categories)}", *sources]
        request = ProfileRequest(key, begin, (message,), ITEM_ITEMS, draws.get(key, 0), language=style.language)
        digest = input_hash(engine.generator, version + draw_mark(request), key, begin, own)
        jobs.append(Job(request, digest))

    def to_row(position: int, result: GeneratedProfile) -> dict[str, Any]:
        part = evidence[position]
        return {
            "item_id": jobs[position].request.key,
            "evidence": [str(split.user_ids[user]) for user in part.readers],
            "neighbors": [str(split.item_ids[item]) for item in part.similar],
            "phase": part.phase,
            **lineage(jobs[position], result, split.cut, engine.generator, version),
        }

    return list(write_jobs(jobs, engine, store, to_row, what=what, **options))
