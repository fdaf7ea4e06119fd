"""Choosing and fitting the floors, resumable in their folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from reclm_hf.baselines import FLOORS
from reclm_hf.baselines.base import Floor
from reclm_hf.baselines.select import Selection, select_floor

from .model_stage import Inputs, recall_at_20, write_json

logger = logging.getLogger(__name__)


def fit_floors(inputs: Inputs, folder: Path, names: Sequence[str] | None = None) -> dict[str, Floor]:
    """Every floor with hyper-parameters chosen on validation, fitted on the whole train period.

    Args:
        folder: one sub-folder a floor, with its trials; finished ones are loaded.
        names: keys of `FLOORS`; None takes all of them.
    """
    names = list(FLOORS) if names is None else list(names)
    finished = [name for name in names if (folder / name / "trials.json").is_file()]
    if len(finished) == len(names):
        return {name: Floor.load(folder / name) for name in names}
    selections: dict[str, Selection] = {}
    for name in names:
        logger.info("floor %s", name)
        selection = select_floor(name, inputs.splits, inputs.item_vectors, recall_at_20, chosen=selections)
        selections[name] = selection
        selection.floor.save(folder / name)
        write_json(folder / name / "trials.json", {"trials": [asdict(trial) for trial in selection.trials]})
    return {name: selection.floor for name, selection in selections.items()}
