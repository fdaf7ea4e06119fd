"""Recall@k, NDCG@k, hit rate@k and MRR of ranked lists, as `reclm_hf` computes them.

`evaluate.load` copies this one file and runs it where `reclm_hf` need not be installed, so it stands by itself; one
import a line, because `evaluate` reads the imports line by line.
"""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """\
All-rank metrics of recommendation lists, each the mean over users:

- `recall@k`: relevant items among the first k / all relevant items of the user.
- `ndcg@k`: gain 1 and discount log2(place + 1), divided by the best that min(relevant, k) items can reach.
- `hit_rate@k`: 1 where any relevant item is among the first k.
- `mrr`: 1 / place of the first relevant item in the whole list, 0 where it holds none.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of list of str): for each user the recommended item ids, best first, no id twice.
    references (list of list of str): for each user the relevant item ids, in any order; at least one.
    k (int or list of int): the cut-offs; default: [20, 40].

Returns:
    dict of float: `recall@k`, `ndcg@k` and `hit_rate@k` for each k, then `mrr`.

Examples:
    >>> metric = evaluate.load("ranking_metrics")
    >>> metric.compute(predictions=[["a", "b", "c"]], references=[["b", "x"]], k=[2])
    {'recall@2': 0.5, 'ndcg@2': 0.38685280723454163, 'hit_rate@2': 1.0, 'mrr': 0.5}
"""

_CITATION = """\
@inproceedings{reclm2025,
  title = {RecLM: Recommendation Instruction Tuning},
  booktitle = {Annual Meeting of the Association for Computational Linguistics},
  year = {2025},
  note = {arXiv:2412.19302}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class RankingMetrics(evaluate.Metric):
    """The metric that `evaluate.load` finds in this file."""

    def _info(self) -> evaluate.MetricInfo:
        ids = datasets.Sequence(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": ids, "references": ids}),
            reference_urls=["https://arxiv.org/abs/2412.19302"],
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[str]],
        references: Sequence[Sequence[str]],
        k: int | Sequence[int] = (20, 40),
    ) -> dict[str, float]:
        ks = _cut_offs(k)
        rows = [
            _of_user(_hits(ranked, relevant, row), len(set(relevant)), ks)
            for row, (ranked, relevant) in enumerate(zip(predictions, references, strict=True))
        ]
        names = [f"{name}@{cut}" for cut in ks for name in ("recall", "ndcg", "hit_rate")] + ["mrr"]
        return {name: float(value) for name, value in zip(names, np.mean(rows, axis=0), strict=True)}


def _cut_offs(k: int | Sequence[int]) -> list[int]:
    """Raises ValueError for a cut-off below 1, one that stands there twice, or none."""
    ks = [int(cut) for cut in np.atleast_1d(k)]
    if not ks or min(ks) < 1 or len(set(ks)) != len(ks):
        raise ValueError(f"k={k}: give different cut-offs of at least 1, for example [20, 40].")
    return ks


def _hits(ranked: Sequence[str], relevant: Sequence[str], row: int) -> np.ndarray:
    """Places (from 0) of the relevant items in a list, int64 [h], ascending.

    Raises:
        ValueError: nothing is relevant, or an item is recommended twice; names the row (from 0).
    """
    if not len(relevant):
        raise ValueError(f"references: row {row} is empty. Leave users without relevant items out.")
    if len(set(ranked)) != len(ranked):
        raise ValueError(f"predictions: row {row} recommends an item twice. Keep the first of each.")
    wanted = set(relevant)
    return np.array([place for place, item in enumerate(ranked) if item in wanted], dtype=np.int64)


def _of_user(hits: np.ndarray, n_relevant: int, ks: Sequence[int]) -> list[float]:
    """The metrics of one user in the order of their names."""
    values: list[float] = []
    for k in ks:
        found = hits[hits < k]
        ideal = np.sum(1.0 / np.log2(np.arange(min(n_relevant, k)) + 2.0))
        dcg = np.sum(1.0 / np.log2(found + 2.0))
        values += [len(found) / n_relevant, float(dcg / ideal), float(len(found) > 0)]
    return [*values, 1.0 / (hits[0] + 1.0) if len(hits) else 0.0]
