"""What a stage leaves beside its model: `manifest.json`, the training log, and whether it is finished."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..data.folder import file_sha256, write_json

if TYPE_CHECKING:
    from .arguments import StageArguments

MANIFEST = "manifest.json"
LOG = "training_log.parquet"
CHECKPOINTS = "checkpoints"
CLAIM = "stage.json"
_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors")
_PLACES = ("output", "logging_steps", "save_steps", "use_cpu")
"""Settings that change nothing of the outcome: a run goes on when they differ."""


class Stopwatch:
    """What a stage costs, of this process and its children; with what an interrupted run had cost up to its checkpoint.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CHECKPOINTS / "cost.json"
        before = json.loads(self._path.read_text(encoding="utf-8")) if self._path.is_file() else {}
        self._peak = float(before.get("peak_rss_mib", 0))
        self._wall = time.perf_counter() - float(before.get("wall_s", 0))
        self._cpu = _cpu_seconds() - float(before.get("cpu_s", 0))

    def cost(self) -> dict[str, float]:
        """Seconds on the clock and of the processor, and the most memory that was held (MiB)."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "wall_s": round(time.perf_counter() - self._wall, 1),
            "cpu_s": round(_cpu_seconds() - self._cpu, 1),
            "peak_rss_mib": round(max(peak, self._peak)),
        }

    def keep(self) -> None:
        """Note the cost beside a checkpoint that was just written."""
        write_json(self.cost(), self._path)


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def claim(folder: Path, stage: str, args: StageArguments, inputs: Mapping[str, str]) -> None:
    """Note whose run a folder is, so that only the same run goes on in it.

    Raises:
        ValueError: it is another run's, or holds something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now, path = {"stage": stage, "settings": _digest(args), "inputs": dict(inputs)}, folder / CLAIM
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        same = {**before, "inputs": _as_stated(before, inputs)} == now
        if not same and not any(entry.is_file() and entry != path for entry in folder.rglob("*")):
            write_json(now, path)  # the other run was refused before its first step
        elif not same:
            raise ValueError(
                f"{folder} holds a run of `{stage}` with other settings or inputs (see its {CLAIM} and recipe.yaml); "
                "choose another output, or remove the folder."
            )
    else:
        strangers = [entry.name for entry in folder.iterdir()]
        if strangers:
            raise ValueError(f"{folder} is not empty ({sorted(strangers)[0]}): choose another output.")
        write_json(now, path)


def finished(folder: Path, stage: str, args: StageArguments, inputs: Mapping[str, str]) -> dict[str, Any] | None:
    """The manifest of this very run when it is finished already, else None.

    Args:
        inputs: see `stage_inputs`. A table that is no longer there is not held against the run.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    same = manifest.get("stage") == stage and manifest.get("settings_sha256") == _digest(args)
    there = {name: value for name, value in inputs.items() if value.startswith("sha256:")}
    stated = _as_stated(manifest, there)
    return manifest if same and all(stated[name] == value for name, value in there.items()) else None


def _as_stated(record: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, str]:
    """The inputs that a record states; of what it does not know, those given."""
    return {**inputs, **record.get("inputs", {})}


def stage_inputs(args: StageArguments, **tables: str | None) -> dict[str, str]:
    """What a stage reads, by content: its tables, whom it leaves out, and the weights of a model that is a folder."""
    sources = {**tables, "without_users": args.without_users}
    found = {name: input_digest(source) for name, source in sources.items() if source is not None}
    weights = sorted(Path(args.model).expanduser().glob("*.safetensors"))
    return {**found, "weights": _digest_of(weights)} if weights else found


def _digest(args: StageArguments) -> str:
    said = {name: value for name, value in asdict(args).items() if name not in _PLACES}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def input_digest(source: str) -> str:
    """What a table was, by its content: the checksum of a file, the name of a Hub repository."""
    path = Path(source).expanduser()
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
    return _digest_of(files) if files else source


def _digest_of(files: Sequence[Path]) -> str:
    return "sha256:" + hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


def stage_manifest(
    folder: Path,
    stage: str,
    args: StageArguments,
    inputs: Mapping[str, str],
    figures: Mapping[str, Any],
    cost: Mapping[str, float],
) -> dict[str, Any]:
    """Write `manifest.json`: what went in, with which settings and versions, what came out and what it cost.

    Places on this machine are left out: a folder is named by its last part.

    Args:
        inputs: what was read -> its checksum or revision. figures: what was measured.
    """
    settings = {name: _nameless(value) for name, value in asdict(args).items() if name != "output"}
    manifest = {
        "reclm_hf": __version__,
        "stage": stage,
        "settings": settings,
        "settings_sha256": _digest(args),
        "inputs": dict(inputs),
        "figures": dict(figures),
        "cost": dict(cost),
        "versions": _versions(),
    }
    write_json(manifest, folder / MANIFEST)
    return manifest


def _nameless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _nameless(entry) for name, entry in value.items()}
    if isinstance(value, str) and (value.startswith(("/", "~", "..")) or Path(value).exists()):
        return Path(value).name
    return value


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def training_log(folder: Path, log_history: Sequence[Mapping[str, Any]]) -> None:
    """Write `training_log.parquet`: one row a step and figure (step, name, value)."""
    import pandas as pd

    rows = [
        (int(entry.get("step", 0)), name, float(value))
        for entry in log_history
        for name, value in entry.items()
        if name != "step" and isinstance(value, int | float)
    ]
    pd.DataFrame(rows, columns=["step", "name", "value"]).to_parquet(folder / LOG, index=False)


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint of a trainer that an interrupted run left, or None."""
    from transformers.trainer_utils import get_last_checkpoint

    place = folder / CHECKPOINTS
    found: str | None = get_last_checkpoint(str(place)) if place.is_dir() else None
    return found
