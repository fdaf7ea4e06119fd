"""Where a difference between two rows comes from: by the user's history and by the popularity of the target.

A stratum is a part of the targets. Every target of a user weighs 1 / |T_u|, and the difference of a stratum is
sum (c_a - c_b) / sum 1 / |T_u| over its targets, with c what a target adds to the user's metric
(`metrics.contributions`). By history length this is the mean difference over the users of the stratum. By popularity
|T_u| counts all targets of the user, so a stratum of cold targets is not quite `catalogue_cold`, whose denominators
count the cold targets only. In return the strata add up: `share` is the weight of a stratum, and the sum of
`contribution` = share x difference over the strata is the difference of the whole setting.

The strata describe; nothing here is tested or corrected for their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .protocol import SettingResult
from .rows import Row, check_rows, interval_columns, mean_contributions, row_places
from .statistics import DRAWS, Intervals, bootstrap, sums_by_unit

if TYPE_CHECKING:
    import pandas as pd

    from ..data.splits import Split

BY = ("history", "popularity")
STRATA_COLUMNS = (
    "dataset",
    "fingerprint",
    "split",
    "setting",
    "metric",
    "a",
    "b",
    "by",
    "stratum",
    "place",
    "difference",
    "low",
    "high",
    "interval",
    "low_users",
    "high_users",
    "low_items",
    "high_items",
    "share",
    "contribution",
    "n_users",
    "n_targets",
    "n_items",
)


def strata_table(
    rows: Sequence[Row],
    pairs: Sequence[tuple[str, str]],
    split: Split,
    *,
    dataset: str,
    fingerprint: str,
    setting: str = "catalogue",
    metric: str = "recall@20",
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Paired differences a - b within strata, one line for each pair and stratum; empty where the setting is.

    - `by` = `history`: users in four parts of about equal size by the length of their history.
    - `by` = `popularity`: cold targets (no history), and the others in three parts of about equal numbers of targets
      by the interactions of the item in the history.

    Equal lengths or popularities are never divided, so that there may be fewer parts. `place` counts the strata of
    one `by` from 0, from short to long and from cold to popular. Intervals are drawn over the users and, separately,
    over the items of the stratum; `low`, `high` are the wider one. Several seeds are averaged within each user.

    Args:
        pairs: labels (a, b) of rows; a pair given twice counts once.
        split: the one that the rows were evaluated on; it knows the history.

    Raises:
        ValueError: as in `comparisons_table`; a setting that was not evaluated; another split than that of the rows.
    """
    import pandas as pd

    check_rows(rows)
    pairs = list(dict.fromkeys(pairs))
    place = row_places(rows, (label for pair in pairs for label in pair))
    _check_split(rows[0], setting, split)
    part = rows[0].evaluations[0][setting]
    lines: list[dict[str, object]] = []
    if len(part.rank) and pairs:
        names = dict.fromkeys(label for pair in pairs for label in pair)
        added = {name: mean_contributions(rows[place[name]], setting, metric) for name in names}
        deltas = np.stack([added[a] - added[b] for a, b in pairs], axis=1)
        for by in BY:
            code, labels = _strata(part, split, by)
            for number, label in enumerate(labels):
                found, intervals, size = _stratum(part, code == number, deltas, draws, seed)
                for pair, (a, b) in enumerate(pairs):
                    line = {
                        "dataset": dataset,
                        "fingerprint": fingerprint,
                        "split": split.name,
                        "setting": setting,
                        "metric": metric,
                        "a": a,
                        "b": b,
                        "by": by,
                        "stratum": label,
                        "place": number,
                        "difference": float(found[pair]),
                        "contribution": float(found[pair]) * size["share"],
                    }
                    lines.append(line | size | interval_columns(intervals, pair))
    return pd.DataFrame(lines, columns=list(STRATA_COLUMNS))


def quantile_bins(values: np.ndarray, parts: int) -> tuple[np.ndarray, list[str]]:
    """Divide integers into at most `parts` bins of about equal counts; equal values stay together.

    Args:
        values: [n] int, n > 0.

    Returns:
        The bin of each value, int64 [n], and the labels of the bins: "1", "2-4", and "20+" for the last one.
    """
    upper = np.unique(np.quantile(values, np.arange(1, parts + 1) / parts, method="inverted_cdf"))
    lower = [int(values.min()), *(int(end) + 1 for end in upper[:-1])]
    labels = [str(low) if low == high else f"{low}-{high}" for low, high in zip(lower, upper.tolist(), strict=True)]
    if len(upper) > 1 and lower[-1] < upper[-1]:
        labels[-1] = f"{lower[-1]}+"
    return np.searchsorted(upper, values, side="left"), labels


def _strata(part: SettingResult, split: Split, by: str) -> tuple[np.ndarray, list[str]]:
    """Stratum of each target, int64 [m], and the labels of the strata."""
    if by == "history":
        length = np.bincount(split.history_user, minlength=split.n_users)[part.users]
        code, labels = quantile_bins(length, 4)
        return code[part.group], labels
    popularity = np.bincount(split.history_item, minlength=split.n_items)[part.target_item]
    warm = popularity > 0
    labels, code = [] if warm.all() else ["cold"], np.zeros(len(popularity), dtype=np.int64)
    if warm.any():
        bins, names = quantile_bins(popularity[warm], 3)
        code[warm] = bins + len(labels)
        labels = [*labels, *names]
    return code, labels


def _stratum(
    part: SettingResult, inside: np.ndarray, deltas: np.ndarray, draws: int, seed: int
) -> tuple[np.ndarray, Intervals, dict[str, float]]:
    """Differences [P] of one stratum, their intervals, and its share and sizes; inside: [m] bool, deltas: [m, P]."""
    weights = 1.0 / np.bincount(part.group)[part.group]
    columns = np.column_stack([deltas, weights])[inside]
    user_sums, item_sums = (sums_by_unit(unit[inside], columns) for unit in (part.target_user, part.target_item))
    sample = bootstrap(
        user_sums[:, :-1], item_sums[:, :-1], item_sums[:, -1], user_weights=user_sums[:, -1], draws=draws, seed=seed
    )
    size: dict[str, float] = {
        "share": float(weights[inside].sum() / len(part.users)),
        "n_users": sample.n_users,
        "n_targets": int(inside.sum()),
        "n_items": sample.n_items,
    }
    return sample.point, sample.intervals(), size


def _check_split(row: Row, setting: str, split: Split) -> None:
    evaluation = row.evaluations[0]
    if setting not in evaluation.settings:
        raise ValueError(f"{setting!r} was not evaluated: choose from {', '.join(evaluation.settings)}.")
    same_ids = np.array_equal(evaluation.user_ids, split.user_ids) and np.array_equal(
        evaluation.item_ids, split.item_ids
    )
    if evaluation.split != split.name or not same_ids:
        raise ValueError(
            f"{row.label} was evaluated on another split than {split.name!r} ({evaluation.split!r}, or other users "
            "and items): give the split of the evaluations."
        )
