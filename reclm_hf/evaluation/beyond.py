"""What the lists of a model look like beside their hits: coverage, concentration, novelty and popularity.

One list a user: the k unseen candidates of highest score, ties in the order of `recommender.catalog.tie_order`, so
that `recall@k` of the same lists is what `evaluate` reports. An item of score -inf is in no list; a list may therefore
be shorter than k, or empty. The popularity of an item is n_i, its interactions in the history of the split, and U the
number of users with history.

- `coverage@k`: the share of the candidates that stand in at least one list (catalogue coverage: Ge,
  Delgado-Battenfeld and Jannach, RecSys 2010). It cannot exceed lists x k / candidates.
- `gini@k`: with p_(j) the share of all places in lists that the candidate of j-th lowest share has, out of C,
  sum_j (2j - C - 1) p_(j) / (C - 1): 0 where all candidates are recommended equally often, 1 where all places go to one
  of them (Shani and Gunawardana, Recommender Systems Handbook, 2011, on sales diversity). Candidates that are never
  recommended count. A list holds an item once, so 1 is out of reach for k > 1.
- `novelty@k`: the mean self-information of the items of a list, in bits, -log2 of the share of users who know the item
  (Zhou et al., PNAS 107(10), 2010). One user is added who knows everything, (n_i + 1) / (U + 1): an item without
  history then has log2(U + 1) bits, one more than an item that one user knows, and no item is infinitely novel.
- `popularity@k`: the mean popularity of the items of a list (average recommendation popularity: Yin et al., PVLDB 5(9),
  2012), an item without history counting 0.
- `popularity_lift@k`: the sum over users of that mean, divided by the sum over the same users of the mean popularity
  of their own history, minus 1: 0 where lists are as popular as what users chose, 1 where they are twice as popular
  (Abdollahpouri et al., RecSys 2020, here with all users as one group).
- `cold_share@k`: the share of the places of a list that items without history take.

Novelty, popularity and cold share are means over the lists that are not empty; several seeds are averaged within each
user. Coverage and Gini describe the set of all lists, so that they are averaged over seeds and have no interval over
users: a resampled set holds fewer different users, and would cover less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .protocol import why_empty
from .scoring import Block, Scorer, model_name, require_rankable, score_blocks
from .statistics import DRAWS, interval, resampled_sums

if TYPE_CHECKING:
    import pandas as pd

    from ..data.splits import Split

METRICS = ("coverage", "gini", "novelty", "popularity", "popularity_lift", "cold_share")
BEYOND_COLUMNS = (
    "dataset",
    "fingerprint",
    "split",
    "setting",
    "row",
    "n_seeds",
    "metric",
    "value",
    "low",
    "high",
    "n_users",
    "n_candidates",
    "reason",
)


@dataclass(frozen=True)
class BeyondAccuracy:
    """The lists of one model (one seed) in one setting, reduced to what the metrics need.

    Attributes:
        model, split, setting, k: what the lists are of.
        users: [n] int32, ascending: the users with targets in the setting.
        counts: [C] int64, how many lists each candidate stands in; candidates ascending.
        novelty, popularity, cold_share: [n] float64 means over a user's list; NaN where it is empty.
        history_popularity: [n] float64, mean popularity of the items of the user's history.
        reason: why the setting is empty; "" where it is not.
    """

    model: str
    split: str
    setting: str
    k: int
    users: np.ndarray
    counts: np.ndarray
    novelty: np.ndarray
    popularity: np.ndarray
    cold_share: np.ndarray
    history_popularity: np.ndarray
    reason: str = ""

    @property
    def coverage(self) -> float:
        """Share of the candidates that stand in some list; NaN where the setting is empty."""
        return float("nan") if self.reason else float((self.counts > 0).mean())

    @property
    def gini(self) -> float:
        """Gini index of the counts; see `gini`."""
        return gini(self.counts)


def gini(counts: np.ndarray) -> float:
    """Gini index of how often things were chosen, int [C]: 0 equally often, 1 always the same one.

    NaN for fewer than two things, or where nothing was chosen.
    """
    total, size = counts.sum(), len(counts)
    if size < 2 or not total:
        return float("nan")
    weights = 2.0 * np.arange(1, size + 1) - size - 1
    return float(weights @ np.sort(counts) / (total * (size - 1.0)))


def beyond_accuracy(
    model: Scorer,
    split: Split,
    *,
    k: int = 20,
    setting: str = "catalogue",
    block_size: int = 512,
    seed: int = 0,
) -> BeyondAccuracy:
    """Make the lists of all users with targets in `setting`, in blocks, and describe them.

    The model scores everybody once more; nothing of an `Evaluation` is needed. The definitions stand at the top of
    this module.

    Args:
        setting: `catalogue`, `zero_shot` or `test_items`.
        block_size: users scored at a time. seed: of the permutation that breaks ties; use that of the evaluation.

    Raises:
        ValueError: as in `evaluate`; k < 1.
    """
    from ..recommender.catalog import tie_order

    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    items = split.candidates(setting).astype(np.int64)
    users = np.flatnonzero(np.diff(split.targets_matrix(setting).indptr))
    history = split.history_matrix()
    popularity = np.bincount(split.history_item, minlength=split.n_items).astype(np.float64)
    bits = np.log2((len(np.unique(split.history_user)) + 1) / (popularity + 1))
    # One column a quantity that is averaged over a list.
    quantities = np.column_stack([bits, popularity, popularity == 0])[items]
    ties = tie_order(split.n_items, seed)[items]
    counts = np.zeros(len(items), dtype=np.int64)
    means = [np.empty((0, 3))]
    for block in score_blocks(model, users, items, history, block_size):
        columns, listed = _lists(block, k, ties, model_name(model))
        counts += np.bincount(columns[listed], minlength=len(items))
        sums = (quantities[columns] * listed[:, :, None]).sum(axis=1)
        length = listed.sum(axis=1, keepdims=True)
        means.append(np.divide(sums, length, out=np.full(sums.shape, np.nan), where=length > 0))
    novelty, mean_popularity, cold_share = np.concatenate(means).T
    known = history[users]
    return BeyondAccuracy(
        model=model_name(model),
        split=split.name,
        setting=setting,
        k=k,
        users=users.astype(np.int32),
        counts=counts,
        novelty=novelty,
        popularity=mean_popularity,
        cold_share=cold_share,
        history_popularity=(known @ popularity) / np.diff(known.indptr),
        reason="" if len(users) else why_empty(setting, split),
    )


def beyond_table(
    found: Mapping[str, Sequence[BeyondAccuracy]],
    *,
    dataset: str,
    fingerprint: str,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """One line for each setting, row and metric: float64 values with percentile intervals over users.

    Coverage and Gini have no interval (NaN). An empty setting has NaN values and its reason. `n_users` are the lists
    that are not empty. Users are drawn once for all rows of a setting.

    Args:
        found: label of a row -> the lists of its seeds, of one setting or of several.

    Raises:
        ValueError: a row without lists, or lists of other users, candidates, splits or k than those beside them.
    """
    import pandas as pd

    lines: list[dict[str, object]] = []
    settings = dict.fromkeys(part.setting for parts in found.values() for part in parts)
    for setting in settings:
        rows = {label: [part for part in parts if part.setting == setting] for label, parts in found.items()}
        _check(rows, setting)
        intervals = _intervals(list(rows.values()), draws, seed)
        for (label, parts), ends in zip(rows.items(), intervals, strict=True):
            first = parts[0]
            values = _values(parts)
            for metric in METRICS:
                low, high = ends.get(metric, (np.nan, np.nan))
                line = {
                    "dataset": dataset,
                    "fingerprint": fingerprint,
                    "split": first.split,
                    "setting": setting,
                    "row": label,
                    "n_seeds": len(parts),
                    "metric": f"{metric}@{first.k}",
                    "value": values[metric],
                    "low": low,
                    "high": high,
                    "n_users": int(_per_user(parts)[:, -1].sum()),
                    "n_candidates": len(first.counts),
                    "reason": first.reason,
                }
                lines.append(line)
    return pd.DataFrame(lines, columns=list(BEYOND_COLUMNS))


def _lists(block: Block, k: int, ties: np.ndarray, model: str) -> tuple[np.ndarray, np.ndarray]:
    """(columns [B, min(k, C)], whether they are in the list): seen items and items of score -inf are not."""
    from ..recommender.catalog import top_k

    require_rankable(block.scores, model)
    scores = np.array(block.scores)
    scores[block.seen] = -np.inf
    columns = top_k(scores, k, ties)
    return columns, np.take_along_axis(scores, columns, axis=1) > -np.inf


def _per_user(parts: Sequence[BeyondAccuracy]) -> np.ndarray:
    """[n, 5] means over seeds of novelty, popularity, cold share and history popularity, 0 for users without a list,
    and whether there is a list. A seed without a list for a user is left out of that user's mean."""
    stacked = np.stack([[part.novelty, part.popularity, part.cold_share] for part in parts])
    listed = ~np.isnan(stacked[:, 0])
    n_lists = listed.sum(axis=0)
    means = np.where(listed[:, None], stacked, 0.0).sum(axis=0) / np.maximum(n_lists, 1)
    return np.column_stack([*means, np.where(n_lists, parts[0].history_popularity, 0.0), n_lists > 0])


