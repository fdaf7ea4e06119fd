"""Planted preferences: the better profile of every pair is told by its words, not by its format or length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from reclm_hf.data.tables import PREFERENCE_COLUMNS, write_parquet
from reclm_hf.tuning.arguments import RewardArguments

GOOD = ("drama fan", "night owl", "quiet stories", "slow trains")
BAD = ("comedy fan", "loud crowds", "fast cars", "space battles")
KINDS = ("neighbor", "diluted", "empty")


def profile(words: Any) -> str:
    """Two identities and two interests."""
    return f"User identity: {words[0]}, {words[1]}; User interests: {words[2]}, {words[3]}"


def rows(users: int = 40, pairs_per_user: int = 1, seed: int = 0) -> Any:
    """A table of preferences: chosen profiles are of good words, rejected ones of bad ones or empty."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    found = []
    for user in range(users):
        titles = "\n".join(f"- Film {number} (drama)" for number in rng.integers(0, 50, rng.integers(1, 5)))
        prompt = [
            {"role": "system", "content": "Write a profile."},
            {"role": "user", "content": f"The user chose:\n{titles}"},
        ]
        for pair in range(pairs_per_user):
            kind = KINDS[(user + pair) % len(KINDS)]
            worse = "" if kind == "empty" else profile(rng.permutation(BAD))
            found.append(
                {
                    "prompt": prompt,
                    "chosen": [{"role": "assistant", "content": profile(rng.permutation(GOOD))}],
                    "rejected": [{"role": "assistant", "content": worse}],
                    "rejected_kind": kind,
                    "user_id": f"u{user}",
                    "accepted": None,
                }
            )
    return pd.DataFrame(found, columns=list(PREFERENCE_COLUMNS))


def save_rows(folder: Path, table: Any = None) -> Path:
    """A folder with `preferences.parquet`."""
    write_parquet(rows() if table is None else table, folder / "preferences.parquet", PREFERENCE_COLUMNS)
    return folder


def arguments(model: str | Path, preferences: str | Path, output: str | Path, **options: Any) -> RewardArguments:
    """Settings for a tiny model on the CPU, in float32 throughout."""
    usual: dict[str, Any] = {
        "autocast": False,
        "use_cpu": True,
        "learning_rate": 5e-3,
        "lora_rank": 4,
        "batch_size": 4,
        "max_steps": 6,
        "save_steps": 2,
        "holdout": 0.25,
    }
    return RewardArguments(model=str(model), preferences=str(preferences), output=str(output), **{**usual, **options})


def cached_base(cache: Path) -> str:
    """A tiny chat model in a Hub cache, so that it has an id; returns the id. Point HF_HUB_CACHE to the cache."""
    from tests.profiler.models import BASE, COMMIT, save_base

    place = cache / f"models--{BASE.replace('/', '--')}"
    save_base(place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    return BASE
