"""The recommenders of an ablation: a subset of users, the same models with and without profiles, paired comparisons."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reclm_hf.data.folder import write_json
from reclm_hf.data.splits import Split, Splits
from reclm_hf.data.tables import TableError, read_parquet
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.evaluation.report import write_report
from reclm_hf.evaluation.rows import Row

from .evaluate_stage import seed_rows
from .floor_stage import fit_floors
from .model_stage import Inputs
from .runs import train_all
from .specs import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

BASE = "base"
"""The folder of the models that know no stage: those without profiles, and the twin with a constant one."""
TWINS = ("none", "constant")
CONTRASTS = (
    *(("distill", "raw"), ("naive", "raw"), ("mask", "raw"), ("mask", "distill"), ("mask", "naive")),
    *(("mask+ppo", "mask"), ("mask+rloo", "mask"), ("mask+grpo", "mask")),
)
"""What is asked of the stages (RecLM section 6.4 and figure 2): each is compared with what it was made from."""
PROFILE_FAMILY, STAGE_FAMILY = "profile", "stages"


def restrict_users(splits: Splits, users: Sequence[str]) -> Splits:
    """The splits with nothing of anybody but `users`: the cuts, the items and their order stay.

    An item that only others chose before a cut is not new, and nothing can be learnt of it here: its targets are left
    out. So the cold items of the subset are cold for everybody, and what is said of them is not a neighbour's memory.

    Args:
        users: ids, each once.

    Raises:
        KeyError: a user who is not in the data. ValueError: a user twice. TableError: nothing is left to predict.
    """
    ids = np.array(sorted(users), dtype=object)
    if len(set(users)) != len(users):
        raise ValueError("a user is named twice: give each once.")
    known = {str(user): row for row, user in enumerate(splits.data.user_ids)}
    unknown = [user for user in ids if user not in known]
    if unknown:
        raise KeyError(f"{len(unknown)} users are not in {splits.data.name}, first {unknown[0]!r}: other data?")
    rows = np.full(splits.data.n_users, -1, dtype=np.int32)
    rows[[known[user] for user in ids]] = np.arange(len(ids), dtype=np.int32)
    data = splits.data
    kept = rows[data.user] >= 0
    restricted = replace(
        data,
        user_ids=ids,
        user=rows[data.user[kept]],
        item=data.item[kept],
        timestamp=None if data.timestamp is None else data.timestamp[kept],
        in_test=None if data.in_test is None else data.in_test[kept],
        name=f"{data.name}, {len(ids)} users",
        duplicates=0,
    )
    digest = hashlib.sha256("\x00".join([splits.fingerprint, *ids]).encode()).hexdigest()[:16]
    parts = [_restricted(split, ids, rows) for split in (splits.validation, splits.test)]
    for part in parts:
        if not len(part.target_user):
            raise TableError(
                f"{restricted.name}: nobody of them has targets in the {part.name} period: take more users."
            )
    return Splits(restricted, parts[0], parts[1], digest)


def _restricted(split: Split, ids: np.ndarray, rows: np.ndarray) -> Split:
    history = rows[split.history_user] >= 0
    warm = np.zeros_like(split.warm)
    warm[split.history_item[history]] = True
    target = (rows[split.target_user] >= 0) & (warm | split.cold)[split.target_item]
    cold = np.zeros_like(split.cold)
    cold[split.target_item[target]] = True
    return replace(
        split,
        user_ids=ids,
        history_user=rows[split.history_user[history]],
        history_item=split.history_item[history],
        history_time=None if split.history_time is None else split.history_time[history],
        target_user=rows[split.target_user[target]],
        target_item=split.target_item[target],
        warm=warm,
        cold=cold & split.cold,
        users_without_history=0,
    )


@dataclass(frozen=True)
class AblationPlan:
    """Which models are trained and compared.

    Attributes:
        recommenders: (backbone, preset) of each. stages: those whose profiles are there. seeds: of every model.
        floors: names of `baselines.FLOORS` that stand beside them.
    """

    recommenders: tuple[tuple[str, str], ...]
    stages: tuple[str, ...]
    seeds: tuple[int, ...]
    floors: tuple[str, ...] = ()

    def specs(self, group: str) -> list[ModelSpec]:
        """The models of one folder: of a stage, or of `BASE`."""
        modes = TWINS if group == BASE else ("llm",)
        return [
            ModelSpec(backbone, preset, mode, seed)
            for backbone, preset in self.recommenders
            for mode in modes
            for seed in self.seeds
        ]

    @property
    def groups(self) -> tuple[str, ...]:
        """The folders of models."""
        return (BASE, *self.stages)

    def members(self) -> dict[str, list[tuple[str, ModelSpec]]]:
        """Row of the report -> (group, spec) of its seeds."""
        found: dict[str, list[tuple[str, ModelSpec]]] = {}
        for group in self.groups:
            for spec in self.specs(group):
                found.setdefault(row_name(spec, group), []).append((group, spec))
        return found

    def pairs(self) -> dict[str, list[tuple[str, str]]]:
        """Family -> pairs of rows: each stage against the twin with a constant profile, and stages among themselves."""
        names = [f"{backbone}-{preset}" for backbone, preset in self.recommenders]
        contrasts = [pair for pair in CONTRASTS if set(pair) <= set(self.stages)]
        return {
            PROFILE_FAMILY: [(f"{name}-{stage}", f"{name}-constant") for name in names for stage in self.stages],
            STAGE_FAMILY: [(f"{name}-{first}", f"{name}-{second}") for name in names for first, second in contrasts],
        }

    def trained(self, folder: Path) -> bool:
        """Whether every model is finished in `folder`."""
        return all(
            (folder / group / spec.label / "done.json").is_file()
            for members in self.members().values()
            for group, spec in members
        )


def row_name(spec: ModelSpec, group: str) -> str:
    """What the report calls a model: its profile mode, or the stage that wrote its profiles, comes last."""
    return f"{spec.backbone}-{spec.preset}-{spec.profile_mode if group == BASE else group}"


def train_stages(
    plan: AblationPlan,
    inputs: Mapping[str, Inputs],
    folder: Path,
    jobs: int = 1,
    on_done: Callable[[ModelSpec], None] | None = None,
    threads: int = 1,
) -> dict[tuple[str, str], float]:
    """Train every model in `folder / <group> / <label>`, chosen on validation; what is finished there is left.

    Args:
        inputs: stage -> what its models are fitted on; they differ in the profiles alone. The twins take those of the
            first stage: the mean profile is the same parameter whoever wrote it. jobs, threads: see `train_all`.

    Returns:
        (group, label) -> seconds that training took.

    Raises:
        ValueError: a folder holds a model of other data or profiles.
    """
    seconds: dict[tuple[str, str], float] = {}
    for group in plan.groups:
        shared = inputs[plan.stages[0] if group == BASE else group]
        found = train_all(plan.specs(group), shared, folder / group, jobs, on_done=on_done, threads=threads)
        seconds |= {(group, label): taken for label, taken in found.items()}
    return seconds


def evaluate_stages(
    plan: AblationPlan,
    inputs: Inputs,
    folder: Path,
    seconds: Mapping[tuple[str, str], float],
    *,
    seed: int = 0,
    trained: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame, list[list[str]]]:
    """The report of all rows in `folder / recommenders`; where it is there, the test period stays closed.

    Args:
        trained: whether some model is new, so that the report must be, too.

    Returns:
        Results, comparisons, and the stages of every time that the test targets were looked at.
    """
    place = folder / "recommenders"
    path = place / "opened.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"opened": []}
    key = [list(plan.stages), [list(pair) for pair in plan.recommenders], list(plan.seeds), list(plan.floors), seed]
    names = ("results.parquet", "comparisons.parquet")
    if not trained and record.get("key") == key and all((place / name).is_file() for name in names):
        results, comparisons = (read_parquet(place / name) for name in names)
        return results, comparisons, record["opened"]
    opened = [*record["opened"], list(plan.stages)]
    write_json({"opened": opened}, path)  # before it happens: a kill does not hide it
    results, comparisons = write_report(
        place,
        _rows(plan, inputs, folder, seconds),
        plan.pairs(),
        dataset=inputs.splits.data.name,
        fingerprint=inputs.splits.fingerprint,
        notes=["The last part of a label is the stage that wrote the profiles."],
        seed=seed,
    )
    write_json({"opened": opened, "key": key}, path)
    return results, comparisons, opened


def _rows(plan: AblationPlan, inputs: Inputs, folder: Path, seconds: Mapping[tuple[str, str], float]) -> list[Row]:
    """Rows of the floors and of every trained model on the test targets. Every choice must be made before."""
    from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

    floors = fit_floors(inputs, folder / "floors", plan.floors) if plan.floors else {}
    test = inputs.splits.test
    rows = [Row(name, "floor", [evaluate(floor, test)]) for name, floor in floors.items()]
    for label, members in plan.members().items():
        models = [
            RecLMRecommender.from_pretrained(folder / "models" / group / spec.label / "model")
            for group, spec in members
        ]
        taken = float(np.mean([seconds[group, spec.label] for group, spec in members]))
        rows += seed_rows(models, label, test, taken, with_mean_user=members[0][1].profile_mode == "llm")
    return rows