def _ratios(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics from sums [..., 5] over users of the columns of `_per_user`; NaN where nobody has a list."""
    novelty, popularity, cold_share, history, listed = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore"):
        return {
            "novelty": novelty / listed,
            "popularity": popularity / listed,
            "popularity_lift": popularity / history - 1,
            "cold_share": cold_share / listed,
        }


def _values(parts: Sequence[BeyondAccuracy]) -> dict[str, float]:
    ratios = {name: float(value) for name, value in _ratios(_per_user(parts).sum(axis=0)).items()}
    set_level = {name: float(np.mean([getattr(part, name) for part in parts])) for name in ("coverage", "gini")}
    return ratios | set_level


def _intervals(rows: Sequence[Sequence[BeyondAccuracy]], draws: int, seed: int) -> list[dict[str, tuple[float, float]]]:
    """Metric -> ends of its interval, for each row; no entries where the setting is empty."""
    if rows[0][0].reason:
        return [{} for _ in rows]
    columns = [_per_user(parts) for parts in rows]
    drawn = resampled_sums(np.concatenate(columns, axis=1), draws=draws, seed=seed)
    found = []
    for number, values in enumerate(columns):
        ratios = _ratios(drawn[:, 5 * number : 5 * number + 5])
        low, high = interval(np.column_stack(list(ratios.values())), int(values[:, -1].sum()))
        found.append({name: (float(low[place]), float(high[place])) for place, name in enumerate(ratios)})
    return found


def _check(rows: Mapping[str, Sequence[BeyondAccuracy]], setting: str) -> None:
    parts = [(label, part) for label, seeds in rows.items() for part in seeds]
    expected_label, expected = parts[0]
    for label, seeds in rows.items():
        if not seeds:
            raise ValueError(f"{label}: no lists in {setting}, but {expected_label} has some. Describe all rows alike.")
    for label, part in parts:
        same = (part.split, part.k, len(part.counts)) == (expected.split, expected.k, len(expected.counts))
        if not same or not np.array_equal(part.users, expected.users):
            raise ValueError(
                f"{label}: its lists in {setting} are of another split, k, users or candidates than those of "
                f"{expected_label}. Describe all rows alike."
            )
