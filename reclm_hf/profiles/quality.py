"""What a table of user profiles is like, without any label: personal, distinct, well-formed, over-smoothed?

The main measure asks whose profile it is: from a profile's sentence vector the user's own history must be found among
those of other users. A profile made of the catalogue's common ground, or of the neighbours' taste, fails at it however
well it reads. No target of any period is looked at, so that the measures may guide choices at either cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import Split
from .profile import USER_ITEMS, well_formed

if TYPE_CHECKING:
    import pandas as pd

CANDIDATES = 100
DRAWS = 2000
_LEVEL = 0.95
_SAME = 1e-9  # scores closer than this are ties: sums of equal vectors may differ in their last bits


@dataclass(frozen=True)
class Personalisation:
    """How well users' own histories are found from their profiles.

    Attributes:
        reciprocal_rank: [n] float64, of the own history; its expectation where scores are tied. hit: [n] float64, the
            probability that it comes first. candidates: histories that each profile is compared with, the own included.
    """

    reciprocal_rank: np.ndarray
    hit: np.ndarray
    candidates: int

    @property
    def mrr(self) -> float:
        """The mean reciprocal rank."""
        return float(self.reciprocal_rank.mean())

    @property
    def hit_at_1(self) -> float:
        """The share of users whose own history comes first."""
        return float(self.hit.mean())

    @property
    def chance(self) -> float:
        """The mean reciprocal rank of profiles that say nothing: sum(1 / rank) / candidates."""
        return float((1 / np.arange(1, self.candidates + 1)).mean())

    def interval(self, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
        """A 95 % interval of `mrr`; see `mean_interval`."""
        return mean_interval(self.reciprocal_rank, draws, seed)


def personalisation(
    profile_vectors: np.ndarray,
    history_vectors: np.ndarray,
    candidates: int = CANDIDATES,
    seed: int = 0,
    *,
    rows: np.ndarray | None = None,
    others: np.ndarray | None = None,
) -> Personalisation:
    """Retrieve each user's own history by the cosine with the profile, both sides centred.

    Ties are broken at random, in expectation: a profile of which nothing is left, a zero vector included, is found by
    chance. A user's candidates depend on `seed` and on the user's row alone, so that any two sets of profile vectors
    are compared on the same ones.

    Args:
        profile_vectors: [n, d]. history_vectors: [h, d], see `history_vectors`; zero rows (no history) are nobody's
            candidates.
        candidates: histories in all, the own one and `candidates - 1` others, or fewer where there are not so many.
        rows: [n] int, whose profiles these are, as rows of `history_vectors`; None: 0, 1, 2, ...
        others: rows that the other histories are drawn from; None: all.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, an owner without history, nobody to compare.
    """
    profiles, histories = _checked(profile_vectors, "profile"), _checked(history_vectors, "history")
    owners = np.arange(len(profiles)) if rows is None else np.asarray(rows)
    if profiles.shape[1] != histories.shape[1] or len(owners) != len(profiles):
        raise ValueError(
            f"{profiles.shape[0]} profile vectors of width {profiles.shape[1]}, {len(owners)} owners and history "
            f"vectors of width {histories.shape[1]}: give one owner a profile and vectors of one encoder."
        )
    known = _filled(histories)
    if len(owners) and (owners.max() >= len(histories) or not known[owners].all()):
        raise ValueError("There is a profile of a user without history: leave such users out of the measure.")
    pool = np.flatnonzero(known) if others is None else np.unique(np.asarray(others)[known[np.asarray(others)]])
    taken = min(candidates - 1, len(pool) - int(np.isin(owners, pool).any()))
    if not len(profiles) or taken < 1:
        raise ValueError(f"{len(profiles)} profiles and {len(pool)} histories: at least two users are needed.")
    queries, keys = centered(profiles), centered(histories, histories[pool].mean(axis=0))
    ranks = np.empty(len(profiles))
    hits = np.empty(len(profiles))
    for place, owner in enumerate(owners):
        drawn = _draw_others(pool, int(owner), taken, seed)
        own = keys[owner] @ queries[place]
        scores = keys[drawn] @ queries[place]
        above = int((scores > own + _SAME).sum())
        tied = int((np.abs(scores - own) <= _SAME).sum())
        ranks[place] = (1 / np.arange(above + 1, above + tied + 2)).mean()
        hits[place] = (above == 0) / (tied + 1)
    return Personalisation(ranks, hits, taken + 1)


def history_vectors(split: Split, item_vectors: np.ndarray) -> np.ndarray:
    """[U, d] float32 mean direction of each user's items before the cut, of length 1; zero rows without history.

    Args:
        item_vectors: [I, d] sentence vectors of the item texts.
    """
    return unit(split.history_matrix() @ unit(item_vectors)).astype(np.float32)


def distinct_share(texts: Sequence[str]) -> float:
    """Different texts per text; 1.0 means that no two are the same. NaN without texts."""
    return len(set(texts)) / len(texts) if len(texts) else float("nan")


def well_formed_share(texts: Sequence[str], size: int = USER_ITEMS) -> float:
    """The share of texts that keep the profile format exactly, see `profile.well_formed`. NaN without texts."""
    return float(np.mean([well_formed(text, size) for text in texts])) if len(texts) else float("nan")


@dataclass(frozen=True)
class OverSmoothing:
    """Mean centred cosine of users with their neighbours, and with as many users drawn at random."""

    neighbors: float
    random: float

    @property
    def excess(self) -> float:
        """How much more alike neighbours are than strangers."""
        return self.neighbors - self.random


def over_smoothing(vectors: np.ndarray, neighbors: np.ndarray, seed: int = 0) -> OverSmoothing:
    """How much more alike neighbours' vectors are than those of strangers.

    Some excess is right, since neighbours are chosen for similar taste: hold the profiles' against the histories'.

    Args:
        vectors: [n, d], of profiles or histories; zero rows are left out.
        neighbors: [n, k] int rows of `vectors`, -1 for none.

    Raises:
        ValueError: shapes that do not fit or values that are not finite. NaN results where nobody has a neighbour.
    """
    vectors = _checked(vectors, "profile")
    if len(neighbors) != len(vectors):
        raise ValueError(f"{len(neighbors)} rows of neighbours for {len(vectors)} vectors: give one row each.")
    known = _filled(vectors)
    pool = np.flatnonzero(known)
    directions = centered(vectors)
    near, far = [], []
    for row in pool:
        others = [int(other) for other in neighbors[row] if other >= 0 and known[other]]
        if others and len(pool) > len(others):
            near.append((directions[others] @ directions[row]).mean())
            far.append((directions[_draw_others(pool, int(row), len(others), seed)] @ directions[row]).mean())
    if not near:
        return OverSmoothing(float("nan"), float("nan"))
    return OverSmoothing(float(np.mean(near)), float(np.mean(far)))


def quality_report(
    table: pd.DataFrame, split: Split, item_vectors: np.ndarray, encoder: Any, *, size: int = USER_ITEMS, seed: int = 0
) -> dict[str, Any]:
    """All measures of a `user_profiles` table, with what the neighbours alone would reach.

    `mrr_of_neighbor_profiles` is reached by the mean of the neighbours' profile vectors, `mrr_of_neighbor_histories` by
    the mean of their history vectors; the ratios divide the profiles' own `mrr` by them, with paired 95 % intervals.

    Args:
        table: columns `user_id`, `profile` and `neighbors`. Users without history before the cut count towards format
            and distinctness only.
        item_vectors: [I, d] of `encoder`. encoder: `encode(texts) -> [n, d]`.

    Returns:
        The figures by name. Those of a comparison are NaN with fewer than two users to compare.

    Raises:
        KeyError: a profile of a user who is not in the data. ValueError: vectors of different widths.
    """
    row_of = {user: row for row, user in enumerate(split.user_ids)}
    unknown = [user for user in table["user_id"] if user not in row_of]
    if unknown:
        raise KeyError(f"profiles of {len(unknown)} users who are not in the data, first {unknown[0]!r}.")
    texts = table["profile"].fillna("").tolist()
    histories = history_vectors(split, item_vectors)
    owners = np.array([row_of[user] for user in table["user_id"]], dtype=np.int64)
    with_history = np.flatnonzero(_filled(histories[owners]))
    owners = owners[with_history]
    vectors = _encoded([texts[row] for row in with_history], encoder, histories.shape[1])
    near = [[row_of[other] for other in others if other in row_of] for others in table["neighbors"].iloc[with_history]]
    by_user = np.zeros_like(histories)
    by_user[owners] = vectors
    found = {
        "mrr": vectors,
        "mrr_of_neighbor_profiles": _means(by_user, near),
        "mrr_of_neighbor_histories": _means(histories, near),
    }
    if len(owners) > 1:
        ranks = {
            name: personalisation(rows, histories, seed=seed, rows=owners, others=owners)
            for name, rows in found.items()
        }
    else:
        unknown_rank = np.full(1, np.nan)
        ranks = dict.fromkeys(found, Personalisation(unknown_rank, unknown_rank, 1))
    own = ranks["mrr"]
    place = {int(owner): row for row, owner in enumerate(owners)}
    padded = _padded([[place[other] for other in others if other in place] for others in near])
    return {
        "profiles": len(table),
        "users_compared": len(owners),
        "well_formed": well_formed_share(texts, size),
        "distinct": distinct_share(texts),
        "candidates": own.candidates,
        "chance": own.chance,
        "mrr": own.mrr,
        "mrr_interval": list(own.interval(seed=seed)),
        "hit_at_1": own.hit_at_1,
        **{name: rank.mrr for name, rank in ranks.items() if name != "mrr"},
        "ratio_to_neighbor_profiles": _ratio(own, ranks["mrr_of_neighbor_profiles"], seed),
        "ratio_to_neighbor_histories": _ratio(own, ranks["mrr_of_neighbor_histories"], seed),
        "over_smoothing": over_smoothing(vectors, padded, seed).excess,
        "over_smoothing_of_histories": over_smoothing(histories[owners], padded, seed).excess,
    }


def quality_lines(report: Mapping[str, Any]) -> list[str]:
    """The report of `quality_report` for a person: three lines, or one where nobody can be compared."""
    if report["users_compared"] < 2:
        return [f"{report['well_formed']:.1%} well-formed, {report['distinct']:.1%} distinct; too few users to compare"]
    low, high = report["mrr_interval"]
    profiles, histories = report["ratio_to_neighbor_profiles"], report["ratio_to_neighbor_histories"]
    return [
        f"{report['well_formed']:.1%} well-formed, {report['distinct']:.1%} distinct",
        f"own history found among {report['candidates']} users': MRR {report['mrr']:.3f} [{low:.3f}, {high:.3f}], "
        f"first in {report['hit_at_1']:.1%}; by chance {report['chance']:.3f}; {profiles['ratio']:.2f} times the mean "
        f"of the neighbours' profiles, {histories['ratio']:.2f} times the mean of their histories",
        f"neighbours' profiles are more alike than strangers' by a cosine of {report['over_smoothing']:.3f}, their "
        f"histories by {report['over_smoothing_of_histories']:.3f}",
    ]


def mean_interval(values: np.ndarray, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of [n] values, users drawn with replacement.

    Of paired differences it is the paired interval. NaN for fewer than two values.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    return _percentiles(_resampled_means(np.asarray(values, dtype=np.float64)[:, None], draws, seed)[:, 0])


def centered(vectors: np.ndarray, center: np.ndarray | None = None) -> np.ndarray:
    """[n, d] float64 vectors less their common mean (or `center` [d]), of length 1; zero rows stay zero.

    Texts of one kind share most of their direction; what tells them apart is what is left.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    known = _filled(vectors)
    if center is None:
        center = vectors[known].mean(axis=0) if known.any() else np.zeros(vectors.shape[1])
    return unit(np.where(known[:, None], vectors - center, 0.0))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; zero rows, and what is left of equal ones after centring, become zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(norms > _SAME, vectors / np.maximum(norms, _SAME), 0.0)


