"""Measures of one stage as a table, and of two stages in pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...data.tables import TableError
from ...profiles.quality import mean_interval
from .yes_no import DRAWS, Auc, auc, auc_difference

if TYPE_CHECKING:
    import pandas as pd

MEASURE_COLUMNS = {
    "stage": "string",
    "measure": "string",
    "mean": "double",
    "low": "double",
    "high": "double",
    "n": "int64",
    "against": "string",
    "mean_against": "double",
    "difference": "double",
    "difference_low": "double",
    "difference_high": "double",
    "n_paired": "int64",
}
"""One row a measure. `mean` with its 95 % interval is of the `n` users where it is defined; the columns of the
difference are of the `n_paired` users where it is defined in both stages, drawn together."""

ANSWER_COLUMNS = {"user_id": "string", "item_id": "string", "label": "bool", "probability": "double"}
YES_NO = "yes_no_auc"


@dataclass(frozen=True)
class Measured:
    """All that one stage was measured to be.

    Attributes:
        stage: names it. users: `user_id` and one float64 column a measure, one row a user. answers: `ANSWER_COLUMNS`,
            one row a question, and a float64 column of each floor; None where nothing was asked.
    """

    stage: str
    users: pd.DataFrame
    answers: pd.DataFrame | None = None

    @property
    def measures(self) -> list[str]:
        """The measures that are one figure a user."""
        return [name for name in self.users.columns if name != "user_id"]


def compare(before: Measured | None, after: Measured, seed: int = 0, draws: int = DRAWS) -> pd.DataFrame:
    """`MEASURE_COLUMNS` of a stage, with the paired differences from another one where that is given.

    A positive difference means that `after` is higher. Intervals are percentiles of means over users drawn with
    replacement; of the AUC, whole users with all their rows are drawn.

    Raises:
        TableError: the two stages have no user, or not the same questions, in common.
    """
    import pandas as pd

    paired = None if before is None else _paired(before, after)
    rows = []
    for name in after.measures:
        row = _figures(after.users[name].to_numpy(dtype=np.float64), draws, seed)
        if paired is not None and before is not None and name in before.measures:
            row |= _difference(paired[f"{name}_before"], paired[name], draws, seed)
        rows.append({"measure": name, **row})
    rows += _auc_rows(before, after, draws, seed)
    found = pd.DataFrame([{**dict.fromkeys(MEASURE_COLUMNS), **row} for row in rows], columns=list(MEASURE_COLUMNS))
    found["stage"] = after.stage
    found["against"] = None if before is None else before.stage
    counts = {name: found[name].fillna(0).astype("int64") for name in ("n", "n_paired")}
    figures = [name for name, kind in MEASURE_COLUMNS.items() if kind == "double"]
    return found.assign(**counts).astype(dict.fromkeys(figures, "float64"))


def _paired(before: Measured, after: Measured) -> pd.DataFrame:
    paired = after.users.merge(before.users, on="user_id", suffixes=("", "_before"), validate="one_to_one")
    if not len(paired):
        raise TableError(f"{after.stage} and {before.stage} were measured on different users: give both the same file.")
    return paired


def _figures(values: np.ndarray, draws: int, seed: int) -> dict[str, float]:
    known = values[~np.isnan(values)]
    low, high = mean_interval(known, draws, seed)
    mean = float(known.mean()) if len(known) else math.nan
    return {"mean": mean, "low": low, "high": high, "n": len(known)}


def _difference(before: pd.Series, after: pd.Series, draws: int, seed: int) -> dict[str, float]:
    both = (before.notna() & after.notna()).to_numpy()
    old, new = before.to_numpy(dtype=np.float64)[both], after.to_numpy(dtype=np.float64)[both]
    low, high = mean_interval(new - old, draws, seed)
    return {
        "mean_against": float(old.mean()) if both.any() else math.nan,
        "difference": float((new - old).mean()) if both.any() else math.nan,
        "difference_low": low,
        "difference_high": high,
        "n_paired": int(both.sum()),
    }


def _auc_rows(before: Measured | None, after: Measured, draws: int, seed: int) -> list[dict[str, object]]:
    """The AUC of the model and of each floor; beside a floor stands how much the model is above it."""
    answers = after.answers
    if answers is None:
        return []
    labels, users = answers["label"].to_numpy(dtype=bool), answers["user_id"].tolist()
    said = answers["probability"].to_numpy()
    own: dict[str, object] = {"measure": YES_NO, **_of_auc(auc(labels, said, users, draws, seed))}
    if before is not None and before.answers is not None:
        keys = ["user_id", "item_id"]
        both = answers.merge(before.answers, on=keys, suffixes=("", "_before"), validate="one_to_one")
        if len(both) != len(answers) or not (both["label"] == both["label_before"]).all():
            raise TableError(f"{after.stage} and {before.stage} were asked different questions: give both one table.")
        told = both["label"].to_numpy(dtype=bool), both["probability"].to_numpy(), both["probability_before"].to_numpy()
        own |= _of_difference(told, both["user_id"].tolist(), draws, seed)
    rows = [own]
    for floor in (name for name in answers.columns if name not in ANSWER_COLUMNS):
        scores = answers[floor].to_numpy()
        figures: dict[str, object] = dict(_of_auc(auc(labels, scores, users, draws, seed)))
        rows.append({"measure": f"{YES_NO} of {floor}", **figures})
        above = _of_difference((labels, said, scores), users, draws, seed)
        rows.append(
            {
                "measure": f"{YES_NO} above {floor}",
                "mean": above["difference"],
                "low": above["difference_low"],
                "high": above["difference_high"],
                "n": above["n_paired"],
            }
        )
    return rows


def _of_auc(found: Auc) -> dict[str, float]:
    return {"mean": found.value, "low": found.low, "high": found.high, "n": found.users}


def _of_difference(
    told: tuple[np.ndarray, np.ndarray, np.ndarray], users: Sequence[object], draws: int, seed: int
) -> dict[str, float]:
    labels, after, before = told
    found = auc_difference(labels, after, before, users, draws, seed)
    return {
        "mean_against": auc(labels, before, users, draws=1, seed=seed).value,
        "difference": found.value,
        "difference_low": found.low,
        "difference_high": found.high,
        "n_paired": found.users,
    }


def measure_lines(table: pd.DataFrame) -> list[str]:
    """The table of `compare` for a person: one line a measure."""
    width = max(map(len, table["measure"]), default=0)
    lines = []
    for row in table.to_dict("records"):
        line = f"{row['measure']:<{width}}  {_interval(row['mean'], row['low'], row['high'])}  n {row['n']:,}"
        if row["n_paired"]:
            change = _interval(row["difference"], row["difference_low"], row["difference_high"], sign="+")
            sure = "" if _holds_zero(row["difference_low"], row["difference_high"]) else "  *"
            line += f"  against {row['mean_against']:.3f}: {change}  n {row['n_paired']:,}{sure}"
        lines.append(line)
    if len(table) and table["n_paired"].any():
        lines.append("* the 95 % interval of the difference, paired over users, does not hold 0")
    return lines


def _interval(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _holds_zero(low: float, high: float) -> bool:
    return not (low > 0 or high < 0)
