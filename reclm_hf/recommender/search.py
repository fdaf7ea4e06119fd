"""A small random search, with the same budget and the same trials for everybody who is compared.

It knows nothing of models: it draws settings, asks for the value of each on validation, and keeps what was answered,
so that a killed search goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reclm_hf.data.folder import write_json

Settings = dict[str, Any]

# The documented ranges: RecLM section 6.5.2 for L2 and temperature, the papers of SGL and SimGCL for the weights.
RANGES: dict[str, tuple[Any, ...]] = {
    "learning_rate": (3e-4, 1e-3, 3e-3, 1e-2),
    "l2": (1e-3, 1e-4, 1e-5, 1e-6, 1e-7),
    "ssl_weight": (1e-3, 1e-2, 3e-2, 1e-1),
    "ssl_temperature": (0.1, 0.2, 0.5, 1.0),
}
_CONTRASTIVE = ("ssl_weight", "ssl_temperature")


@dataclass(frozen=True)
class SearchTrial:
    """Settings (the first trial has none: the preset's own) and their value on validation; higher is better."""

    settings: Settings
    value: float


def draw_settings(budget: int, contrastive: bool, episodes: bool = False, seed: int = 0) -> list[Settings]:
    """`budget` settings: {} for the preset's own, then distinct draws from `RANGES`.

    The draws depend on the arguments only, so base, augmented and placebo of one backbone try the same.

    Args:
        contrastive: whether the backbone has an InfoNCE term to be weighted.
        episodes: whether it is trained in episodes, which have no L2 term.

    Raises:
        ValueError: a budget below 1, or above what the ranges hold.
    """
    without = (() if contrastive else _CONTRASTIVE) + (("l2",) if episodes else ())
    ranges = {name: values for name, values in RANGES.items() if name not in without}
    most = 1 + math.prod(len(values) for values in ranges.values())
    if not 1 <= budget <= most:
        raise ValueError(f"budget={budget} must lie between 1 and {most}, the number of different settings.")
    rng = np.random.default_rng(seed)
    found: list[Settings] = [{}]
    while len(found) < budget:
        drawn = {name: values[rng.integers(len(values))] for name, values in ranges.items()}
        if drawn not in found:
            found.append(drawn)
    return found


def search(
    candidates: Sequence[Settings], measure: Callable[[Settings], float], path: Path, key: Mapping[str, Any]
) -> list[SearchTrial]:
    """Measure every candidate once, in order; what `path` holds already is not measured again.

    Args:
        measure: settings -> value on validation.
        path: a JSON file, written after every trial. key: what the values belong to (data, model, options).

    Raises:
        ValueError: `path` holds the search of something else.
    """
    trials = _read(path, key)
    for settings in candidates:
        if not any(trial.settings == settings for trial in trials):
            trials.append(SearchTrial(settings, float(measure(settings))))
            _write(trials, path, key)
    return [trial for trial in trials if trial.settings in candidates]


def best_trial(trials: Sequence[SearchTrial]) -> SearchTrial:
    """The trial of the highest value; the earlier one among equals, so the preset's own wins a tie."""
    return max(trials, key=lambda trial: trial.value)


def _read(path: Path, key: Mapping[str, Any]) -> list[SearchTrial]:
    if not path.is_file():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["key"] != json.loads(json.dumps(key)):
        raise ValueError(f"{path} holds a search on other data or settings: delete it, or choose another run name.")
    return [SearchTrial(**trial) for trial in content["trials"]]


def _write(trials: Sequence[SearchTrial], path: Path, key: Mapping[str, Any]) -> None:
    found = [{"settings": trial.settings, "value": trial.value} for trial in trials]
    write_json({"key": dict(key), "trials": found}, path)
