"""What a fold-in keeps: people given as if they were new, by their histories, against the same people trained on.

    python training/benchmarks/fold_in.py                   # every backbone and preset, with and without profiles
    python training/benchmarks/fold_in.py --unseen --modes none  # half of the users left out of training altogether

Everything is measured on the validation split of the bundled data, after a fixed number of epochs. `kept` is the
recall@20 (all-rank, whole catalogue) of the re-folded users by that of the trained ones, `same` the share of their
top-20 lists that is the same. The mean user's row shows how much of either nothing personal would keep. A model with
profiles is measured without the person's profile text, and with it.

With `--unseen`, half of the users are left out of training, folded in with their whole histories, and compared with
themselves in a model that was trained on everybody.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.data.splits import Split, Splits
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.pipeline.model_stage import choose_cold_offset
from reclm_hf.pipeline.texts import encode_items, encode_profiles
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.configuration_reclm_recommender import (
    BACKBONE_NAMES,
    PRESETS,
    RecLMRecommenderConfig,
)
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.new_users import Histories, encode_new_users, new_user_tables
from reclm_hf.recommender.ranking import rank_blocks, tie_order
from reclm_hf.recommender.representations import Representations
from reclm_hf.recommender.text_encoder import TextEncoder
from reclm_hf.recommender.trainer import TrainerOptions, fit

EPOCHS = {"bpr": 20, "softmax": 10}
# InfoNCE against whole tables costs minutes an epoch.
EPOCHS_WHOLE_TABLE = 5
PENALTIES = (0.1, 1.0, 10.0, 100.0)
K = 20


class Encoded:
    """Scores of given representations, for the evaluation."""

    def __init__(self, model: RecLMRecommender, encoded: Representations, name: str) -> None:
        self.model, self.encoded, self.name = model, encoded, name

    @torch.no_grad()
    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float32 [B, C]."""
        rows, columns = (torch.as_tensor(np.asarray(index)) for index in (users, items))
        return self.encoded.scores(self.model.backbone, rows, columns).numpy()


def recall(scorer: Any, split: Split) -> float:
    """Recall@20 on the whole catalogue."""
    return evaluate(scorer, split, settings=("catalogue",), ks=(K,))["catalogue"].mean(f"recall@{K}")


def top_lists(scorer: Any, split: Split, users: np.ndarray) -> np.ndarray:
    """int64 [n, 20] unseen items of the catalogue, best first."""
    history = split.history_matrix()
    items = split.candidates("catalogue").astype(np.int64)
    seen = (history.indptr, history.indices)
    blocks = rank_blocks(scorer.score, users, items, K, ties=tie_order(split.n_items), seen=seen, block=512)
    return np.concatenate([block.items.reshape(-1, K) for block in blocks])


def same(first: np.ndarray, second: np.ndarray) -> float:
    """Mean share of items that two tables of lists [n, 20] have in common."""
    return float(np.mean([len(np.intersect1d(*rows)) / K for rows in zip(first, second, strict=True)]))


def trained(
    config: RecLMRecommenderConfig, splits: Splits, split: Split, vectors: np.ndarray, profiles: np.ndarray
) -> RecLMRecommender:
    """A model after the fixed number of epochs; the level of cold items is chosen as always."""
    written = profiles if config.profile_mode == "llm" else None
    model = build_recommender(config, splits.data, split, vectors, written)
    slow = config.reference and model.backbone.contrastive
    fit(model, split, EPOCHS_WHOLE_TABLE if slow else EPOCHS[config.loss], TrainerOptions())
    if config.floors:
        choose_cold_offset(model, split)
    return model


def folded(model: RecLMRecommender, split: Split, profiles: np.ndarray) -> Iterator[tuple[str, Representations]]:
    """Name -> all users of `split` as new ones: the mean user, by history, and where it can be, with the profile."""
    history = split.history_matrix()
    histories = Histories(history.indptr.astype(np.int64), history.indices.astype(np.int64))
    known = torch.from_numpy(np.diff(model.catalog.seen_indptr) > 0)
    served = model.served()
    pair = served.user if served.pair is None else served.pair.user
    everybody = (rows[known].mean(0, keepdim=True).expand(split.n_users, -1) for rows in (served.user, pair))
    yield "mean user", served.with_users(*everybody)
    yield "history", model.encode_histories(histories)
    if model.config.profile_mode == "llm":
        yield "history + profile", model.encode_histories(histories, profiles)
    if model.config.backbone == "bias_mf" and model.config.profile_mode == "none":
        for penalty in PENALTIES:
            yield f"least squares, {penalty:g}", least_squares(model, histories, penalty)


