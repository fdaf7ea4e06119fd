"""The stages of an ablation and the profiles that each writes: which is there, whose users, resumable."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.folder import file_sha256, write_json
from reclm_hf.data.profile_tables import read_profiles
from reclm_hf.data.splits import Split, Splits
from reclm_hf.data.tables import PROFILE_COLUMNS, write_parquet
from reclm_hf.profiles.leakage import certify
from reclm_hf.profiles.shards import SHARD_SIZE, ShardStore
from reclm_hf.tuning.outputs import input_digest

from .memory import keep_freed_memory
from .profile_stage import SHARDS, USER_TABLE
from .threads import note_idle_cores

if TYPE_CHECKING:
    import pandas as pd

RAW = "raw"
STAGES = (RAW, "distill", "naive", "mask", "mask+ppo", "mask+rloo", "mask+grpo")
_WEIGHTS = ("*.safetensors", "*_config.json", "config.json", "tokenizer.json", "chat_template.jinja")
_CLAIM, _COST = "profiler.json", "cost.json"


@dataclass(frozen=True)
class Stage:
    """A profiler of the ablation.

    Attributes:
        name: one of `STAGES`. source: folder or Hub id. revision: of the latter.
        manifest: what its tuning left; empty for `raw` and for profilers without one.
    """

    name: str
    source: str
    revision: str | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def signature(self) -> str:
        """What the profiler is: a checksum of the files of a folder, or its name and revision on the Hub."""
        folder = Path(self.source).expanduser()
        if not folder.is_dir():
            return f"{self.source}@{self.revision or 'main'}"
        files = sorted({path for pattern in _WEIGHTS for path in folder.glob(pattern)})
        said = "".join(f"{path.name}{file_sha256(path)}" for path in files)
        return f"sha256:{hashlib.sha256(said.encode()).hexdigest()}"


def find_stages(
    model: str, revision: str | None, folders: Mapping[str, str], users_file: str
) -> tuple[list[Stage], list[str]]:
    """The profilers that are there, in the order of `STAGES`, and a line for each that is not: how to make it.

    Args:
        model, revision: of the plain model. folders: stage -> folder or Hub id. users_file: named in the lines.

    Raises:
        ValueError: an unknown stage.
    """
    unknown = [name for name in folders if name not in STAGES[1:]]
    if unknown:
        raise ValueError(f"stages: {unknown[0]!r} is not known; choose from {', '.join(STAGES[1:])}.")
    found, absent = [Stage(RAW, model, revision)], []
    for name in STAGES[1:]:
        if name not in folders:
            continue
        source = folders[name]
        path = Path(source).expanduser()
        is_profiler = any((path / file).is_file() for file in ("profiler_config.json", "config.json"))
        if is_profiler or _may_be_hub_id(source):
            found.append(Stage(name, source, manifest=_manifest(path)))
        else:
            absent.append(
                f"{name} is left out: {source} holds no profiler. {_command(name, source, folders, users_file)}"
            )
    return found, absent


def _may_be_hub_id(source: str) -> bool:
    return source.count("/") == 1 and not source.startswith((".", "~", "/", "runs/")) and not Path(source).exists()


def _command(name: str, output: str, folders: Mapping[str, str], users_file: str) -> str:
    without = f"--without-users {users_file} --output {output}"
    if "+" not in name:
        return f"Make it: reclm sft --variant {name} --instructions TABLE {without}"
    start = folders.get("mask", "runs/tuning/mask")
    algorithm = name.partition("+")[2]
    inputs = "--preferences TABLE --reward-model FOLDER"
    return f"Make it: reclm refine --algorithm {algorithm} --model {start} {inputs} {without}"


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def tuned_on_measured(stages: Sequence[Stage], users_file: str | Path) -> list[str]:
    """A sentence for each stage whose manifest does not say that just these users were left out of its tuning."""
    wanted = input_digest(str(users_file))
    return [
        f"`{stage.name}` may have been tuned on users who are measured here: its manifest does not name the file of "
        "these users as `without_users`."
        for stage in stages
        if stage.name != RAW and (stage.manifest.get("inputs") or {}).get("without_users") != wanted
    ]


@dataclass(frozen=True)
class StageProfiles:
    """What one stage wrote. tables: split name -> `user_profiles`. cost: seconds and tokens of writing both."""

    tables: Mapping[str, pd.DataFrame]
    cost: Mapping[str, float]


def write_stage_profiles(
    stage: Stage,
    splits: Splits,
    users: Sequence[str],
    near: Mapping[str, np.ndarray],
    folder: Path,
    batch_size: int = 8,
    known: Mapping[str, pd.DataFrame] | None = None,
) -> StageProfiles:
    """Profiles of `users` as of both cuts, each stage asked in its own form; resumable in `folder / <stage>`.

    The profiler is loaded only where something is missing.

    Args:
        splits: of the whole data, where the neighbours come from. users: ids.
        near: split name -> int [U, n] rows of neighbours, -1 for none.
        known: split name -> a table of profiles that were written before. Those of the same model, prompt and history
            are taken from it; their seconds are nobody's.

    Raises:
        ValueError: the folder holds profiles of another profiler, other users or other data.
        LeakageError: a profile knows something from after its cut; that table is not written.
    """
    place = folder / stage.name
    _claim(place, stage, splits, users)
    cuts = {split.name: split for split in (splits.validation, splits.test)}
    missing = [name for name in cuts if not (place / name / USER_TABLE).is_file()]
    if missing:
        from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler

        keep_freed_memory()
        note_idle_cores()
        profiler = RecLMProfiler.from_pretrained(stage.source, stage.revision)
        for name in missing:
            before = None if known is None else known[name]
            _write(profiler, cuts[name], splits, users, near[name], place / name, batch_size, before)
    tables = {name: read_profiles(place / name / USER_TABLE) for name in cuts}
    spent = [json.loads((place / name / _COST).read_text(encoding="utf-8")) for name in cuts]
    cost = {key: float(sum(part[key] for part in spent)) for key in ("wall_s", "cpu_s", "taken")}
    cost |= {key: float(sum(table[key].sum() for table in tables.values())) for key in ("tokens_in", "tokens_out")}
    return StageProfiles(tables, cost)


def _claim(place: Path, stage: Stage, splits: Splits, users: Sequence[str]) -> None:
    now = {
        "profiler": stage.signature(),
        "fingerprint": splits.fingerprint,
        "users": hashlib.sha256("\n".join(users).encode()).hexdigest(),
    }
    path = place / _CLAIM
    if not path.is_file():
        write_json(now, path)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    different = [name for name, value in now.items() if before.get(name) != value]
    if different:
        models = place.parent.parent / "models" / stage.name
        raise ValueError(
            f"{place} holds profiles with other {', '.join(different)}: delete it and {models}, or choose another "
            "output for this ablation."
        )


def _write(
    profiler: Any,
    split: Split,
    splits: Splits,
    users: Sequence[str],
    near: np.ndarray,
    place: Path,
    batch_size: int,
    known: pd.DataFrame | None,
) -> None:
    """One cut, a shard of users after the other: what a kill leaves counts in the cost, too."""
    import pandas as pd

    shards, tables = place / SHARDS, []
    spent = {"wall_s": 0.0, "cpu_s": 0.0, "taken": 0}
    if (place / _COST).is_file():
        spent = json.loads((place / _COST).read_text(encoding="utf-8"))
    elif known is not None:
        mine = known[known["user_id"].isin(users)]
        ShardStore(shards, PROFILE_COLUMNS, split.cut).write(mine.to_dict("records"))
    for start in range(0, len(users), SHARD_SIZE):
        before, wall, cpu = len(list(shards.glob("*"))), time.perf_counter(), time.process_time()
        part = profiler.generate_profiles(
            split,
            list(users[start : start + SHARD_SIZE]),
            items=splits.data.items,
            neighbors=near,
            batch_size=batch_size,
            folder=shards,
        )
        tables.append(part.to_pandas())
        if len(list(shards.glob("*"))) > before:
            spent["wall_s"] += time.perf_counter() - wall
            spent["cpu_s"] += time.process_time() - cpu
        write_json(spent, place / _COST)
    table = pd.concat(tables, ignore_index=True)
    if known is not None:
        spent["taken"] = int(table["input_hash"].isin(known["input_hash"]).sum())
        write_json(spent, place / _COST)
    certificate = certify(table, split, splits.data.items)
    write_json(certificate.to_dict(), place / "certificate.json")
    certificate.require()
    write_parquet(table, place / USER_TABLE, PROFILE_COLUMNS)
