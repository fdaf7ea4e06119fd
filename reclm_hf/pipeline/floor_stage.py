"""Choosing and fitting the floors, resumable in their folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from reclm_hf.baselines import FLOORS
from reclm_hf.baselines.base import Floor
from reclm_hf.baselines.select import Selection, Trial, select_floor
from reclm_hf.data.folder import write_json

from .model_stage import Inputs, recall_at_20

logger = logging.getLogger(__name__)
_TRIALS = "trials.json"


def fit_floors(inputs: Inputs, folder: Path, names: Sequence[str] | None = None) -> dict[str, Floor]:
    """Every floor with hyper-parameters chosen on validation, fitted on the whole train period.

    Args:
        folder: one sub-folder a floor, with its trials. A floor that was finished there on the same data and vectors
            is loaded; one of other data is fitted again and replaced.
        names: keys of `FLOORS`; None takes all of them.
    """
    from tqdm.auto import tqdm

    key = f"{inputs.splits.fingerprint} {inputs.digest(with_profiles=False)}"
    selections: dict[str, Selection] = {}
    for name in tqdm(tuple(FLOORS if names is None else names), desc="floors", unit="floor"):
        found = _load(folder / name, key)
        if found is None:
            logger.info("floor %s", name)
            found = select_floor(name, inputs.splits, inputs.item_vectors, recall_at_20, chosen=selections)
            found.floor.save(folder / name)
            trials = [asdict(trial) for trial in found.trials]
            write_json({"key": key, "trials": trials}, folder / name / _TRIALS)
        selections[name] = found
    return {name: selection.floor for name, selection in selections.items()}


def _load(folder: Path, key: str) -> Selection | None:
    """A finished floor of the same data, or None."""
    path = folder / _TRIALS
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["key"] != key:
        return None
    return Selection(Floor.load(folder), [Trial(**trial) for trial in content["trials"]])
