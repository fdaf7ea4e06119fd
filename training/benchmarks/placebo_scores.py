"""Two recommenders in closed form, and the rows of a placebo table: every variant of a block through both.

- `cosine`: b is the sum of the item vectors of the history, of length 1.
- `map`: b is the ridge regression of a user's collaborative scores K (EASE or item kNN) on the item vectors, all users
  in one solve, b_u = (E'E + lambda I)^-1 E' K_u over warm items. (A linear map from content to collaborative scores,
  as in Gantner et al. 2010, "Learning attribute-to-feature mappings for cold-start recommendations".)

A cold item e scores <b, e>. Which K and which lambda are chosen by recall@20 on the validation split with the metadata
alone; every variant takes them as they are. Nothing is fitted to, or chosen with, profiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from placebo_data import Fold, Problem, Vectors
from placebo_vectors import ITEM_VARIANTS, USER_VARIANTS, centred, item_blocks, user_blocks

from reclm_hf.baselines import FLOORS
from reclm_hf.data.features import history_mean, normalize_rows
from reclm_hf.data.splits import Split
from reclm_hf.evaluation import Row, evaluate

SETTING = "zero_shot"
METRICS = ("recall@20", "ndcg@20")
RECOMMENDERS = ("cosine", "map")
# Both grids were fixed before any test split was ranked. The simplest first: ties go to it.
COLLABORATIVE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("item_knn", {"k": 200, "shrink": 10}),
    ("ease", {"ridge": 1000}),
    ("ease", {"ridge": 500}),
    ("ease", {"ridge": 200}),
    ("ease", {"ridge": 100}),
)
RIDGES = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
WEIGHTS = (1.0, 0.5)
"""Of a user's block; the first is the one that is reported, the second shows how much that matters."""
UNPERSONAL = "random"
_BLOCK = 512


@dataclass(frozen=True)
class Settings:
    """What validation chose. recall: of the metadata alone there. tried: how many settings."""

    floor: str
    params: Mapping[str, Any]
    ridge: float
    recall: float
    tried: int


@dataclass(frozen=True)
class Dot:
    """Inner products of user and item vectors, [U, d] and [I, d] float32."""

    name: str
    users: np.ndarray = field(repr=False)
    items: np.ndarray = field(repr=False)

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[B, C] float32."""
        return np.asarray(self.users[users] @ self.items[items].T, dtype=np.float32)


def side_name(side: str, weight: float = WEIGHTS[0]) -> str:
    """`item`, `user`, or `user, w=0.5`."""
    return side if weight == WEIGHTS[0] else f"{side}, w={weight:g}"


def label(side: str, recommender: str, variant: str) -> str:
    """The name of a row: side, recommender and variant."""
    return f"{side}/{recommender}/{variant}"


def choose(validation: Split, metadata: np.ndarray) -> Settings:
    """Collaborative scores and ridge of `map` by recall@20 on validation, with the metadata alone.

    Args:
        metadata: [I, d] vectors, not centred.
    """
    items = centred(metadata, validation.warm)
    best: Settings | None = None
    for floor, params in COLLABORATIVE:
        scores = collaborative_scores(validation, floor, params)
        for ridge in RIDGES:
            users = map_users(validation, scores, items, ridge)
            found = evaluate(Dot("map", users, items), validation, settings=(SETTING,), ks=(20,))
            recall = found[SETTING].mean("recall@20")
            if best is None or recall > best.recall:
                best = Settings(floor, params, ridge, recall, len(COLLABORATIVE) * len(RIDGES))
    assert best is not None
    return best


def collaborative_scores(split: Split, floor: str, params: Mapping[str, Any]) -> np.ndarray:
    """[n, W] float32 scores of the users with cold targets, in order of their rows, for the warm items."""
    model = FLOORS[floor](**params).fit(split)
    users, warm = _scored_users(split), np.flatnonzero(split.warm)
    blocks = [model.score(users[start : start + _BLOCK], warm) for start in range(0, len(users), _BLOCK)]
    return np.concatenate(blocks)


def map_users(split: Split, scores: np.ndarray, items: np.ndarray, ridge: float) -> np.ndarray:
    """[U, d] float32, b of `map`; zero rows for users without cold targets.

    Args:
        scores: see `collaborative_scores`. items: [I, d] vectors.
    """
    warm = items[split.warm].astype(np.float64)
    solved = np.linalg.solve(warm.T @ warm + ridge * np.eye(warm.shape[1]), warm.T @ scores.T)
    users = np.zeros((split.n_users, warm.shape[1]), dtype=np.float32)
    users[_scored_users(split)] = solved.T
    return users


def rows_of(problem: Problem, fold: Fold, vectors: Vectors) -> tuple[Settings, list[Row]]:
    """Every variant of both sides that there are profiles for, through both recommenders, on the test split."""
    settings = choose(fold.validation, vectors.metadata)
    split = fold.test
    scores = collaborative_scores(split, settings.floor, settings.params)
    nothing = np.zeros((split.n_users, 1), dtype=np.float32), np.zeros((split.n_items, 1), dtype=np.float32)
    rows = [_row(UNPERSONAL, [nothing], split)]
    if vectors.item_profiles is not None:
        for variant in ITEM_VARIANTS:
            blocks = item_blocks(variant, vectors, split)
            for recommender in RECOMMENDERS:
                pairs = [(_history_users(recommender, split, scores, items, settings), items) for items in blocks]
                rows.append(_row(label("item", recommender, variant), pairs, split))
    if vectors.user_profiles is not None:
        rows += _user_rows(problem, split, vectors, scores, settings)
    return settings, rows


def _user_rows(problem: Problem, split: Split, vectors: Vectors, scores: np.ndarray, settings: Settings) -> list[Row]:
    items = centred(vectors.metadata, split.warm)
    base = {name: normalize_rows(_history_users(name, split, scores, items, settings)) for name in RECOMMENDERS}
    rows = []
    for variant in USER_VARIANTS:
        blocks = user_blocks(variant, vectors, split, problem.neighbors)
        if variant.startswith("alone"):
            # Without a history vector there is one recommender only.
            rows.append(_row(label("user", "cosine", variant), [(block, items) for block in blocks], split))
            continue
        for weight in WEIGHTS:
            for name in RECOMMENDERS:
                pairs = [(base[name] + np.float32(weight) * block, items) for block in blocks]
                rows.append(_row(label(side_name("user", weight), name, variant), pairs, split))
    return rows


def _history_users(
    recommender: str, split: Split, scores: np.ndarray, items: np.ndarray, settings: Settings
) -> np.ndarray:
    if recommender == "cosine":
        return history_mean(split, items)
    return map_users(split, scores, items, settings.ridge)


def _row(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]], split: Split) -> Row:
    """A row whose metrics are averaged over several pairs of user and item vectors within each user."""
    found = [evaluate(Dot(name, *pair), split, settings=(SETTING,), ks=(20,)) for pair in pairs]
    return Row(name, "floor" if name == UNPERSONAL else "model", found)


def _scored_users(split: Split) -> np.ndarray:
    return np.flatnonzero(np.diff(split.targets_matrix(SETTING).indptr))
