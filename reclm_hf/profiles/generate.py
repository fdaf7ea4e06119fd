"""Writing the profiles of all users: resumable, and renewed only where a user's own history has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import Split
from ..data.tables import PROFILE_COLUMNS
from .engines import Engine, GeneratedProfile, ProfileRequest
from .evidence import HISTORY_ITEMS, NEIGHBOR_ITEMS, UserEvidence, collect_evidence
from .forms import CHAT_TOKENS, COUNTED, EXAMPLES_FORM, ask, form_version
from .profile import format_score, parse
from .prompts import ItemLine, Message, PromptStyle, item_lines
from .shards import SHARD_SIZE, Job, ShardStore, write_jobs

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

MASKED = "-masked"


def generate_user_profiles(
    split: Split,
    items: pd.DataFrame,
    neighbors: np.ndarray,
    engine: Engine,
    folder: Path,
    *,
    users: Sequence[int] | np.ndarray | None = None,
    neighbors_by: Sequence[str] | np.ndarray | None = None,
    style: PromptStyle | None = None,
    history_items: int = HISTORY_ITEMS,
    neighbor_items: int = NEIGHBOR_ITEMS,
    shard_size: int = SHARD_SIZE,
    progress: bool = True,
    mask_titles: bool = False,
    form: str = EXAMPLES_FORM,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_tokens: int = CHAT_TOKENS,
    draws: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Profiles of `users` as of the cut of `split`.

    Shards are written whole or not at all. A second call, after a kill or with newer data, writes only the profiles
    whose `input_hash` has no row yet. It covers the user's own history as prompts show it, the generator, the prompt
    version, the form and the style. What similar users chose is context and renews nothing: neighbours move with every
    training of the model that they come from, and all profiles would be written again every day. For the same reason a
    row that is kept names the neighbours, and the `as_of`, that it was written with.

    Args:
        items: the item table in the order of the split's item rows.
        neighbors: [U, n] int32 user rows, -1 for none.
        folder: holds the shards.
        users: user rows; None: everybody with history.
        neighbors_by: [U] how each user's neighbours were found; None: by interactions.
        style: how items are shown; see `PromptStyle`.
        history_items: own items shown. neighbor_items: items shown of each neighbour. A dialogue shows what fits.
        mask_titles: show ids instead of titles, a placebo: what such profiles are worth less than others is what the
            model knows of the titles. Their `prompt_version` ends with "-masked".
        form: how the model is asked; `prompt_version` names every other form than the usual one. A tuned model is asked
            as it was tuned, see `forms`.
        tokenizer: of the model, with a chat template; needed by the forms "own" and "dialogue", whose chats are cut to
            `max_tokens`.
        draws: user id -> which draw is taken, 1 or more, instead of the greedy profile.

    Returns:
        One row a user, columns `PROFILE_COLUMNS`, in the order of `users`. Malformed profiles are there, with a
        `format_score` below 1.

    Raises:
        TableError: a shard could not be written; what was finished before is kept.
        ValueError: an unknown form, no tokenizer where one is needed, or too few tokens for one item.
    """
    style = style or PromptStyle()
    users = np.unique(split.history_user) if users is None else np.asarray(users)
    version = form_version(form, style) + (MASKED if mask_titles else "")
    lines = item_lines(items, style, masked=mask_titles)
    evidence = collect_evidence(split, neighbors, users, history_items=history_items, neighbor_items=neighbor_items)
    asked = ask(evidence, split, lines, form, style, tokenizer, max_tokens)
    usual = (history_items, neighbor_items) == (HISTORY_ITEMS, NEIGHBOR_ITEMS)
    hashed = version if usual else f"{version}, {history_items} own and {neighbor_items} similar items"
    if form in COUNTED and max_tokens != CHAT_TOKENS:
        hashed += f", {max_tokens} tokens"
    requests = drawn([one.request for one in asked], draws)
    jobs = [
        Job(request, _own_hash(one.shown, lines, request, engine.generator, hashed + draw_mark(request)))
        for one, request in zip(asked, requests, strict=True)
    ]

    def to_row(position: int, result: GeneratedProfile) -> dict[str, Any]:
        part = asked[position].shown
        found_by = "interactions" if neighbors_by is None else str(neighbors_by[part.user])
        return {
            "user_id": str(split.user_ids[part.user]),
            "evidence": [str(split.item_ids[item]) for item in (*part.history, *part.similar)],
            "neighbors": [str(split.user_ids[other]) for other in part.neighbors],
            "neighbors_by": found_by if part.neighbors else "none",
            "source": "interactions",
            **lineage(jobs[position], result, split.cut, engine.generator, version),
        }

    store = ShardStore(folder, PROFILE_COLUMNS, split.cut, still_true(split))
    rows = write_jobs(jobs, engine, store, to_row, what="user profiles", shard_size=shard_size, progress=progress)
    return as_table(rows, PROFILE_COLUMNS)


