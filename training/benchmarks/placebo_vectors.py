"""What stands beside the metadata: the profile, or something in its place that should be worth as much if only the
extra numbers, the format or the neighbourhood counted.

Item side: an item is [e | p], e the metadata and p the block beside it, each centred over warm items and of length 1.
User side: a user is looked for with b + w p, b the vector that history gives and p the block, each of length 1.

- `none`: nothing in its place. `llm`: the written profile.
- `constant`: the mean profile for all. It is not centred, or nothing would be left of it; in a cosine it moves all
  items of a list alike (item side) or adds the same unpersonalised list for everybody (user side).
- `shuffled`: profiles dealt out anew, among warm items of like popularity and among cold items, or among users with
  histories of like length.
- `neighbour`: the profile of the nearest other item by metadata, or of the user's first neighbour who has one.
- `raw_text`: the text that the profile was written from: an item's description, or its metadata a second time; the
  mean of the metadata of a user's history.
- `joined` (items): "metadata. profile" as one text instead of two blocks.
- `alone`, `alone_shuffled`: the profile without the metadata beside it, or without the history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from placebo_data import Vectors

from reclm_hf.data.features import history_mean, normalize_rows
from reclm_hf.data.splits import Split

ITEM_VARIANTS = (
    "none",
    "llm",
    "constant",
    "shuffled",
    "neighbour",
    "raw_text",
    "joined",
    "alone",
    "alone_shuffled",
)
USER_VARIANTS = tuple(variant for variant in ITEM_VARIANTS if variant != "joined")
DEALS = 3
"""Times that profiles are dealt out anew; metrics are averaged over them within each user."""
_BLOCK = 1024


def centred(vectors: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """[n, d] float32 less the mean over the rows of `basis` [n] bool, of length 1; zero rows stay out and zero."""
    known = written(vectors)
    mean = vectors[known & basis].mean(axis=0)
    return normalize_rows(np.where(known[:, None], vectors - mean, 0.0))


def mean_profile(vectors: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """[n, d] float32: the mean over the rows of `basis`, of length 1, for every row that is not zero."""
    known = written(vectors)
    mean = normalize_rows(vectors[known & basis].mean(axis=0, keepdims=True))
    return np.where(known[:, None], mean, 0.0).astype(np.float32)


def written(vectors: np.ndarray) -> np.ndarray:
    """[n] bool: rows that are not zero."""
    return np.abs(vectors).sum(axis=1) > 0


def item_blocks(variant: str, vectors: Vectors, split: Split) -> list[np.ndarray]:
    """[I, D] float32 item vectors of a variant; one for each deal where profiles are dealt out, else a single one.

    Raises:
        ValueError: an unknown variant, or one that needs profiles that are not there.
    """
    metadata = centred(vectors.metadata, split.warm)
    if variant == "none":
        return [metadata]
    if variant == "raw_text":
        return [np.hstack([metadata, centred(vectors.raw, split.warm)])]
    if vectors.item_profiles is None or vectors.joined is None:
        raise ValueError(f"{variant!r} needs item profiles.")
    if variant == "joined":
        return [centred(vectors.joined, split.warm)]
    profiles, known = centred(vectors.item_profiles, split.warm), written(vectors.item_profiles)
    if variant == "alone":
        return [profiles]
    if variant == "llm":
        return [np.hstack([metadata, profiles])]
    if variant == "constant":
        return [np.hstack([metadata, mean_profile(vectors.item_profiles, split.warm)])]
    if variant == "neighbour":
        return [np.hstack([metadata, np.where(known[:, None], profiles[nearest_other(metadata, known)], 0.0)])]
    if variant in ("shuffled", "alone_shuffled"):
        groups = np.where(split.warm, quartiles(_counts(split.history_item, split.n_items), split.warm), -1)
        deals = [profiles[dealt(known, groups, seed)] for seed in range(DEALS)]
        return deals if variant == "alone_shuffled" else [np.hstack([metadata, block]) for block in deals]
    raise ValueError(f"Unknown variant {variant!r}: choose one of {', '.join(ITEM_VARIANTS)}.")


def user_blocks(
    variant: str, vectors: Vectors, split: Split, neighbors: Mapping[int, Sequence[int]]
) -> list[np.ndarray]:
    """[U, d] float32 vectors of what is known of users beside their history vector, as `item_blocks`; zero for `none`.

    Raises:
        ValueError: as `item_blocks`.
    """
    if variant == "none":
        return [np.zeros((split.n_users, vectors.metadata.shape[1]), dtype=np.float32)]
    if variant == "raw_text":
        return [history_mean(split, centred(vectors.metadata, split.warm))]
    if vectors.user_profiles is None:
        raise ValueError(f"{variant!r} needs user profiles.")
    length = _counts(split.history_user, split.n_users)
    profiles, known = centred(vectors.user_profiles, length > 0), written(vectors.user_profiles)
    if variant in ("llm", "alone"):
        return [profiles]
    if variant == "constant":
        return [mean_profile(vectors.user_profiles, length > 0)]
    if variant in ("shuffled", "alone_shuffled"):
        return [profiles[dealt(known, quartiles(length, known), seed)] for seed in range(DEALS)]
    if variant == "neighbour":
        return [profiles[first_neighbors(known, neighbors)]]
    raise ValueError(f"Unknown variant {variant!r}: choose one of {', '.join(USER_VARIANTS)}.")


def quartiles(counts: np.ndarray, members: np.ndarray) -> np.ndarray:
    """[n] int64 quartile (0 to 3) of each count among the counts of `members` [n] bool."""
    edges = np.quantile(counts[members], (0.25, 0.5, 0.75))
    return np.searchsorted(edges, counts, side="right")


def dealt(members: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """[n] int64 row whose profile each row gets: a permutation of `members` within each group, itself elsewhere."""
    rng = np.random.default_rng(seed)
    source = np.arange(len(members))
    for group in np.unique(groups[members]):
        rows = np.flatnonzero(members & (groups == group))
        source[rows] = rng.permutation(rows)
    return source


def nearest_other(vectors: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """[n] int64 row of the most similar other vector among `allowed` [n] bool, by inner product, in blocks."""
    rows = np.flatnonzero(allowed)
    found = np.empty(len(vectors), dtype=np.int64)
    for start in range(0, len(vectors), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(vectors)))
        scores = vectors[block] @ vectors[rows].T
        scores[block[:, None] == rows[None, :]] = -np.inf
        found[block] = rows[scores.argmax(axis=1)]
    return found


def first_neighbors(known: np.ndarray, neighbors: Mapping[int, Sequence[int]]) -> np.ndarray:
    """[n] int64 row of the first neighbour with a profile; without one, of the next row that has a profile."""
    rows = np.flatnonzero(known)
    source = np.arange(len(known))
    for place, row in enumerate(rows):
        near = [other for other in neighbors.get(int(row), ()) if known[other] and other != row]
        source[row] = near[0] if near else rows[(place + 1) % len(rows)]
    return source


def _counts(rows: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(rows, minlength=size)
