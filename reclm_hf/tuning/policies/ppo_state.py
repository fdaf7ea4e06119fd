"""What PPO needs to go on after a kill: weights, optimizer, learning rate, random numbers and log, without pickle.

TRL's PPOTrainer saves its policy but reads nothing back. Here a state is a folder `update-N` of safetensors files and
one `state.json`; it appears under its name only when it is whole.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

STATE = "state.json"
WEIGHTS, OPTIMIZER, RANDOM = "weights.safetensors", "optimizer.safetensors", "random.safetensors"
_NAME = re.compile(r"update-(\d+)")
_BETWEEN = "|"  # of a parameter's name and the name of what the optimizer holds for it


@dataclass(frozen=True)
class Progress:
    """Where a run stands: updates done, replies drawn, and the log so far."""

    update: int
    episodes: int
    log_history: list[dict[str, Any]]


# --- random numbers ---------------------------------------------------------------------------------------------------


def random_state() -> dict[str, torch.Tensor]:
    """The states of the generators of torch (CPU and each GPU), numpy and python, as uint8 and int64 tensors."""
    import torch

    numpy_state: Any = np.random.get_state(legacy=True)
    _, keys, position, has_gauss, gauss = numpy_state
    version, internal, spare = random.getstate()
    python = [version, *internal, int(spare is not None), _bits(spare or 0.0)]
    state = {
        "torch": torch.get_rng_state(),
        "numpy": torch.tensor([*keys.tolist(), position, has_gauss, _bits(gauss)], dtype=torch.int64),
        "python": torch.tensor(python, dtype=torch.int64),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for index, device in enumerate(torch.cuda.get_rng_state_all()):
            state[f"cuda.{index}"] = device
    return state


def restore_random_state(state: Mapping[str, torch.Tensor]) -> None:
    """Go on with the random numbers that followed `random_state`."""
    import torch

    torch.set_rng_state(state["torch"].cpu())
    *keys, position, has_gauss, gauss = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, _float(gauss)))
    version, *internal, has_spare, spare = state["python"].tolist()
    random.setstate((version, tuple(internal), _float(spare) if has_spare else None))
    gpus = sorted((name for name in state if name.startswith("cuda.")), key=lambda name: int(name[5:]))
    if gpus and len(gpus) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state[name].cpu() for name in gpus])


@contextmanager
def keeping_random_state() -> Iterator[None]:
    """Whatever is drawn inside, what is drawn afterwards is as if nothing had been."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)


def _bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))


def _float(bits: int) -> float:
    return float(np.int64(bits).view(np.float64))


# --- weights ----------------------------------------------------------------------------------------------------------


def trainable(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """name -> parameter of what is trained; a parameter with two names has its first."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def copy_into(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], source: str | Path) -> None:
    """Put weights into the trained parameters of a model.

    Raises:
        ValueError: they are another model's; names `source`.
    """
    import torch

    own = trainable(model)
    wrong = sorted(own.keys() ^ weights.keys()) or [name for name in own if own[name].shape != weights[name].shape]
    if wrong:
        raise ValueError(
            f"{source} was written for a model with other trained weights ({len(wrong)} do not match, the first is "
            f"{wrong[0]}); remove it to begin anew."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write tensors as one safetensors file, whole or not at all. Raises OSError naming `path`."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    fresh = path.with_name(f".{path.name}")
    save_file(tensors, fresh)
    os.replace(fresh, path)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file. Raises ValueError naming a file that is absent or broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is not readable ({error}); remove {path.parent} to go on without it.") from error
    return tensors


# --- states -----------------------------------------------------------------------------------------------------------


def save_state(
    folder: Path, progress: Progress, model: torch.nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any
) -> Path:
    """Write `update-N` into a folder, then remove the older ones.

    Args:
        model: whose trained parameters `optimizer` holds. scheduler: of the learning rate.

    Raises:
        OSError: it could not be written; the older state stays. ValueError: an optimizer with other than tensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"update-{progress.update}"
    fresh = Path(tempfile.mkdtemp(prefix=".update-", dir=folder))
    try:
        write_weights(fresh / WEIGHTS, trainable(model))
        write_weights(fresh / OPTIMIZER, _optimizer_tensors(model, optimizer))
        write_weights(fresh / RANDOM, random_state())
        stand = {
            "update": progress.update,
            "episodes": progress.episodes,
            "schedule": {k: v for k, v in scheduler.state_dict().items() if k in ("last_epoch", "_step_count")},
            "learning_rates": [group["lr"] for group in optimizer.param_groups],
            "log_history": progress.log_history,
        }
        (fresh / STATE).write_text(json.dumps(stand), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(fresh, target)
    except OSError as error:
        raise OSError(f"{target} could not be written ({error}): free some space and run again") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    for older in _states(folder):
        if older != target:
            shutil.rmtree(older, ignore_errors=True)
    return target


def latest_state(folder: Path) -> Path | None:
    """The newest whole state of a folder, or None."""
    return max(_states(folder), key=lambda path: int(path.name.split("-")[1]), default=None)


def load_state(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any) -> Progress:
    """Put everything back as `save_state` found it, random numbers last.

    Raises:
        ValueError: a file is broken, or belongs to another model; names it.
    """
    try:
        stand = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path / STATE} is not readable ({error}); remove {path} to begin anew.") from error
    copy_into(model, read_weights(path / WEIGHTS), path / WEIGHTS)
    _fill_optimizer(model, optimizer, read_weights(path / OPTIMIZER))
    scheduler.load_state_dict({**scheduler.state_dict(), **stand["schedule"], "_last_lr": stand["learning_rates"]})
    for group, rate in zip(optimizer.param_groups, stand["learning_rates"], strict=True):
        group["lr"] = rate
    restore_random_state(read_weights(path / RANDOM))
    return Progress(stand["update"], stand["episodes"], stand["log_history"])


def _states(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / STATE).is_file()]


def _optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    names = _names_by_index(model, optimizer)
    tensors = {}
    for index, held in optimizer.state_dict()["state"].items():
        for key, value in held.items():
            if not hasattr(value, "shape"):
                raise ValueError(f"the optimizer holds {key}={value!r}, which is not a tensor; choose an Adam (optim).")
            tensors[f"{names[index]}{_BETWEEN}{key}"] = value
    return tensors


def _fill_optimizer(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]
) -> None:
    indexes = {name: index for index, name in _names_by_index(model, optimizer).items()}
    packed = optimizer.state_dict()
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit(_BETWEEN, 1)
        state.setdefault(indexes[parameter], {})[key] = tensor
    optimizer.load_state_dict({**packed, "state": state})


def _names_by_index(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[int, str]:
    """Index in the optimizer's `state_dict` -> name of the parameter: indexes count through the groups."""
    names = {id(parameter): name for name, parameter in trainable(model).items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {index: names[id(parameter)] for index, parameter in enumerate(parameters)}