def _filled(vectors: np.ndarray) -> np.ndarray:
    """[n] bool, the rows that are not zero."""
    return np.asarray(vectors.any(axis=1))


def _checked(vectors: np.ndarray, kind: str) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"The {kind} vectors must be an [n, d] array of finite numbers.")
    return vectors


def _draw_others(pool: np.ndarray, owner: int, count: int, seed: int) -> np.ndarray:
    # Sorted pool; the owner is stepped over instead of taken out of a copy.
    place = int(np.searchsorted(pool, owner))
    inside = place < len(pool) and pool[place] == owner
    drawn = np.random.default_rng([seed, owner]).choice(len(pool) - inside, count, replace=False)
    return pool[drawn + (drawn >= place) if inside else drawn]


def _encoded(texts: Sequence[str], encoder: Any, width: int) -> np.ndarray:
    vectors = np.zeros((len(texts), width), dtype=np.float32)
    written = [row for row, text in enumerate(texts) if text.strip()]
    if written:
        vectors[written] = encoder.encode([texts[row] for row in written])
    return vectors


def _means(vectors: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """[n, d] mean of the non-zero rows of each group; zero where it has none."""
    known = _filled(vectors)
    means = np.zeros((len(groups), vectors.shape[1]))
    for row, group in enumerate(groups):
        members = [member for member in group if known[member]]
        if members:
            means[row] = vectors[members].mean(axis=0)
    return means


def _padded(groups: Sequence[Sequence[int]]) -> np.ndarray:
    padded = np.full((len(groups), max(map(len, groups), default=0)), -1, dtype=np.int64)
    for row, group in enumerate(groups):
        padded[row, : len(group)] = group
    return padded


def _ratio(own: Personalisation, other: Personalisation, seed: int) -> dict[str, float]:
    means = _resampled_means(np.column_stack([own.reciprocal_rank, other.reciprocal_rank]), DRAWS, seed)
    low, high = _percentiles(means[:, 0] / means[:, 1])
    return {"ratio": own.mrr / other.mrr, "low": low, "high": high}


def _resampled_means(values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([values[rng.integers(len(values), size=len(values))].mean(axis=0) for _ in range(draws)])


def _percentiles(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
