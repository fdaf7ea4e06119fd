"""The process that is given nothing but names: `hub_user.py PREFIX`; prints what it got as JSON."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import Any

import numpy as np

REPOSITORIES = ("toy-tables", "toy", "toy-results", "tiny-base", "tiny-profiler")


def use(prefix: str) -> dict[str, Any]:
    """Recommend, open the data set, ask the adapter, verify all of it."""
    from datasets import load_dataset
    from peft import AutoPeftModelForCausalLM

    from reclm_hf import RecLMRecommender
    from reclm_hf.commands.main import main
    from tests.profiler.models import logits

    model = RecLMRecommender.from_pretrained(f"{prefix}toy")
    users = load_dataset(f"{prefix}toy-tables", "user_profiles")
    streamed = load_dataset(f"{prefix}toy-tables", "user_profiles", split="test", streaming=True)
    results = load_dataset(f"{prefix}toy-results", split="train")
    tuned = AutoPeftModelForCausalLM.from_pretrained(f"{prefix}tiny-profiler")
    known = users["test"]["user_id"][:]
    with redirect_stdout(sys.stderr):
        codes = {name: main(["verify", f"{prefix}{name}"]) for name in REPOSITORIES}
    return {
        "users": known,
        "streamed": [row["user_id"] for row in streamed],
        "splits": sorted(users),
        "lists": model.recommend(known, k=5).item_ids,
        "scores": model.score(np.arange(model.catalog.n_users), np.arange(model.catalog.n_items)).tolist(),
        "logits": logits(tuned.eval()).tolist(),
        "rows": sorted(set(results["row"][:])),
        "verified": codes,
    }


if __name__ == "__main__":
    print(json.dumps(use(sys.argv[1])))
