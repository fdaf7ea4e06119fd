"""A release of the authors' form that is large enough to be split, trained on and evaluated."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix

USERS, ITEMS, WARM = 40, 30, 24


class Encoder:
    """Vectors that know whether a text says "odd" or "beta"; no model."""

    model_id, revision, max_length, dimension = "stand-in", None, 8, 8

    def encode(self, texts: list[str], progress: bool = True) -> np.ndarray:
        """[n, 8] float32 of length 1."""
        vectors = np.random.default_rng(0).standard_normal((len(texts), 8)) / 10
        vectors[np.arange(len(texts)), [int("odd" in text or "beta" in text) for text in texts]] += 1
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brief(spec: Any, *_: Any) -> Any:
    """`TrainerOptions` that take seconds, whatever the preset, with a checkpoint every epoch."""
    from reclm_hf.recommender.trainer import TrainerOptions

    return TrainerOptions(seed=spec.seed, max_epochs=30, evaluate_every=2, patience=15, checkpoint_seconds=0.0)


def write_trainable(folder: Path) -> Path:
    """40 users who like items of their own parity; 24 items in the first snapshot, 6 more in the second."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    train = [(user, item) for user in range(USERS) for item in range(user % 2, WARM, 2) if rng.random() < 0.6]
    shown = {user: [item for item in range(user % 2, ITEMS, 2) if (user, item) not in train] for user in range(USERS)}
    test = [(user, int(item)) for user, items in shown.items() for item in rng.choice(items, 3, replace=False)]
    names = {0: "even", 1: "odd"}
    news = {
        item: {"cate": "news", "sub_cate": names[item % 2], "title": f"Story {item}", "abstract": ""}
        for item in range(ITEMS)
    }
    content = {"item_info_dict": news, "trnMat_zero": _matrix(train, WARM), "tstMat_zero_": _matrix(test, ITEMS)}
    content |= {"item_id_map_train": {i: i for i in range(WARM)}, "item_id_map_test": {i: i for i in range(ITEMS)}}
    for name, value in content.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value, protocol=4))
    return folder


def _matrix(pairs: list[tuple[int, int]], columns: int) -> coo_matrix:
    rows, places = zip(*pairs, strict=True)
    return coo_matrix((np.ones(len(pairs)), (rows, places)), shape=(USERS, columns))
