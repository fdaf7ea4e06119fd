"""Rows of a report from floors and saved recommenders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reclm_hf.data.splits import Split, Splits
from reclm_hf.data.tables import TableError
from reclm_hf.evaluation.protocol import MeanUser, evaluate
from reclm_hf.evaluation.rows import Row

from .floor_stage import fit_floors
from .model_stage import Inputs


def floor_rows(splits: Splits, item_vectors: np.ndarray, folder: Path) -> list[Row]:
    """One row a floor, chosen on validation and fitted in `folder`."""
    floors = fit_floors(Inputs(splits, item_vectors, {}), folder)
    return [Row(name, "floor", [evaluate(floor, splits.test)]) for name, floor in floors.items()]


def seed_rows(
    models: Sequence[Any],
    label: str,
    split: Split,
    seconds: float = 0.0,
    with_mean_user: bool = True,
    settings: Sequence[str] = ("catalogue", "zero_shot"),
) -> list[Row]:
    """The row of a recommender and, on request, of the same model with every user vector replaced by the mean.

    Args:
        models: one a seed. seconds: that fitting one took. settings: see `evaluate`.
    """
    config = models[0].config
    described = {"backbone": config.backbone, "preset": config.preset, "profile_mode": config.profile_mode}
    rows = [
        Row(
            label,
            "model",
            [evaluate(model, split, settings=settings) for model in models],
            fit_seconds=seconds,
            **described,
        )
    ]
    if with_mean_user:
        flat = [evaluate(MeanUser(model, split), split, settings=settings) for model in models]
        rows.append(Row(f"{label} (mean user)", "mean_user", flat, **described))
    return rows


def saved_model_rows(source: str, split: Split) -> list[Row]:
    """Rows of a saved recommender.

    Raises:
        TableError: the model knows other users, items or interactions than the history of the split.
    """
    from reclm_hf.auto import RecLMRecommender

    model = RecLMRecommender.from_pretrained(source)
    catalog = model.catalog
    if catalog.user_ids != split.user_ids.tolist() or catalog.item_ids != split.item_ids.tolist():
        raise TableError(f"{source} was trained on other users or items than this data set; give its own with --data.")
    history = split.history_matrix()
    if not (
        np.array_equal(catalog.seen_indptr, history.indptr) and np.array_equal(catalog.seen_indices, history.indices)
    ):
        raise TableError(
            f"{source} was trained up to another cut than that of the {split.name} split, so it may know the answers; "
            "train it again on this data set."
        )
    return seed_rows([model], source, split)
