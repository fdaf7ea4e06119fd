"""Training curves, from what training writes beside each model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..pipeline.specs import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

CURVE_COLUMNS = ("row", "backbone", "preset", "profile_mode", "seed", "epoch", "loss", "value", "best_epoch")


def read_curves(folder: Path) -> pd.DataFrame | None:
    """One line for each model of a run and epoch while the number of epochs was chosen; see `curves_of`.

    Args:
        folder: with a folder for each model, as `pipeline.runs.train_all` fills it.
    """
    return curves_of({path.parent: None for path in sorted(folder.glob("*/choice.json"))})


def curves_of(folders: Mapping[Path, str | None]) -> pd.DataFrame | None:
    """One line for each model and epoch: `loss` is the mean of the epoch, `value` the mean of recall@20 in the
    catalogue and zero-shot on validation, NaN where it was not measured; epoch 0 is before training.

    Args:
        folders: where `train_model` wrote -> the model's row in the report; None takes what its folder says.

    Returns:
        `CURVE_COLUMNS`; None where no folder has a record.

    Raises:
        ValueError: a record is broken; names the file.
    """
    import pandas as pd

    lines = [line for folder, row in folders.items() for line in _lines(folder, row)]
    return pd.DataFrame(lines, columns=list(CURVE_COLUMNS)) if lines else None


def _lines(folder: Path, row: str | None) -> list[dict[str, Any]]:
    if not (folder / "choice.json").is_file() or not (folder / "run.json").is_file():
        return []
    choice, run = (_read(folder / f"{name}.json") for name in ("choice", "run"))
    try:
        spec = ModelSpec(**run["spec"])
        return [
            {
                "row": row or spec.row,
                "backbone": spec.backbone,
                "preset": spec.preset,
                "profile_mode": spec.profile_mode,
                "seed": spec.seed,
                "epoch": int(entry["epoch"]),
                "loss": _number(entry["loss"]),
                "value": _number(entry.get("value")),
                "best_epoch": int(choice["best_epoch"]),
            }
            for entry in choice["history"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: choice.json or run.json is no record of training ({error}); train it again."
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): train the model again.") from error
    return found if isinstance(found, dict) else {}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
