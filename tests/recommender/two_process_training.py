"""What each process of a launch trains: every kind for two epochs; and what it saw of it.

python -m accelerate.commands.launch --multi_gpu --num_processes 2 ... two_process_training.py FOLDER [whole | last]
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from reclm_hf.pipeline.selection import selection_value
from reclm_hf.recommender import trainer
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES
from reclm_hf.recommender.trainer import TrainerOptions, choose_epochs, fit
from tests.recommender.models import OPTIONS, data, untrained

KINDS = [
    *((backbone, "standard", "llm", "adam") for backbone in BACKBONE_NAMES),
    *((backbone, "reference", "llm", "adam") for backbone in ("bias_mf", "lightgcn", "simgcl")),
    ("bias_mf", "standard", "none", "row_sparse_adam"),
    ("lightgcn", "floor_residual", "llm", "adam"),
]
EPOCHS = 2


def options(optimizer: str, last: bool) -> TrainerOptions:
    """`last`: the last batch of an epoch has one row, so that a process has none of it."""
    rows = len(data()[0].test.history_user)
    size = rows - 1 if last else 129  # an odd size: the processes have shares of different sizes
    return replace(OPTIONS, optimizer=optimizer, batch_size=size)


def name_of(kind: tuple[str, ...]) -> str:
    """Of the files of a kind."""
    return "-".join(kind)


def train(kind: tuple[str, ...], folder: Path, rank: int, last: bool) -> None:
    """Train one kind and write its weights and losses, as this process has them."""
    from safetensors.torch import save_file

    saved: list[str] = []
    original = trainer.save_checkpoint

    def watched(*given: Any) -> None:
        saved.append(str(given[0]))
        original(*given)

    with patch.object(trainer, "save_checkpoint", watched):
        model = untrained(*kind[:3])
        result = fit(model, data()[0].test, EPOCHS, options(kind[3], last), folder / name_of(kind))
    losses = [entry["loss"] for entry in result.history]
    write(folder, f"{name_of(kind)}-{rank}", {"losses": losses, "saved": len(saved)})
    save_file(
        {name: p.detach() for name, p in model.named_parameters()}, folder / f"{name_of(kind)}-{rank}.safetensors"
    )


def choose(folder: Path, rank: int) -> None:
    """Early stopping on validation."""
    split = data()[0].validation
    model = untrained("lightgcn", "standard", "llm", "validation")
    given = replace(OPTIONS, max_epochs=6, evaluate_every=1, patience=2)
    result = choose_epochs(model, split, lambda tried: selection_value(tried, split), given, folder / "choose")
    values = [entry["value"] for entry in result.history]
    write(folder, f"choose-{rank}", {"best_epoch": result.best_epoch, "values": values})


def write(folder: Path, name: str, found: dict[str, Any]) -> None:
    """As JSON."""
    (folder / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")


def main(folder: Path, last: bool) -> None:
    """Train in this process, with the others of a launch if there are any."""
    from accelerate import PartialState

    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    rank = int(os.environ.get("RANK", "0"))
    for kind in KINDS:
        if not last or kind[1] == "standard":
            train(kind, folder, rank, last)
    if not last:
        choose(folder, rank)
    state.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["last"])
