"""Small artefacts of the model kinds as their commands leave them, made once and copied by each test."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from reclm_hf.data.folder import write_json
from reclm_hf.evaluation.rows import RESULT_COLUMNS

LABEL = "bias_mf-standard-none"


@cache
def _place() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="reclm-artefacts-")  # until this process ends


@cache
def _made(kind: str) -> Path:
    folder = Path(_place().name) / kind
    {"recommender": _recommender, "adapter": _adapter, "base": _base, "merged": _merged}[kind](folder)
    return folder


def copy_of(kind: str, folder: Path) -> Path:
    """A copy of an artefact at `folder`: recommender, adapter (on a folder), base or merged."""
    return Path(shutil.copytree(_made(kind), folder))


def _recommender(folder: Path) -> None:
    from tests.recommender.models import untrained

    untrained("bias_mf", "standard", "none").save_pretrained(folder)


def _base(folder: Path) -> None:
    from tests.profiler.models import save_base

    save_base(folder)


def _adapter(folder: Path) -> None:
    from tests.profiler.models import profiler

    profiler(str(_made("base"))).save_pretrained(folder)
    write_json({"stage": "sft", "settings": {"seed": 3, "instructions": "/home/somebody/chats"}}, folder / "stage.json")
    (folder / "recipe.yaml").write_text("instructions: /home/somebody/chats\n")
    write_json(_stage_manifest(), folder / "manifest.json")


def _merged(folder: Path) -> None:
    from tests.profiler.models import profiler

    profiler(str(_made("base"))).save_pretrained(folder, merge=True)


def _stage_manifest() -> dict[str, Any]:
    from reclm_hf.tuning.outputs import stage_inputs

    weights = stage_inputs(_Named(str(_made("base"))))  # type: ignore[arg-type]
    return {
        "reclm_hf": "0.1.0",
        "stage": "sft",
        "settings": {
            "model": "base",
            "seed": 3,
            "output": "/home/somebody/out",
            "instructions": "/home/somebody/chats",
        },
        "inputs": {**weights, "instructions": "sha256:" + "5" * 64, "model": "base"},
        "figures": {"loss_last": 0.5, "held_out_loss_after": float("nan")},
        "cost": {"wall_s": 2.0, "cpu_s": 1.5, "peak_rss_mib": 300},
        "versions": {"torch": "2.13.0"},
    }


class _Named:
    def __init__(self, model: str) -> None:
        self.model, self.without_users = model, None


def results(label: str = LABEL) -> pd.DataFrame:
    """A table of results with one recommender, its mean-user row, another recommender and a floor."""
    rows = [(label, "model", 0.2), (f"{label} (mean user)", "mean_user", 0.1)]
    rows += [("other", "model", 0.3), ("popularity", "floor", 0.15)]
    usual = {
        "dataset": "checkerboard",
        "fingerprint": "f" * 64,
        "split": "test",
        "setting": "catalogue",
        "metric": "recall@20",
        "interval": "users",
        "n_users": 50,
        "n_targets": 100,
        "n_candidates": 50,
        "n_seeds": 1,
    }
    lines = [usual | {"row": row, "kind": kind, "value": v, "low": v - 0.05, "high": v + 0.05} for row, kind, v in rows]
    lines[-1]["low"] = lines[-1]["high"] = float("nan")
    return pd.DataFrame(lines, columns=list(RESULT_COLUMNS))


def run_folder(folder: Path, label: str = LABEL) -> Path:
    """A run as `reclm demo` leaves it, with one recommender; returns the folder of that recommender's model."""
    model = copy_of("recommender", folder / "models" / label / "model")
    spec = {"backbone": "bias_mf", "preset": "standard", "profile_mode": "none", "seed": 0}
    done = {"spec": spec, "options": {"learning_rate": 0.01}, "settings": {}, "seconds": 3.5, "best_epoch": 4}
    write_json(done, model.parent / "done.json")
    results(label).to_parquet(folder / "results.parquet")
    manifest = {
        "dataset": "checkerboard",
        "fingerprint": "f" * 64,
        "cuts": {"validation": 1, "test": 2},
        "options": {"folder": str(folder), "seed": 0},
        "versions": {"torch": "2.13.0"},
        "test_opened": "by the runner, after one refit with settings chosen on validation",
        "seconds": 100.0,
    }
    write_json(manifest, folder / "manifest.json")
    return model
