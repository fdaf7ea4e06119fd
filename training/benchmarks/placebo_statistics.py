"""Values and paired differences of the rows of a placebo table, over one or several choices of cold items.

Several folds are pooled: a user, or an item, that occurs in several of them is one unit of the bootstrap and of the
sign flips, with the sum of what it adds in each. With one fold the figures are those of `comparisons_table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from placebo_scores import METRICS, SETTING

from reclm_hf.evaluation.comparisons import verdict
from reclm_hf.evaluation.rows import Row, check_rows, interval_columns, mean_contributions, row_places
from reclm_hf.evaluation.statistics import (
    DRAWS,
    Bootstrap,
    bootstrap,
    holm,
    minimal_detectable_effect,
    sign_flip,
    sums_by_unit,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Pooled:
    """The rows of all folds: column = row x len(METRICS) + metric.

    Attributes:
        sample: bootstrap of the columns. user_sums: [n_users, R] what each user adds, over folds.
        by_fold: [folds, R] means over users. n_targets, n_candidates: summed over folds.
    """

    sample: Bootstrap
    user_sums: np.ndarray
    by_fold: np.ndarray
    n_targets: int
    n_candidates: int


def pool(folds: Sequence[Sequence[Row]], draws: int = DRAWS, seed: int = 0) -> Pooled:
    """Put the folds together; each holds the same rows in the same order.

    Raises:
        ValueError: folds with other rows, or without targets.
    """
    users, items, columns, means, candidates = [], [], [], [], 0
    for rows in folds:
        check_rows(rows)
        if [row.label for row in rows] != [row.label for row in folds[0]]:
            raise ValueError("The folds hold different rows.")
        evaluation = rows[0].evaluations[0]
        part = evaluation[SETTING]
        if not len(part.rank):
            raise ValueError(part.reason)
        added = np.stack([mean_contributions(row, SETTING, metric) for row in rows for metric in METRICS], axis=1)
        weights = 1.0 / np.bincount(part.group)[part.group]
        users.append(evaluation.user_ids[part.target_user])
        items.append(evaluation.item_ids[part.target_item])
        columns.append(np.column_stack([added, weights]))
        means.append(added.sum(axis=0) / len(part.users))
        candidates += part.n_candidates
    every = np.concatenate(columns)
    by_user, by_item = (sums_by_unit(np.concatenate(unit), every) for unit in (users, items))
    sample = bootstrap(
        by_user[:, :-1], by_item[:, :-1], by_item[:, -1], user_weights=by_user[:, -1], draws=draws, seed=seed
    )
    return Pooled(sample, by_user[:, :-1], np.stack(means), len(every), candidates)


def value_lines(rows: Sequence[Row], pooled: Pooled) -> list[dict[str, object]]:
    """One line for each row and metric: `a`, `metric`, `value` and its intervals."""
    intervals = pooled.sample.intervals()
    lines = []
    for number, row in enumerate(rows):
        for position, metric in enumerate(METRICS):
            column = number * len(METRICS) + position
            line = {
                "kind": "value",
                "a": row.label,
                "b": "",
                "metric": metric,
                "value": float(pooled.sample.point[column]),
                "by_fold": pooled.by_fold[:, column].tolist(),
            }
            lines.append(line | interval_columns(intervals, column))
    return lines


def difference_lines(
    rows: Sequence[Row], pairs: Sequence[tuple[str, str]], pooled: Pooled, draws: int = DRAWS, seed: int = 0
) -> list[dict[str, object]]:
    """One line for each pair of labels and metric: a - b, intervals, p of the sign flips, least detectable effect."""
    place = row_places(rows, (name for pair in pairs for name in pair))
    lines = []
    for position, metric in enumerate(METRICS):
        columns = [[place[name] * len(METRICS) + position for name in pair] for pair in pairs]
        gaps = np.stack([pooled.user_sums[:, a] - pooled.user_sums[:, b] for a, b in columns], axis=1)
        p_values = sign_flip(gaps, draws=draws, seed=seed)
        for (a, b), (first, second), p in zip(pairs, columns, p_values, strict=True):
            intervals = pooled.sample.difference(first, second)
            line = {
                "kind": "difference",
                "a": a,
                "b": b,
                "metric": metric,
                "value": float(pooled.sample.point[first] - pooled.sample.point[second]),
                "by_fold": (pooled.by_fold[:, first] - pooled.by_fold[:, second]).tolist(),
                "p": float(p),
                "minimal_detectable_effect": float(minimal_detectable_effect(intervals.standard_error)[0]),
            }
            lines.append(line | interval_columns(intervals, 0))
    return lines


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """The differences with `p_holm` and `verdict`; a family is all lines of one metric that are `asked`.

    Lines that are not asked (sensitivity) have neither: they describe.
    """
    found = table[table["kind"] == "difference"].copy()
    found["p_holm"] = np.nan
    for _, family in found[found["asked"]].groupby("metric"):
        found.loc[family.index, "p_holm"] = holm(family["p"].to_numpy(dtype=np.float64))
    judged = ("low_users", "high_users", "low_items", "high_items", "p_holm")
    verdicts = [verdict(*values) for values in found[list(judged)].itertuples(index=False)]
    found["verdict"] = np.where(found["asked"], verdicts, "")
    return found