@torch.no_grad()
def least_squares(model: RecLMRecommender, histories: Histories, penalty: float) -> Representations:
    """u = m + (V'V + lambda I)^-1 V'(1 - V m) over each history: what the map of `fold_in` is compared with."""
    tables = new_user_tables(model)
    known = torch.from_numpy(np.diff(model.catalog.seen_indptr) > 0)
    rows = tables.user[known].mean(0).repeat(len(histories.indptr) - 1, 1)
    mean, eye = rows[0].clone(), torch.eye(rows.shape[1])
    for row, (start, stop) in enumerate(itertools.pairwise(histories.indptr)):
        items = tables.item[torch.from_numpy(histories.indices[start:stop])]
        rows[row] += torch.linalg.solve(items.T @ items + penalty * eye, items.T @ (1 - items @ mean))
    history = histories.matrix(len(tables.item), rows.device)
    text = torch.nn.functional.normalize(history @ model.item_text, dim=1)
    return encode_new_users(model, rows, text.new_zeros(len(rows), model.config.profile_dim), text, history)


def measure(
    model: RecLMRecommender, whole: RecLMRecommender, split: Split, profiles: np.ndarray, users: np.ndarray
) -> Iterator[dict[str, Any]]:
    """One row a way to fold in: the users of `split`'s targets in `model`, against themselves in `whole`."""
    config = whole.config
    reference = recall(whole, split)
    lists = top_lists(whole, split, users)
    name = f"{config.backbone}-{config.preset}-{config.profile_mode}"
    for way, encoded in folded(model, split, profiles):
        scorer = Encoded(model, encoded, way)
        value = recall(scorer, split)
        overlap = same(lists, top_lists(scorer, split, users))
        yield {
            "model": name,
            "way": way,
            "trained": reference,
            "folded": value,
            "kept": value / reference if reference else float("nan"),
            "same": overlap,
        }


def left_out(split: Split, users: np.ndarray) -> tuple[Split, Split]:
    """(the split without what `users` did, the split with only their targets)."""
    history = ~np.isin(split.history_user, users)
    warm = np.zeros_like(split.warm)
    warm[split.history_item[history]] = True
    target = np.isin(split.target_user, users)
    time = None if split.history_time is None else split.history_time[history]
    rest = replace(
        split,
        history_user=split.history_user[history],
        history_item=split.history_item[history],
        history_time=time,
        warm=warm,
        cold=split.cold | (split.warm & ~warm),
        target_user=split.target_user[~target],
        target_item=split.target_item[~target],
    )
    return rest, replace(split, target_user=split.target_user[target], target_item=split.target_item[target])


def rows_of(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows, model after model."""
    splits = bundled_splits()
    split = splits.validation
    encoder = TextEncoder()
    vectors = encode_items(splits.data, encoder)
    profiles = encode_profiles(bundled_profiles(which="validation"), split.user_ids, encoder)
    known = np.unique(split.history_user)
    half = np.random.default_rng(0).permutation(known)[: len(known) // 2]
    for backbone, preset, mode in itertools.product(args.backbones, args.presets, args.modes):
        config = RecLMRecommenderConfig(backbone=backbone, preset=preset, profile_mode=mode)
        whole = trained(config, splits, split, vectors, profiles)
        if not args.unseen:
            yield from measure(whole, whole, split, profiles, known)
            continue
        rest, theirs = left_out(split, half)
        given = profiles.copy()
        given[half] = 0
        again = RecLMRecommenderConfig(backbone=backbone, preset=preset, profile_mode=mode)
        model = trained(again, splits, rest, vectors, given)
        yield from measure(model, whole, theirs, profiles, half)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONE_NAMES, default=BACKBONE_NAMES)
    parser.add_argument("--presets", nargs="+", choices=tuple(PRESETS), default=tuple(PRESETS))
    parser.add_argument("--modes", nargs="+", choices=("none", "llm"), default=("none", "llm"))
    parser.add_argument("--unseen", action="store_true", help="leave half of the users out of training")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file, as they come")
    args = parser.parse_args()
    found = []
    print(f"{'model':<34}{'way':<22}{'trained':>9}{'folded':>9}{'kept':>8}{'same':>8}")
    for row in rows_of(args):
        found.append(row)
        figures = f"{row['trained']:>9.4f}{row['folded']:>9.4f}{row['kept']:>8.3f}{row['same']:>8.3f}"
        print(f"{row['model']:<34}{row['way']:<22}{figures}", flush=True)
        if args.json:
            args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
