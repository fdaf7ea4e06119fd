"""Choosing a floor's hyper-parameters on the validation split, then one refit for the test split."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import FLOORS
from .base import Floor
from .mix import COLLABORATIVE, COSINE, POPULARITY, TEXT_POPULARITY, Mix

if TYPE_CHECKING:
    from ..data.splits import Split, Splits

logger = logging.getLogger(__name__)

SETTINGS = ("catalogue", "zero_shot")
Evaluate = Callable[[Floor, "Split", Sequence[str]], Mapping[str, float]]


@dataclass(frozen=True)
class Trial:
    """One fitted candidate: its hyper-parameters and recall@20 on validation by setting (NaN: nothing to rank).

    `stage` counts from 0, `setting` is the one that the stage is decided by, `chosen` marks the stage's winner.
    """

    floor: str
    stage: int
    setting: str
    params: dict[str, Any]
    recall: dict[str, float]
    chosen: bool


class Selection(NamedTuple):
    """The floor fitted on the test split's history with the chosen hyper-parameters, and everything tried."""

    floor: Floor
    trials: list[Trial]

    @property
    def recall(self) -> dict[str, float]:
        """Validation recall@20 of the chosen hyper-parameters, by setting."""
        return next(trial.recall for trial in reversed(self.trials) if trial.chosen)


def select_floor(
    floor: str | type[Floor],
    splits: Splits,
    vectors: np.ndarray | None,
    evaluate: Evaluate,
    *,
    chosen: Mapping[str, Selection] | None = None,
) -> Selection:
    """Choose the hyper-parameters of one floor on `splits.validation` and refit it on the history of `splits.test`.

    Every value of a stage (see `Floor.search_stages`) is fitted on the validation split's history and judged by
    recall@20 in the stage's setting; ties, and settings without anything to rank, go to the value listed first, which
    is the simpler one. Nothing is evaluated on the test split.

    Args:
        floor: name in `FLOORS` or its class.
        vectors: [I, d] float32 item text vectors; may be None for floors on ids.
        evaluate: `evaluate(model, split, settings)` -> recall@20 by setting.
        chosen: selections made already. The mix takes the hyper-parameters of its parts from them and selects the
            parts that are missing; other floors ignore it.
    """
    floor_class = FLOORS[floor] if isinstance(floor, str) else floor
    start = floor_class()
    if issubclass(floor_class, Mix):
        start = _mix_of_chosen(splits, vectors, evaluate, chosen or {})
    fixed = {name: value for name, value in start.params.items() if name not in floor_class.search_space}
    best, trials = _search(start, splits.validation, vectors, evaluate)
    logger.info("%s: chose %s out of %d trials", floor_class.name, best or "nothing to choose", len(trials))
    return Selection(floor_class(**fixed, **best).fit(splits.test, vectors, splits.data), trials)


def select_floors(
    floors: Iterable[str], splits: Splits, vectors: np.ndarray | None, evaluate: Evaluate
) -> dict[str, Selection]:
    """`select_floor` for several floors, in the given order; a mix at the end costs its own weights only."""
    selections: dict[str, Selection] = {}
    for name in floors:
        selections[name] = select_floor(name, splits, vectors, evaluate, chosen=selections)
    return selections


def _mix_of_chosen(
    splits: Splits, vectors: np.ndarray | None, evaluate: Evaluate, chosen: Mapping[str, Selection]
) -> Mix:
    parts = {
        name: chosen[name] if name in chosen else select_floor(name, splits, vectors, evaluate)
        for name in (*COLLABORATIVE, POPULARITY, COSINE, TEXT_POPULARITY)
    }
    collaborative = max(COLLABORATIVE, key=lambda name: _comparable(parts[name].recall["catalogue"]))
    unused = set(COLLABORATIVE) - {collaborative}
    return Mix(
        collaborative=collaborative,
        parts={name: part.floor.params for name, part in parts.items() if name not in unused},
    )


def _search(
    start: Floor, split: Split, vectors: np.ndarray | None, evaluate: Evaluate
) -> tuple[dict[str, Any], list[Trial]]:
    """Chosen hyper-parameters and all trials; stage after stage, the others kept at their start or chosen value."""
    space, values = start.search_space, start.params
    fitted = start.fit(split, vectors)
    trials: list[Trial] = []
    for stage, (setting, names) in enumerate(start.stages()):
        tried: list[tuple[dict[str, Any], dict[str, float]]] = []
        best, best_recall, best_model = 0, -math.inf, fitted
        for combination in itertools.product(*(space[name] for name in names)):
            candidate = {**values, **dict(zip(names, combination, strict=True))}
            model = _variant(fitted, candidate, names, split, vectors)
            recall = dict(evaluate(model, split, SETTINGS))
            logger.debug("%s %s: %s", start.name, candidate, recall)
            # Only a strictly better value displaces an earlier, simpler one; NaN never does.
            if not tried or recall[setting] > best_recall:
                best, best_recall, best_model = len(tried), _comparable(recall[setting]), model
            tried.append((candidate, recall))
        trials.extend(
            Trial(start.name, stage, setting, candidate, recall, place == best)
            for place, (candidate, recall) in enumerate(tried)
        )
        values, fitted = tried[best][0], best_model
    return {name: values[name] for name in space}, trials


def _variant(
    fitted: Floor, params: dict[str, Any], changed: Sequence[str], split: Split, vectors: np.ndarray | None
) -> Floor:
    if params == fitted.params:
        return fitted
    if set(changed) <= fitted.score_params:
        return fitted.with_score_params(**{name: params[name] for name in changed})
    return type(fitted)(**params).fit(split, vectors)


def _comparable(recall: float) -> float:
    return -math.inf if math.isnan(recall) else recall