def drawn(requests: Sequence[ProfileRequest], draws: Mapping[str, int] | None) -> list[ProfileRequest]:
    """The requests, those of `draws` (key -> draw) for that draw instead of the greedy profile."""
    chosen = draws or {}
    return [replace(request, sample=chosen.get(request.key, request.sample)) for request in requests]


def draw_mark(request: ProfileRequest) -> str:
    """What the hash of a drawn profile holds beside that of a greedy one."""
    return f", draw {request.sample}" if request.sample else ""


def still_true(split: Split) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a user's stored row was written from what the histories of `split` hold.

    An interaction may have been deleted since, or lie in the other half of a cross-fit after the boundary has moved.
    """
    user_row = {str(user): row for row, user in enumerate(split.user_ids)}
    item_row = {str(item): row for row, item in enumerate(split.item_ids)}
    chosen = split.history_matrix()

    def holds(row: Mapping[str, Any]) -> bool:
        readers = [user_row[user] for user in (row["user_id"], *row["neighbors"]) if user in user_row]
        seen = {int(item) for user in readers for item in chosen.indices[chosen.indptr[user] : chosen.indptr[user + 1]]}
        return row["source"] != "interactions" or all(item_row.get(item) in seen for item in row["evidence"])

    return holds


def user_requests(
    evidence: Sequence[UserEvidence], split: Split, lines: Sequence[ItemLine], style: PromptStyle | None = None
) -> list[ProfileRequest]:
    """The request for the profile of each user in the usual form; `forms.ask` knows the others.

    Args:
        lines: of all items, see `item_lines`.
    """
    return [one.request for one in ask(evidence, split, lines, EXAMPLES_FORM, style)]


def _own_hash(
    part: UserEvidence, lines: Sequence[ItemLine], request: ProfileRequest, generator: str, version: str
) -> str:
    own = [f"{lines[item]}|{','.join(lines[item].categories)}" for item in part.whole]
    return input_hash(generator, version, request.key, request.examples, own)


def input_hash(generator: str, version: str, key: str, begin: Sequence[Message], own: Sequence[str]) -> str:
    """SHA-256 of what a profile is written from; `own` are the lines that renew it when they change."""
    digest = hashlib.sha256(f"{generator}\x00{version}\x00{key}".encode())
    for text in (*(f"{message['role']}\x00{message['content']}" for message in begin), *own):
        digest.update(f"\x00{text}".encode())
    return digest.hexdigest()


def lineage(job: Job, result: GeneratedProfile, cut: int | None, generator: str, version: str) -> dict[str, Any]:
    """The columns that every profile has, of users and of items."""
    import pandas as pd

    profile = parse(result.text)
    return {
        "profile": result.text,
        "identities": list(profile.identities),
        "interests": list(profile.interests),
        "as_of": pd.NaT if cut is None else pd.Timestamp(cut, unit="us", tz="UTC"),
        "generator": generator,
        "prompt_version": version,
        "input_hash": job.input_hash,
        "format_score": format_score(result.text, job.request.size),
        "tokens_in": result.tokens_in,
        "tokens_out": result.tokens_out,
    }


def as_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a profile table; `as_of` is a time even where no row has one."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(columns))
    table["as_of"] = pd.to_datetime(table["as_of"], utc=True).astype("datetime64[us, UTC]")
    return table
