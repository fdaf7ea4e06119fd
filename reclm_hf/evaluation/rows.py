"""Rows of a report: evaluations of floors and models in, the table of results with intervals out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .protocol import Evaluation, SettingResult
from .statistics import DRAWS, Bootstrap, Intervals, bootstrap, sums_by_unit

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("floor", "model", "mean_user")
METRICS = ("recall@20", "ndcg@20", "recall@40")

RESULT_COLUMNS = (
    "dataset",
    "fingerprint",
    "split",
    "setting",
    "row",
    "kind",
    "backbone",
    "preset",
    "profile_mode",
    "n_seeds",
    "metric",
    "value",
    "low",
    "high",
    "interval",
    "low_users",
    "high_users",
    "low_items",
    "high_items",
    "n_users",
    "n_targets",
    "n_candidates",
    "seconds",
    "reason",
)


@dataclass(frozen=True)
class Row:
    """One row of a report: a floor, a model or a mean-user row, with the evaluations of its seeds.

    Attributes:
        label: its name, unique in a report.
        kind: `floor`, `model` or `mean_user`.
        evaluations: one for each seed, all on one split; metrics are averaged over them within each user.
        backbone, preset, profile_mode: "" where they do not apply.
        fit_seconds: time to fit one seed; the report adds the mean time of an evaluation.
    """

    label: str
    kind: str
    evaluations: Sequence[Evaluation]
    backbone: str = ""
    preset: str = ""
    profile_mode: str = ""
    fit_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.label}: unknown kind {self.kind!r}: choose one of {', '.join(KINDS)}.")
        if not self.evaluations:
            raise ValueError(f"{self.label}: a row needs at least one evaluation.")

    @property
    def seconds(self) -> float:
        """Time to fit and evaluate one seed."""
        return self.fit_seconds + float(np.mean([evaluation.seconds for evaluation in self.evaluations]))


def results_table(
    rows: Sequence[Row],
    *,
    dataset: str,
    fingerprint: str,
    metrics: Sequence[str] = METRICS,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """One line for each setting, row and metric, with the intervals over users and over test items.

    `low`, `high` are the wider of the two intervals and `interval` says which one that is ("" where there is none).
    An empty setting has NaN values and its reason.

    Raises:
        ValueError: two rows of one label, rows of different splits, settings, users or targets, an unknown metric.
    """
    import pandas as pd

    check_rows(rows)
    lines: list[dict[str, object]] = []
    for setting in rows[0].evaluations[0].settings:
        sample = resample(rows, setting, metrics, draws, seed)
        intervals = None if sample is None else sample.intervals()
        for number, row in enumerate(rows):
            part = row.evaluations[0][setting]
            for position, metric in enumerate(metrics):
                column = number * len(metrics) + position
                line = {
                    "dataset": dataset,
                    "fingerprint": fingerprint,
                    "split": row.evaluations[0].split,
                    "setting": setting,
                    "row": row.label,
                    "kind": row.kind,
                    "backbone": row.backbone,
                    "preset": row.preset,
                    "profile_mode": row.profile_mode,
                    "n_seeds": len(row.evaluations),
                    "metric": metric,
                    "value": np.nan if sample is None else sample.point[column],
                    "n_users": len(part.users),
                    "n_targets": len(part.rank),
                    "n_candidates": part.n_candidates,
                    "seconds": row.seconds,
                    "reason": part.reason,
                }
                lines.append(line | interval_columns(intervals, column))
    return pd.DataFrame(lines, columns=list(RESULT_COLUMNS))


@dataclass(frozen=True)
class Sample(Bootstrap):
    """A bootstrap and the [n_users, R] values it was drawn from; column = row x len(metrics) + metric."""

    values: np.ndarray


def resample(rows: Sequence[Row], setting: str, metrics: Sequence[str], draws: int, seed: int) -> Sample | None:
    """All rows and metrics of one setting on the same draws; None where the setting is empty."""
    first = rows[0].evaluations[0][setting]
    if not len(first.rank):
        return None
    contributions = np.stack(
        [mean_contributions(row, setting, metric) for row in rows for metric in metrics], axis=1
    )  # [m, R]
    group = first.group
    values = np.stack([np.bincount(group, weights=column) for column in contributions.T], axis=1)
    weights = 1.0 / np.bincount(group)[group]
    sums = sums_by_unit(first.target_item, np.column_stack([contributions, weights]))
    sample = bootstrap(values, sums[:, :-1], sums[:, -1], draws=draws, seed=seed)
    return Sample(**vars(sample), values=values)


def mean_contributions(row: Row, setting: str, metric: str) -> np.ndarray:
    """[m] float64: what each target adds to its user's metric, the mean over the seeds of a row."""
    parts = [evaluation[setting].contributions(metric) for evaluation in row.evaluations]
    return np.asarray(np.mean(parts, axis=0))


def interval_columns(intervals: Intervals | None, column: int) -> dict[str, object]:
    """The interval columns of one line of a table; NaN and "" for None."""
    names = ("low", "high", "low_users", "high_users", "low_items", "high_items")
    if intervals is None:
        return dict.fromkeys(names, np.nan) | {"interval": ""}
    found: dict[str, object] = {name: float(getattr(intervals, name)[column]) for name in names}
    return found | {"interval": "" if np.isnan(intervals.low[column]) else str(intervals.wider[column])}


def check_rows(rows: Sequence[Row]) -> None:
    """Raises ValueError for no rows, two of one label, and rows that were not evaluated on the same targets."""
    if not rows:
        raise ValueError("A report needs at least one row.")
    labels = [row.label for row in rows]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"{label!r} names two rows: give each row its own label.")
    expected = rows[0].evaluations[0]
    for row in rows:
        for evaluation in row.evaluations:
            if (evaluation.split, list(evaluation.settings)) != (expected.split, list(expected.settings)):
                raise ValueError(
                    f"{row.label}: evaluated on {evaluation.split} ({', '.join(evaluation.settings)}), but "
                    f"{labels[0]} on {expected.split} ({', '.join(expected.settings)}). Evaluate all rows alike."
                )
            for setting, part in evaluation.settings.items():
                if not _same_targets(part, expected[setting]):
                    raise ValueError(f"{row.label}: its targets in {setting} differ from those of {labels[0]}.")


def row_places(rows: Sequence[Row], labels: Iterable[str]) -> dict[str, int]:
    """Label -> number of the row, for all rows.

    Raises:
        ValueError: one of `labels` is no row.
    """
    places = {row.label: number for number, row in enumerate(rows)}
    for label in labels:
        if label not in places:
            raise ValueError(f"{label!r} cannot be compared, it is no row: choose from {', '.join(places)}.")
    return places


def _same_targets(a: SettingResult, b: SettingResult) -> bool:
    return np.array_equal(a.target_user, b.target_user) and np.array_equal(a.target_item, b.target_item)
