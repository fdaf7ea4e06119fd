"""Paired comparisons of rows: intervals, a permutation test, and Holm's correction within families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .rows import METRICS, Row, check_rows, interval_columns, resample, row_places
from .statistics import DRAWS, holm, minimal_detectable_effect, sign_flip

if TYPE_CHECKING:
    import pandas as pd

# Labels (a, b) of rows; a mapping names the families within which Holm's correction is applied.
Pairs = Sequence[tuple[str, str]] | Mapping[str, Sequence[tuple[str, str]]]

# A difference is called shown below this Holm-adjusted p, and only if both intervals exclude 0.
ALPHA = 0.05
ONE_FAMILY = "all"

COMPARISON_COLUMNS = (
    "dataset",
    "fingerprint",
    "split",
    "setting",
    "family",
    "a",
    "b",
    "metric",
    "difference",
    "low",
    "high",
    "interval",
    "low_users",
    "high_users",
    "low_items",
    "high_items",
    "p",
    "p_holm",
    "minimal_detectable_effect",
    "verdict",
)


def comparisons_table(
    rows: Sequence[Row],
    pairs: Pairs,
    *,
    dataset: str,
    fingerprint: str,
    settings: Sequence[str] = ("catalogue", "zero_shot"),
    metrics: Sequence[str] = METRICS[:1],
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Paired differences a - b, one line for each metric, setting and pair; empty settings are left out.

    p is a two-sided sign-flip permutation over users; `p_holm` adjusts it within its family: all lines of one metric
    and one family in this table, over all settings. The verdict is `better` or `worse` where the intervals over users
    and over items both exclude 0 and `p_holm` < 0.05, and `not shown` otherwise.

    Args:
        pairs: labels (a, b) of the rows to compare: a sequence, which is the one family `all`, or family -> such a
            sequence. A family is a question that is asked in several places, for example the profile against its
            placebo on each of five backbones: in two settings these are ten cells.

    Raises:
        ValueError: as in `results_table`, and for a label that is no row.
    """
    import pandas as pd

    check_rows(rows)
    asked = [(family, a, b) for family, members in _families(pairs).items() for a, b in members]
    place = row_places(rows, (label for _, *pair in asked for label in pair))
    lines: list[dict[str, object]] = []
    for setting in settings:
        sample = resample(rows, setting, metrics, draws, seed)
        if sample is None or not asked:
            continue
        for position, metric in enumerate(metrics):
            columns = [(place[a] * len(metrics) + position, place[b] * len(metrics) + position) for _, a, b in asked]
            differences = np.stack([sample.values[:, a] - sample.values[:, b] for a, b in columns], axis=1)
            p_values = sign_flip(differences, draws=draws, seed=seed)
            for (family, a, b), (first, second), p in zip(asked, columns, p_values, strict=True):
                intervals = sample.difference(first, second)
                line = {
                    "dataset": dataset,
                    "fingerprint": fingerprint,
                    "split": rows[0].evaluations[0].split,
                    "setting": setting,
                    "family": family,
                    "a": a,
                    "b": b,
                    "metric": metric,
                    "difference": sample.point[first] - sample.point[second],
                    "p": p,
                    "minimal_detectable_effect": float(minimal_detectable_effect(intervals.standard_error)[0]),
                }
                lines.append(line | interval_columns(intervals, 0))
    return _judge(pd.DataFrame(lines, columns=list(COMPARISON_COLUMNS)))


def verdict(low_users: float, high_users: float, low_items: float, high_items: float, p_holm: float) -> str:
    """`better`, `worse` or `not shown` for a difference; anything that is NaN shows nothing."""
    if p_holm < ALPHA:
        if low_users > 0 and low_items > 0:
            return "better"
        if high_users < 0 and high_items < 0:
            return "worse"
    return "not shown"


def _families(pairs: Pairs) -> Mapping[str, Sequence[tuple[str, str]]]:
    return pairs if isinstance(pairs, Mapping) else {ONE_FAMILY: pairs}


def _judge(table: pd.DataFrame) -> pd.DataFrame:
    for _, family in table.groupby(["metric", "family"]):
        table.loc[family.index, "p_holm"] = holm(family["p"].to_numpy(dtype=np.float64))
    judged = ("low_users", "high_users", "low_items", "high_items", "p_holm")
    table["verdict"] = [verdict(*values) for values in table[list(judged)].itertuples(index=False)]
    return table
