"""All-rank metrics from the rank of every target (design, evaluation protocol). numpy only.

A metric of a user is written as a sum over the user's targets. The same contributions, added up by user, give the
metric, and, added up by item, the item-clustered bootstrap: the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .scoring import Pairs, require_rankable

# Rank of a target that the model scored -inf: it is never recommended, so it is no hit at any k.
UNRANKED = int(np.iinfo(np.int32).max)
_PER_K = ("recall", "ndcg", "hit_rate")


def metric_names(ks: Sequence[int]) -> list[str]:
    """`recall@k`, `ndcg@k` and `hit_rate@k` for each k, then `mrr`.

    Raises:
        ValueError: a k below 1, a k twice, or none at all.
    """
    if not ks or min(ks) < 1 or len(set(ks)) != len(ks):
        raise ValueError(f"ks={tuple(ks)}: give different cut-offs of at least 1, for example (20, 40).")
    return [f"{name}@{k}" for k in ks for name in _PER_K] + ["mrr"]


def target_ranks(scores: np.ndarray, seen: Pairs, targets: Pairs, tie_rank: np.ndarray, model: str) -> np.ndarray:
    """Rank of every target by counting the unseen candidates above it: int32 [m], 0 is the best.

    No list is sorted: a user has few targets, and counting reads each score once for each of them. Where numba is
    installed, `rank_kernel` counts the same for large evaluations.

    Args:
        scores: [B, C] float32, users x candidates; left as it is.
        seen: (rows, columns), the pairs of `scores` that are masked because the user knows the item.
        targets: (rows, columns) [m], the pairs to rank; none of them may be seen.
        tie_rank: [C] int, a permutation of places; among equal scores the smaller one comes first.
        model: what errors call the model.

    Raises:
        ValueError: NaN or +inf among the scores, or a target among the seen pairs.
    """
    require_rankable(scores, model)
    masked = np.asarray(scores, dtype=np.float32)
    if len(seen[0]):
        # A comparison with NaN is false, so masked items are never counted, not even against a target of -inf.
        masked = np.array(masked)
        masked[seen] = np.nan
    rows, columns = (np.asarray(index, dtype=np.int64) for index in targets)
    wanted = masked[rows, columns]
    if np.isnan(wanted).any():
        raise ValueError("A target is also in its user's history: leave known pairs out of the targets.")
    ranks = np.empty(len(rows), dtype=np.int32)
    for chosen in _turns(rows):
        # Most often every user has a first target, and no line is copied.
        lines = masked if len(chosen) == len(masked) else masked[rows[chosen]]
        ranks[chosen] = _count_above(lines, wanted[chosen, None], tie_rank, tie_rank[columns[chosen], None])
    ranks[wanted == -np.inf] = UNRANKED
    return ranks


def _turns(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Places in `rows` [m] of the first entry of every row, of the second of those that have one, and so on."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    turn = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    by_turn = order[np.argsort(turn, kind="stable")]
    yield from np.split(by_turn, np.cumsum(np.bincount(turn))[:-1]) if len(rows) else ()


def _count_above(lines: np.ndarray, score: np.ndarray, tie_rank: np.ndarray, place: np.ndarray) -> np.ndarray:
    """[m] candidates above the target of each line [m, C]; score and place in the order of ties are [m, 1]."""
    above = np.count_nonzero(lines > score, axis=1)
    level = np.count_nonzero(lines == score, axis=1)
    tied = np.flatnonzero(level > 1)
    if len(tied):
        above[tied] += np.count_nonzero((lines[tied] == score[tied]) & (tie_rank < place[tied]), axis=1)
    return above


def contributions(metric: str, rank: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """What each target adds to its user's metric, float64 [m]; the sum over a user's targets is the metric.

    - `recall@k`: hits / |targets of the user|.
    - `ndcg@k`: DCG with gain 1 and discount log2(rank + 2), divided by the ideal over min(|targets|, k).
    - `hit_rate@k`: 1 if any target is among the first k; shared equally by the hits.
    - `mrr`: reciprocal rank (from 1) of the user's first hit over the whole list of candidates, not cut at any k;
      all of it belongs to that target.

    Args:
        rank: [m] int from 0, or `UNRANKED`; group: [m] int in [0, n_groups), the user of each target.

    Raises:
        ValueError: an unknown metric.
    """
    name, k = _parse(metric)
    rank = np.asarray(rank, dtype=np.int64)
    if name == "mrr":
        first = np.full(n_groups, UNRANKED, dtype=np.int64)
        np.minimum.at(first, group, rank)
        return np.where((rank == first[group]) & (rank != UNRANKED), 1.0 / (rank + 1.0), 0.0)
    hit = rank < k
    if name == "hit_rate":
        hits = np.bincount(group, weights=hit, minlength=n_groups)
        return hit / np.maximum(hits, 1.0)[group]
    n_targets = np.bincount(group, minlength=n_groups)
    if name == "recall":
        return hit / n_targets[group]
    ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))[np.clip(n_targets, 1, k) - 1]
    return hit / np.log2(rank + 2.0) / ideal[group]


def user_metrics(rank: np.ndarray, group: np.ndarray, n_groups: int, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Metric name -> float64 [n_groups], one value for each user; arguments as in `contributions`."""
    return {
        metric: np.bincount(group, weights=contributions(metric, rank, group, n_groups), minlength=n_groups)
        for metric in metric_names(ks)
    }


def _parse(metric: str) -> tuple[str, int]:
    name, _, k = metric.partition("@")
    if metric == "mrr":
        return name, UNRANKED
    if name not in _PER_K or not k.isdecimal() or int(k) < 1:
        raise ValueError(f"Unknown metric {metric!r}: choose recall@k, ndcg@k or hit_rate@k (k >= 1), or mrr.")
    return name, int(k)
