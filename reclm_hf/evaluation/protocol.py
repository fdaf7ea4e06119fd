"""The evaluation protocol: which users and candidates are scored, in which settings, and what is kept of it.

Users are scored in blocks; a users x items matrix never exists. What is kept are the ranks of the targets, from which
every metric and every interval is computed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .metrics import contributions, metric_names, target_ranks, user_metrics
from .rank_kernel import RankCounter
from .scoring import Scorer, candidate_columns, model_name, score_blocks, stored_pairs

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

    from ..data.splits import Split

# Settings that are parts of another: same candidates, same ranks, other targets and denominators.
PARTS = {"catalogue": ("catalogue_warm", "catalogue_cold")}


@dataclass(frozen=True)
class SettingResult:
    """Ranks and metrics in one setting.

    Attributes:
        setting: `catalogue`, `catalogue_warm`, `catalogue_cold`, `zero_shot` or `test_items`.
        users: [n] int32 rows of the id space, ascending: the users with targets in this setting.
        target_user, target_item: [m] int32, ordered by user, then item.
        rank: [m] int32 from 0 among the user's unseen candidates; `metrics.UNRANKED` for a score of -inf.
        n_candidates: items that were ranked, before each user's seen items are masked.
        metrics: name -> float64 [n], one value for each of `users`.
        reason: why the setting is empty; "" where it is not.
    """

    setting: str
    users: np.ndarray
    target_user: np.ndarray
    target_item: np.ndarray
    rank: np.ndarray
    n_candidates: int
    metrics: dict[str, np.ndarray]
    reason: str = ""

    @property
    def group(self) -> np.ndarray:
        """[m] int64 place of each target's user in `users`."""
        return np.searchsorted(self.users, self.target_user)

    def mean(self, metric: str) -> float:
        """Mean over users; NaN where the setting is empty."""
        values = self.metrics[metric]
        return float(values.mean()) if len(values) else float("nan")

    def contributions(self, metric: str) -> np.ndarray:
        """[m] float64 what each target adds to its user's `metric`; see `metrics.contributions`."""
        return contributions(metric, self.rank, self.group, len(self.users))


@dataclass(frozen=True)
class Evaluation:
    """One model on one split.

    Attributes:
        model: its name. split: name of the split. ks: the cut-offs. seed: of the permutation that breaks ties.
        settings: setting -> result, parts of a setting (`catalogue_warm`, `catalogue_cold`) included.
        seconds: wall time of scoring and ranking.
        user_ids, item_ids: the id space of the split.
    """

    model: str
    split: str
    ks: tuple[int, ...]
    seed: int
    settings: dict[str, SettingResult]
    seconds: float
    user_ids: np.ndarray = field(repr=False)
    item_ids: np.ndarray = field(repr=False)

    def __getitem__(self, setting: str) -> SettingResult:
        if setting not in self.settings:
            raise KeyError(f"{setting!r} was not evaluated: this evaluation holds {', '.join(self.settings)}")
        return self.settings[setting]

    def summary(self) -> dict[str, dict[str, float]]:
        """Setting -> metric -> mean over users (NaN where the setting is empty)."""
        return {name: {metric: part.mean(metric) for metric in part.metrics} for name, part in self.settings.items()}

    def to_frame(self) -> pd.DataFrame:
        """One row for each setting and user: setting, user_id, n_targets, and one float64 column for each metric."""
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "setting": part.setting,
                    "user_id": self.user_ids[part.users],
                    "n_targets": np.bincount(part.group, minlength=len(part.users)),
                    **part.metrics,
                }
            )
            for part in self.settings.values()
        ]
        return pd.concat(parts, ignore_index=True)

    def ranks_frame(self) -> pd.DataFrame:
        """One row for each setting and target: setting, user_id, item_id, rank (from 0; see `SettingResult.rank`)."""
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "setting": part.setting,
                    "user_id": self.user_ids[part.target_user],
                    "item_id": self.item_ids[part.target_item],
                    "rank": part.rank,
                }
            )
            for part in self.settings.values()
        ]
        return pd.concat(parts, ignore_index=True)


