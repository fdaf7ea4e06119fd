"""Training checkpoints: safetensors and JSON, written whole or not at all, so that a killed run goes on exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .catalog import write_atomically

_FILE = "checkpoint.safetensors"


def save_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
    rng: np.random.Generator,
    best: dict[str, torch.Tensor],
) -> None:
    """One file: weights, optimizer moments, random states, the weights of the best epoch so far (`best`, may be
    empty), and `progress` (JSON-able) in its header."""
    from safetensors.torch import save_file

    tensors = {f"model.{name}": value.detach().contiguous() for name, value in model.named_parameters()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).contiguous()
    tensors["torch_rng"] = torch.get_rng_state()
    header = {"progress": json.dumps(progress), "rng": json.dumps(rng.bit_generator.state)}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _FILE, lambda path: save_file(tensors, path, metadata=header))


def load_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    best: dict[str, torch.Tensor],
) -> dict[str, Any] | None:
    """Restore what `save_checkpoint` wrote (into `best` too) and return its `progress`; None without a checkpoint.

    Raises:
        ValueError: the checkpoint belongs to another model.
    """
    from safetensors import safe_open

    path = folder / _FILE
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no dict)
    parameters = dict(model.named_parameters())
    saved = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    if {name: value.shape for name, value in saved.items()} != {name: p.shape for name, p in parameters.items()}:
        raise ValueError(f"{path} belongs to another model; delete it or choose another run name.")
    with torch.no_grad():
        for name, value in saved.items():
            parameters[name].copy_(value)
    best.update({name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")})
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["torch_rng"])
    rng.bit_generator.state = json.loads(header["rng"])
    return json.loads(header["progress"])


def remove_checkpoint(folder: Path) -> None:
    """Forget the checkpoint of a finished run, and what was being written of one when a process was killed."""
    for path in (folder / _FILE, *folder.glob(f".{_FILE}-*")):
        path.unlink(missing_ok=True)
