"""Profiles of people without history: from what they say to like, or from what most people chose; and saying which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import Split
from ..data.tables import PROFILE_COLUMNS, TableError, bad_rows, require_columns
from .engines import Engine, GeneratedProfile, ProfileRequest
from .evidence import HISTORY_ITEMS, NEIGHBOR_ITEMS, histories
from .generate import as_table, input_hash, lineage
from .neighbors import nearest_by_text
from .prompts import PROMPT_VERSION, ItemLine, Message, PromptStyle, examples, item_lines, prior_message, stated_message
from .shards import Job, ShardStore, write_jobs
from .untrusted import PLACEHOLDER, neutralize

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Newcomer:
    user_id: str
    text: str
    neighbors: list[int]
    evidence: list[int]

    @property
    def source(self) -> str:
        return "stated" if self.text else "prior"


def generate_new_user_profiles(
    new_users: pd.DataFrame,
    split: Split,
    items: pd.DataFrame,
    engine: Engine,
    folder: Path,
    *,
    stated_vectors: np.ndarray,
    history_vectors: np.ndarray,
    style: PromptStyle | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Profiles of users without history before the cut of `split`.

    Whoever states preferences gets neighbours by text, and what these chose stands in the prompt; of anybody else
    nothing is known, and the profile is that of the most chosen items (`source` "prior").

    Args:
        new_users: columns user_id and text; an empty or missing text states nothing.
        stated_vectors: [n, d_t] text vectors of the rows of `new_users`; rows without text are not looked at.
        history_vectors: [U, d_t] mean text vectors of the users' histories, zero without history.
        folder: holds the shards.

    Returns:
        One row a user, columns `PROFILE_COLUMNS`, in the order of `new_users`.

    Raises:
        TableError: no user_id column, an id that is empty, repeated or has a history.
    """
    style = style or PromptStyle()
    check_new_users(new_users, split)
    texts = stated_texts(new_users)
    lines = item_lines(items, style)
    newcomers = _newcomers(new_users["user_id"].tolist(), texts, split, stated_vectors, history_vectors)
    version = PROMPT_VERSION + style.version
    begin = examples(style)
    jobs = []
    for one in newcomers:
        message = _message(one, lines)
        # What is not known of anybody is written once; a person's own words are what renews a stated profile.
        key, own = (one.user_id, [one.text]) if one.text else ("", [message["content"]])
        digest = input_hash(engine.generator, f"{version}, {one.source}", key, begin, own)
        jobs.append(Job(ProfileRequest(key, begin, (message,), language=style.language), digest))

    def to_row(position: int, result: GeneratedProfile) -> dict[str, Any]:
        one = newcomers[position]
        return {
            "user_id": one.user_id,
            "evidence": [str(split.item_ids[item]) for item in one.evidence],
            "neighbors": [str(split.user_ids[user]) for user in one.neighbors],
            "neighbors_by": "text" if one.neighbors else "none",
            "source": one.source,
            **lineage(jobs[position], result, split.cut, engine.generator, version),
        }

    store = ShardStore(folder, PROFILE_COLUMNS, split.cut)
    rows = write_jobs(jobs, engine, store, to_row, what="profiles of new users", progress=progress)
    named = [{**row, "user_id": one.user_id} for row, one in zip(rows, newcomers, strict=True)]
    return as_table(named, PROFILE_COLUMNS)


def stated_texts(new_users: pd.DataFrame) -> list[str]:
    """What each new user says to like, neutralised; empty where nothing is said."""
    if "text" not in new_users.columns:
        return [""] * len(new_users)
    shown = [neutralize(text) if isinstance(text, str) and text.strip() else PLACEHOLDER for text in new_users["text"]]
    kept = zip(shown, new_users["text"], strict=True)
    return [str(text) if said != PLACEHOLDER else "" for said, text in kept]


def check_new_users(new_users: pd.DataFrame, split: Split) -> None:
    """Raise `TableError`: no user_id column, an id that is empty, repeated or has a history."""
    require_columns(new_users, ["user_id"], "new users")
    ids = new_users["user_id"]
    bad = ids.map(lambda value: not isinstance(value, str) or not value.strip()).to_numpy()
    if bad.any():
        raise bad_rows("new users", "user_id", np.flatnonzero(bad), "no id", "Fill the ids in, as text.")
    if ids.duplicated().any():
        rows = np.flatnonzero(ids.duplicated().to_numpy())
        raise bad_rows("new users", "user_id", rows, f"a repeated id ({ids.iloc[rows[0]]!r})", "Keep one row a user.")
    active = set(split.user_ids[np.unique(split.history_user)].tolist())
    known = [user for user in ids if user in active]
    if known:
        raise TableError(
            f"new users: {known[0]!r} has a history ({len(known)} such); profiles of users with a history are written "
            "from it. Leave them out of the file."
        )


def _newcomers(
    user_ids: Sequence[str], texts: Sequence[str], split: Split, stated: np.ndarray, known: np.ndarray
) -> list[_Newcomer]:
    said = [row for row, text in enumerate(texts) if text]
    near = nearest_by_text(stated[said], known) if said else ()
    found = {row: [int(user) for user in users if user >= 0] for row, users in zip(said, near, strict=True)}
    own = histories(split)
    popular = _most_chosen(split)
    newcomers = []
    for row, (user_id, text) in enumerate(zip(user_ids, texts, strict=True)):
        neighbors = found.get(row, [])
        shown = [item for user in neighbors for item in own[user][:NEIGHBOR_ITEMS]] if text else popular
        newcomers.append(_Newcomer(user_id, text, neighbors, list(dict.fromkeys(shown))))
    return newcomers


def _most_chosen(split: Split) -> list[int]:
    counts = np.bincount(split.history_item, minlength=split.n_items)
    return np.argsort(-counts, kind="stable")[:HISTORY_ITEMS].tolist()


def _message(one: _Newcomer, lines: Sequence[ItemLine]) -> Message:
    shown = [lines[item] for item in one.evidence]
    return stated_message(one.text, shown) if one.text else prior_message(shown)
