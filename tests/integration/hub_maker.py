"""The process that makes and pushes: `hub_maker.py FOLDER PREFIX`; prints what its models answer as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from reclm_hf.commands.main import main
from tests.checkerboard import N_ITEMS, N_USERS
from tests.hub.small_tables import USERS, write_data, write_profiles


def reclm(*words: str) -> None:
    """Run a command; what it says goes to stderr, for whoever looks at a failure."""
    from contextlib import redirect_stdout

    with redirect_stdout(sys.stderr):
        code = main(words)
    if code:
        raise SystemExit(f"reclm {' '.join(words)}: exit code {code}")


def make(prefix: str) -> dict[str, Any]:
    """Train, evaluate, push: a recommender with its tables and results, an adapter with its base model.

    prefix: what the names of all repositories begin with, `NAMESPACE/` for instance.
    """
    from reclm_hf.auto import RecLMRecommender
    from tests.profiler.models import adapted, logits, profiler, save_base

    write_profiles(write_data(Path("data")), Path("profiles"))
    spec = ("--preset", "standard", "--backbone", "lightgcn", "--profile-mode", "llm")  # the quickest to train
    reclm("train", "data", "--profiles", "profiles", *spec, "--name", "toy")
    reclm("evaluate", "runs/toy/model", "--data", "data", "--output", "runs/evaluate")
    save_base(Path("base"))
    profiler("base").save_pretrained("adapter")
    tables = f"{prefix}toy-tables"
    reclm("push", "data", tables, "--profiles", "profiles")
    reclm("push", "runs/toy/model", f"{prefix}toy", "--tables", tables, "--results", "runs/evaluate")
    reclm("push", "runs/evaluate", f"{prefix}toy-results", "--tables", tables)
    reclm("push", "base", f"{prefix}tiny-base")
    reclm("push", "adapter", f"{prefix}tiny-profiler", "--base-model", f"{prefix}tiny-base")
    model = RecLMRecommender.from_pretrained("runs/toy/model")
    return {
        "lists": model.recommend(list(USERS), k=5).item_ids,
        "scores": model.score(np.arange(N_USERS), np.arange(N_ITEMS)).tolist(),
        "logits": logits(adapted()).tolist(),
    }


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    print(json.dumps(make(sys.argv[2])))
