"""What is chosen on the validation split, and by which figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from reclm_hf.data.splits import Split
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

# In nats: log shares of popularity run from about -3 to -12.
COLD_OFFSETS = tuple(float(offset) for offset in range(-14, -4))


def recall_at_20(model: Any, split: Split, settings: Any = ("catalogue", "zero_shot")) -> dict[str, float]:
    """Setting -> recall@20; what floors and models are chosen by."""
    summary = evaluate(model, split, settings=settings, ks=(20,)).summary()
    return {setting: summary[setting]["recall@20"] for setting in settings}


def selection_value(model: Any, split: Split) -> float:
    """What epochs are chosen by: the mean of two recalls@20 on the targets of `split`.

    Zero-shot recall and, without a level between warm and cold items, recall of the whole catalogue; a model with
    such a level (`cold_offset`) is judged among warm items alone, since the level is chosen after the epochs.
    Where there are no cold items the second one counts alone.
    """
    zero_shot = recall_at_20(model, split, ("zero_shot",))["zero_shot"]
    seen = warm_only(split) if model.config.floors else split
    catalogue = recall_at_20(model, seen, ("catalogue",))["catalogue"]
    return float(np.nanmean([zero_shot, catalogue]))


def warm_only(split: Split) -> Split:
    """The split without its cold items, as candidates and as targets."""
    kept = split.warm[split.target_item]
    return replace(
        split,
        target_user=split.target_user[kept],
        target_item=split.target_item[kept],
        cold=np.zeros_like(split.cold),
    )


def choose_cold_offset(model: RecLMRecommender, split: Split) -> dict[float, float]:
    """Choose the level of cold items by recall@20 on the whole catalogue, and set it on the model.

    The lowest level within one standard error (over users) of the best: too low leaves the ranking of the warm items
    alone, too high buries it under new ones, and a few popular new items can make a high level look good.

    Returns:
        Every level that was tried and its recall; empty, and nothing set, without cold items.
    """
    if not split.cold.any():
        return {}
    recalls: dict[float, np.ndarray] = {}

    def measure(offset: float) -> float:
        if offset not in recalls:
            model.config.cold_offset = offset
            result = evaluate(model, split, settings=("catalogue",), ks=(20,))["catalogue"]
            recalls[offset] = result.metrics["recall@20"]
        return float(recalls[offset].mean())

    best = max(COLD_OFFSETS, key=measure)
    best = max((best, best - 0.5, best + 0.5), key=measure)
    error = float(recalls[best].std()) / len(recalls[best]) ** 0.5
    model.config.cold_offset = min(offset for offset in recalls if measure(offset) >= measure(best) - error)
    return {offset: measure(offset) for offset in sorted(recalls)}