def evaluate(
    model: Scorer,
    split: Split,
    *,
    settings: Sequence[str] = ("catalogue", "zero_shot"),
    ks: Sequence[int] = (20, 40),
    block_size: int = 512,
    seed: int = 0,
) -> Evaluation:
    """Rank every target of the split and compute the metrics of each user.

    `catalogue` also reports its warm and its cold targets apart: the candidates and the ranks are the same, targets
    and denominators are restricted. Only users with targets in a setting are scored, in blocks of `block_size`.
    A setting without candidates or targets gives an empty result with its reason.

    Args:
        model: has `score(users int64 [B], items int64 [C]) -> float32 [B, C]` over the split's id space.
        settings: of `catalogue`, `zero_shot`, `test_items`.
        ks: cut-offs of recall, NDCG and hit rate.
        block_size: users scored at a time; fewer where the catalogue is so large that a block would not fit.
        seed: of the permutation of the items that breaks ties.

    Raises:
        ValueError: scores that are NaN, +inf or of another shape (the message names the model); an unknown setting;
            a bad `ks` or `block_size`.
    """
    metric_names(ks)
    start = time.perf_counter()
    results: dict[str, SettingResult] = {}
    history = split.history_matrix()
    for setting in settings:
        result = _evaluate_setting(model, split, history, setting, tuple(ks), block_size, seed)
        results[setting] = result
        for part in PARTS.get(setting, ()):
            results[part] = _restrict(result, part, split.warm, tuple(ks))
    return Evaluation(
        model=model_name(model),
        split=split.name,
        ks=tuple(ks),
        seed=seed,
        settings=results,
        seconds=time.perf_counter() - start,
        user_ids=split.user_ids,
        item_ids=split.item_ids,
    )


class MeanUser:
    """The model with every user vector replaced by the mean: one list for everybody, only the seen items differ.

    A personalised model must beat it; what this row reaches is popularity, in whatever way the model encodes it.
    """

    def __init__(self, model: object, split: Split) -> None:
        """Args: model: has `mean_user_scores(items int64 [C]) -> [C]`. Raises ValueError where it has not."""
        scores = getattr(model, "mean_user_scores", None)
        self.name = f"{model_name(model)} (mean user)"
        if scores is None:
            raise ValueError(f"{model_name(model)} has no mean_user_scores(items): this row cannot be computed for it.")
        self._scores = np.asarray(scores(np.arange(split.n_items, dtype=np.int64)), dtype=np.float32)
        if self._scores.shape != (split.n_items,):
            raise ValueError(
                f"{model_name(model)}.mean_user_scores gave shape {self._scores.shape} for {split.n_items} items: "
                "it must give one score an item."
            )

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[B, C] float32, the same row for every user; read-only."""
        return np.broadcast_to(self._scores[items], (len(users), len(items)))


def mean_user(model: object, split: Split) -> MeanUser | None:
    """`MeanUser(model, split)`, or None for models that cannot offer it."""
    return MeanUser(model, split) if hasattr(model, "mean_user_scores") else None


def _evaluate_setting(
    model: Scorer, split: Split, history: csr_array, setting: str, ks: tuple[int, ...], block_size: int, seed: int
) -> SettingResult:
    # Imported here, so that `import reclm_hf.evaluation` does not import the recommenders.
    from ..recommender.catalog import tie_order

    items = split.candidates(setting).astype(np.int64)
    targets = split.targets_matrix(setting)
    if not targets.nnz:
        return _result(setting, _nothing(), _nothing(), _nothing(), len(items), ks, why_empty(setting, split))
    column = candidate_columns(items, split.n_items)
    ties = tie_order(split.n_items, seed)[items]
    users = np.flatnonzero(np.diff(targets.indptr))
    counter = RankCounter(history, targets, column, ties, len(users) * len(items))
    ranks = []
    for block in score_blocks(model, users, items, history, block_size):
        found = counter.ranks(block.users, block.scores)
        if found is None:
            wanted = stored_pairs(targets[block.users], column)
            found = target_ranks(block.scores, block.seen, wanted, ties, model_name(model))
        ranks.append(found)
    target_user = np.repeat(np.arange(split.n_users, dtype=np.int32), np.diff(targets.indptr))
    target_item = targets.indices.astype(np.int32)
    return _result(setting, target_user, target_item, np.concatenate(ranks), len(items), ks, "")


def _restrict(whole: SettingResult, part: str, warm: np.ndarray, ks: tuple[int, ...]) -> SettingResult:
    wanted = part.rpartition("_")[2]
    kept = warm[whole.target_item] == (wanted == "warm")
    reason = whole.reason or ("" if kept.any() else f"no target is a {wanted} item")
    return _result(
        part, whole.target_user[kept], whole.target_item[kept], whole.rank[kept], whole.n_candidates, ks, reason
    )


def _result(
    setting: str,
    target_user: np.ndarray,
    target_item: np.ndarray,
    rank: np.ndarray,
    n_candidates: int,
    ks: tuple[int, ...],
    reason: str,
) -> SettingResult:
    first = np.diff(target_user, prepend=-1) > 0  # of each user: targets are ordered by user
    users, group = target_user[first], np.cumsum(first) - 1
    return SettingResult(
        setting=setting,
        users=users,
        target_user=target_user,
        target_item=target_item,
        rank=rank,
        n_candidates=n_candidates,
        metrics=user_metrics(rank, group, len(users), ks),
        reason=reason,
    )


def _nothing() -> np.ndarray:
    return np.empty(0, dtype=np.int32)


def why_empty(setting: str, split: Split) -> str:
    """Why a setting without targets has none."""
    if setting == "zero_shot":
        return f"no cold items: every target of the {split.name} split has history"
    return f"the {split.name} split has no targets"
