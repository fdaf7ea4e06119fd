"""Writing the profiles of all users: sharded, atomic, resumable, keyed by what each profile was written from."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import Split
from ..data.tables import PROFILE_COLUMNS, TableError, read_parquet, write_parquet
from .engines import Engine, ProfileRequest
from .profile import format_score, parse
from .prompts import EXAMPLES, PROMPT_VERSION, ItemLine, user_message

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

HISTORY_ITEMS = 10
NEIGHBOR_ITEMS = 2
MASKED = "-masked"


@dataclass(frozen=True)
class UserEvidence:
    """What one profile is written from: rows of items and users. Everything is from before the cut."""

    user: int
    history: list[int]  # most recent first
    similar: list[int]
    neighbors: list[int]


def collect_evidence(
    split: Split,
    neighbors: np.ndarray,
    users: Sequence[int] | np.ndarray,
    *,
    history_items: int = HISTORY_ITEMS,
    neighbor_items: int = NEIGHBOR_ITEMS,
) -> list[UserEvidence]:
    """The latest items of each user, and of each neighbour the latest ones that the user does not have.

    Args:
        neighbors: [U, n] int32 user rows, -1 for none; see `top_neighbors`.
    """
    histories = _histories(split)
    found = []
    for user in users:
        own = histories[user]
        touched, similar = set(own), []
        near = [int(other) for other in neighbors[user] if other >= 0]
        for other in near:
            fresh = [item for item in histories[other] if item not in touched][:neighbor_items]
            touched.update(fresh)
            similar += fresh
        found.append(UserEvidence(int(user), own[:history_items], similar, near))
    return found


def _histories(split: Split) -> list[list[int]]:
    """Item rows of every user, most recent first."""
    order = np.argsort(split.history_user, kind="stable")
    items = split.history_item[order]
    ends = np.cumsum(np.bincount(split.history_user, minlength=split.n_users))
    return [part[::-1].tolist() for part in np.split(items, ends[:-1])]


def generate_user_profiles(
    split: Split,
    items: pd.DataFrame,
    neighbors: np.ndarray,
    engine: Engine,
    folder: Path,
    *,
    users: Sequence[int] | np.ndarray | None = None,
    shard_size: int = 128,
    progress: bool = True,
    mask_titles: bool = False,
) -> pd.DataFrame:
    """Profiles of `users` as of the cut of `split`.

    Shards are written whole or not at all. A second call, after a kill or with changed data, writes only the profiles
    whose input changed: a row is kept when its `input_hash` (prompt, generator, prompt version) is the same.

    Args:
        items: the item table in the order of the split's item rows.
        neighbors: [U, n] int32 user rows, -1 for none.
        folder: holds the shards.
        users: user rows; None: everybody with history.
        mask_titles: show ids instead of titles, a placebo: what such profiles are worth less than others is what the
            model knows of the titles. Their `prompt_version` ends with "-masked".

    Returns:
        One row a user, columns `PROFILE_COLUMNS`, in the order of `users`. Malformed profiles are there, with a
        `format_score` below 1.

    Raises:
        TableError: a shard could not be written; what was finished before is kept.
    """
    import pandas as pd

    users = np.unique(split.history_user) if users is None else np.asarray(users)
    shown = [f"item {identity}" for identity in items["item_id"]] if mask_titles else items["title"]
    version = PROMPT_VERSION + MASKED if mask_titles else PROMPT_VERSION
    lines = [
        ItemLine(title, tuple(str(category) for category in categories))
        for title, categories in zip(shown, items["categories"], strict=True)
    ]
    evidence = collect_evidence(split, neighbors, users)
    shares = category_shares(split, lines)
    requests = [_request(part, lines, shares, split) for part in evidence]
    hashes = [_input_hash(request, engine.generator, version) for request in requests]
    finished = _finished_rows(folder)
    open_rows = [row for row, key in enumerate(hashes) if key not in finished]
    logger.info("%d profiles: %d on disk, %d to write", len(users), len(users) - len(open_rows), len(open_rows))
    for shard in _shards(open_rows, requests, shard_size, progress):
        written = engine.generate([requests[row] for row in shard])
        new = [
            _row(evidence[row], requests[row].key, result.text, split, engine.generator, hashes[row])
            | {"prompt_version": version, "tokens_in": result.tokens_in, "tokens_out": result.tokens_out}
            for row, result in zip(shard, written, strict=True)
        ]
        _write_shard(pd.DataFrame(new), folder)
        finished.update({entry["input_hash"]: entry for entry in new})
    table = pd.DataFrame([finished[key] for key in hashes], columns=list(PROFILE_COLUMNS))
    # The hash says that the input is the same at this cut, whichever cut it was first written for.
    as_of = pd.NaT if split.cut is None else pd.Timestamp(split.cut, unit="us", tz="UTC")
    table["as_of"] = pd.Series(as_of, index=table.index, dtype="datetime64[us, UTC]")
    return table


def category_shares(split: Split, lines: Sequence[ItemLine]) -> dict[str, float]:
    """Lower-case category -> share of the interactions before the cut that carry it."""
    counts: Counter[str] = Counter()
    for item, count in enumerate(np.bincount(split.history_item, minlength=split.n_items).tolist()):
        if count:
            counts.update(dict.fromkeys({category.lower() for category in lines[item].categories}, count))
    return {category: count / len(split.history_item) for category, count in counts.items()}


def _request(
    evidence: UserEvidence, lines: Sequence[ItemLine], shares: Mapping[str, float], split: Split
) -> ProfileRequest:
    history, similar = ([lines[item] for item in rows] for rows in (evidence.history, evidence.similar))
    message = user_message(history, similar, shares)
    return ProfileRequest(str(split.user_ids[evidence.user]), EXAMPLES, (message,))


def _input_hash(request: ProfileRequest, generator: str, version: str) -> str:
    digest = hashlib.sha256(f"{generator}\x00{version}\x00{request.key}".encode())
    for message in (*request.examples, *request.messages):
        digest.update(f"\x00{message['role']}\x00{message['content']}".encode())
    return digest.hexdigest()


def _row(
    evidence: UserEvidence, user_id: str, text: str, split: Split, generator: str, input_hash: str
) -> dict[str, Any]:
    import pandas as pd

    profile = parse(text)
    shown = [*evidence.history, *evidence.similar]
    return {
        "user_id": user_id,
        "profile": text,
        "identities": list(profile.identities),
        "interests": list(profile.interests),
        "evidence": [str(split.item_ids[item]) for item in shown],
        "neighbors": [str(split.user_ids[other]) for other in evidence.neighbors],
        "as_of": pd.NaT if split.cut is None else pd.Timestamp(split.cut, unit="us", tz="UTC"),
        "generator": generator,
        "input_hash": input_hash,
        "format_score": format_score(text),
    }


def _shards(rows: Sequence[int], requests: Sequence[ProfileRequest], size: int, progress: bool) -> Iterator[list[int]]:
    from tqdm.auto import tqdm

    # Prompts of similar length together: less padding, and time left that can be believed after the first shards.
    ordered = sorted(rows, key=lambda row: (len(requests[row].messages[-1]["content"]), row))
    started = time.perf_counter()
    with tqdm(total=len(ordered), desc="profiles", unit="profile", disable=not progress or not ordered) as bar:
        for start in range(0, len(ordered), size):
            shard = ordered[start : start + size]
            yield shard
            bar.update(len(shard))
    if ordered:
        seconds = time.perf_counter() - started
        logger.info("%d profiles in %.0f s, %.2f a second", len(ordered), seconds, len(ordered) / seconds)


def _write_shard(shard: pd.DataFrame, folder: Path) -> None:
    # Named by content, so that shards of different runs never overwrite one another.
    name = hashlib.sha256("".join(sorted(shard["input_hash"])).encode()).hexdigest()[:16]
    write_parquet(shard, folder / f"shard-{name}.parquet", PROFILE_COLUMNS)


def _finished_rows(folder: Path) -> dict[str, Mapping[str, Any]]:
    """input_hash -> row of every readable shard; a broken shard is left out, its profiles are written again."""
    rows: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.glob("shard-*.parquet")):
        try:
            table = read_parquet(path)
        except TableError as error:
            logger.warning("%s Its profiles are written again.", error)
            continue
        rows.update({str(row["input_hash"]): row for row in table.to_dict("records")})
    return rows
