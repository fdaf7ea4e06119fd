"""Paired intervals and tests over users and over test items, and the smallest effect that could have been seen.

Users are not the only sample: a handful of popular items can carry a metric, and then an interval over users alone is
far too narrow. Both are drawn, and the wider interval is the one to believe. All draws are shared by all columns, so
that differences between columns are paired, and one matrix product serves every row of a report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

DRAWS = 10_000
LEVEL = 0.95
# Cells of one chunk of resampling counts: 2**18 float64 are 2 MiB and stay in the cache (larger ones were slower).
_CHUNK_CELLS = 2**18


@dataclass(frozen=True)
class Bootstrap:
    """Bootstrap distributions of R columns in one setting.

    Attributes:
        point: [R] float64, the means over users.
        users: [draws, R] float64, users drawn with replacement.
        items: [draws, R] float64, test items drawn with replacement (a ratio of sums).
        n_users, n_items: sizes of the two samples.
    """

    point: np.ndarray
    users: np.ndarray
    items: np.ndarray
    n_users: int
    n_items: int

    def intervals(self) -> Intervals:
        """Intervals of every column."""
        return self._intervals(self.users, self.items)

    def difference(self, a: int, b: int) -> Intervals:
        """Intervals of column a minus column b, paired within each draw; every array has one entry."""
        users = self.users[:, [a]] - self.users[:, [b]]
        items = self.items[:, [a]] - self.items[:, [b]]
        return self._intervals(users, items)

    def _intervals(self, users: np.ndarray, items: np.ndarray) -> Intervals:
        low_users, high_users = interval(users, self.n_users)
        low_items, high_items = interval(items, self.n_items)
        error = np.maximum(users.std(axis=0), items.std(axis=0))
        return Intervals(low_users, high_users, low_items, high_items, error)


@dataclass(frozen=True)
class Intervals:
    """95 % intervals over users and over items, [R] each, and the larger of the two standard errors."""

    low_users: np.ndarray
    high_users: np.ndarray
    low_items: np.ndarray
    high_items: np.ndarray
    standard_error: np.ndarray

    @property
    def wider(self) -> np.ndarray:
        """[R] `items` or `users`, whichever interval is wider; the one that exists where the other is NaN."""
        users = np.nan_to_num(self.high_users - self.low_users, nan=-1.0)
        items = np.nan_to_num(self.high_items - self.low_items, nan=-1.0)
        return np.where(items > users, "items", "users")

    @property
    def low(self) -> np.ndarray:
        """[R] lower end of the wider interval."""
        return np.where(self.wider == "items", self.low_items, self.low_users)

    @property
    def high(self) -> np.ndarray:
        """[R] upper end of the wider interval."""
        return np.where(self.wider == "items", self.high_items, self.high_users)


def bootstrap(
    user_sums: np.ndarray,
    item_sums: np.ndarray,
    item_weights: np.ndarray,
    *,
    user_weights: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Bootstrap:
    """Resample users and, separately, test items.

    Over items a metric is the ratio sum_i C_i / sum_i W_i: C_i adds up, over the users who have item i as a target,
    what it contributes to their metric (for recall hit / |T_u|), and W_i adds up 1 / |T_u|. Without resampling the
    ratio is the mean over users exactly. Over users it is the same ratio of sums by user, which is their mean where
    every user weighs 1, that is where no target is left out.

    Args:
        user_sums: [n_users, R] metrics of users.
        item_sums: [n_items, R], C. item_weights: [n_items], W, > 0.
        user_weights: [n_users], > 0; None: 1 each.
        draws: number of bootstrap samples. seed: of the draws; the same seed gives the same draws.
    """
    weights = np.ones(len(user_sums)) if user_weights is None else user_weights
    users = resampled_sums(np.column_stack([user_sums, weights]), draws=draws, seed=seed)
    items = resampled_sums(np.column_stack([item_sums, item_weights]), draws=draws, seed=seed, stream=1)
    return Bootstrap(
        point=np.asarray(user_sums, dtype=np.float64).sum(axis=0) / weights.sum(),
        users=users[:, :-1] / users[:, -1:],
        items=items[:, :-1] / items[:, -1:],
        n_users=len(user_sums),
        n_items=len(item_sums),
    )


def resampled_sums(values: np.ndarray, *, draws: int = DRAWS, seed: int = 0, stream: int = 0) -> np.ndarray:
    """[draws, R] float64: column sums of [n, R] values over n rows drawn with replacement.

    Args:
        seed, stream: of the draws; `stream` separates the kinds of unit, 0 users and 1 items.
    """
    values = np.asarray(values, dtype=np.float64)
    sums = np.empty((draws, values.shape[1]))
    for rows, counts in _resampling_counts(len(values), draws, np.random.default_rng([seed, stream])):
        sums[rows] = counts @ values
    return sums


def sums_by_unit(unit: np.ndarray, contributions: np.ndarray) -> np.ndarray:
    """[n_units, R] float64 sums over the targets of each unit (test item or user), in the order of `np.unique(unit)`.

    Args:
        unit: [m] int. contributions: [m, R].
    """
    _, code = np.unique(unit, return_inverse=True)
    n_units = int(code.max()) + 1 if len(code) else 0
    columns = [np.bincount(code, weights=column, minlength=n_units) for column in np.asarray(contributions).T]
    return np.stack(columns, axis=1)


def interval(draws: np.ndarray, n_units: int, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of each column of [draws, R]: (low [R], high [R]).

    NaN with fewer than two units: one user, or one item, says nothing about others, and its width would be 0.
    """
    if n_units < 2:
        nothing = np.full(draws.shape[1], np.nan)
        return nothing, nothing.copy()
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def sign_flip(differences: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Two-sided p of each column: how often random signs give a mean at least as far from 0, float64 [R].

    The observed signs count as one draw, so p is never 0.

    Args:
        differences: [n_users, R] paired differences of users.
    """
    differences = np.asarray(differences, dtype=np.float64)
    observed = np.abs(differences.sum(axis=0))
    # Sums of the same terms in another order differ in the last bits: they are the same value here.
    threshold = observed * (1 - 1e-9)
    rng = np.random.default_rng([seed, 2])
    extreme = np.zeros(differences.shape[1], dtype=np.int64)
    for rows in _chunks(draws, len(differences)):
        signs = rng.integers(0, 2, size=(rows.stop - rows.start, len(differences)), dtype=np.int8) * 2.0 - 1.0
        extreme += (np.abs(signs @ differences) >= threshold).sum(axis=0)
    return (extreme + 1) / (draws + 1)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment of one family of p values: float64 [n], at most 1. NaN stays NaN and counts not."""
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def minimal_detectable_effect(standard_error: np.ndarray, *, power: float = 0.8, level: float = LEVEL) -> np.ndarray:
    """The true difference that a two-sided test at `level` would find with probability `power`.

    Normal approximation: (z_(1+level)/2 + z_power) x standard error, 2.80 standard errors by default.
    """
    normal = NormalDist()
    return (normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)) * np.asarray(standard_error)


def _resampling_counts(n: int, draws: int, rng: np.random.Generator) -> Iterator[tuple[slice, np.ndarray]]:
    """Chunks of multinomial counts [chunk, n] float64: how often each of n units is drawn in n draws."""
    for rows in _chunks(draws, n):
        size = rows.stop - rows.start
        drawn = rng.integers(0, n, size=(size, n), dtype=np.int64)
        drawn += np.arange(size, dtype=np.int64)[:, None] * n
        yield rows, np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _chunks(draws: int, n: int) -> Iterator[slice]:
    size = max(1, _CHUNK_CELLS // max(1, n))
    for start in range(0, draws, size):
        yield slice(start, min(draws, start + size))
