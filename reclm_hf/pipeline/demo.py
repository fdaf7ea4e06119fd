"""`reclm demo`: the whole path on real interactions, resumable, ending in a report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.data.describe import describe
from reclm_hf.data.splits import Split, Splits
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.evaluation.report import write_report
from reclm_hf.evaluation.report_text import render_terminal
from reclm_hf.evaluation.rows import Row
from reclm_hf.profiles.leakage import certify
from reclm_hf.recommender.trainer import TrainerOptions

from .evaluate_stage import model_rows
from .floor_stage import fit_floors
from .manifest import write_manifest
from .model_stage import Inputs, ModelSpec, train_model
from .profile_stage import write_profiles
from .texts import encode_items, encode_profiles

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

BACKBONES = ("bias_mf", "lightgcn")
# `none` is the base, `constant` its twin with the parameters of the augmented model, `shuffled` the placebo.
MODES = ("none", "constant", "shuffled", "llm")
LIVE_PROFILES = 24
FLOORS_TO_BEAT = ("popularity", "popularity_decayed", "text_cosine", "text_popularity")


@dataclass(frozen=True)
class DemoOptions:
    """What to run. dataset: a bundled name. live_profiles: how many profiles are written here and now."""

    dataset: str = "movietweetings-100k-u10"
    folder: Path = Path("runs/demo")
    live_profiles: int = LIVE_PROFILES
    seed: int = 0


def run_demo(options: DemoOptions, say: Callable[[str], None]) -> dict[str, Any]:
    """Run or resume the demo.

    Args:
        say: receives the lines that a person should read.

    Returns:
        Paths and figures of the run.
    """
    from reclm_hf.recommender.text_encoder import TextEncoder

    started = time.perf_counter()
    splits = bundled_splits(options.dataset)
    encoder = TextEncoder()
    item_vectors = encode_items(splits.data, encoder)
    for line in describe(splits, item_vectors).lines():
        say(line)
    live = _live_profiles(splits, item_vectors, options, say)
    tables = {
        split.name: _shipped_profiles(splits, split, options.dataset) for split in (splits.validation, splits.test)
    }
    say(_compared(live, tables["test"]))
    profiles = {name: encode_profiles(table, splits.data.user_ids, encoder) for name, table in tables.items()}
    inputs = Inputs(splits, item_vectors, profiles, encoder)
    rows = _rows(inputs, options, say)
    results, comparisons = write_report(
        options.folder,
        rows,
        comparison_pairs(),
        dataset=options.dataset,
        fingerprint=splits.fingerprint,
        notes=_notes(tables, live),
        seed=options.seed,
    )
    say("")
    say(render_terminal(results))
    seconds = time.perf_counter() - started
    write_manifest(options.folder, splits, tables, seconds, options, test_opened=True)
    return {
        "report": str(options.folder / "report.md"),
        "results": str(options.folder / "results.parquet"),
        "model": str(options.folder / "models" / model_specs(options.seed)[-1].label / "model"),
        "seconds": round(seconds, 1),
        "better": int((comparisons["verdict"] == "better").sum()),
    }


def model_specs(seed: int = 0) -> list[ModelSpec]:
    """The recommenders of the demo, the augmented `floor_residual` LightGCN last."""
    return [
        ModelSpec(backbone, preset, mode, seed)
        for preset in ("standard", "floor_residual")
        for backbone in BACKBONES
        for mode in MODES
    ]


def comparison_pairs() -> list[tuple[str, str]]:
    """What the report compares: the preset with its floors, and the profile with its placebos."""
    pairs = []
    for backbone in BACKBONES:
        name = f"{backbone}-floor_residual"
        for mode in ("none", "llm"):
            pairs += [(f"{name}-{mode}", floor) for floor in FLOORS_TO_BEAT]
        pairs += [(f"{name}-llm", f"{name}-{other}") for other in ("constant", "shuffled")]
        pairs.append((f"{name}-llm", f"{name}-llm (mean user)"))
        pairs.append((f"{backbone}-standard-llm", f"{backbone}-standard-constant"))
    return pairs


def _live_profiles(
    splits: Splits, item_vectors: np.ndarray, options: DemoOptions, say: Callable[[str], None]
) -> pd.DataFrame:
    from reclm_hf.profiles.engines import TransformersEngine

    chosen = np.random.default_rng(options.seed).choice(
        np.unique(splits.test.history_user), options.live_profiles, replace=False
    )
    table = write_profiles(
        splits.data, splits.test, item_vectors, TransformersEngine.from_model_id(), options.folder / "profiles", chosen
    )
    titles = dict(zip(splits.data.items["item_id"], splits.data.items["title"], strict=True))
    say("")
    say(f"{len(table)} profiles, written here by {table['generator'].iloc[0]}:")
    for row in table.itertuples():
        say(f"  user {row.user_id}: {row.profile}")
        say(f"    from: {'; '.join(titles[item] for item in list(row.evidence)[:4])} ...")
    return table


def _compared(live: pd.DataFrame, shipped: pd.DataFrame) -> str:
    """What the profiles written here say of the shipped table, which was written by the same command."""
    texts = dict(zip(shipped["user_id"], shipped["profile"], strict=True))
    equal = sum(texts.get(row.user_id) == row.profile for row in live.itertuples())
    return (
        f"{equal} of these {len(live)} equal the table that ships with the package and was written by `reclm profiles "
        f"build`; the profiles of all {len(shipped)} users are taken from it."
    )


def _shipped_profiles(splits: Splits, split: Split, dataset: str) -> pd.DataFrame:
    table = bundled_profiles(dataset, split.name)
    certify(table, split, splits.data.items).require()
    return table


def _rows(inputs: Inputs, options: DemoOptions, say: Callable[[str], None]) -> list[Row]:
    from tqdm.auto import tqdm

    test = inputs.splits.test
    say("")
    say("Floors, hyper-parameters chosen on the validation period:")
    floors = fit_floors(inputs, options.folder / "floors")
    rows = []
    for name, floor in floors.items():
        shown = {key: value for key, value in floor.params.items() if key != "parts"}
        say(f"  {name} {shown or ''}")
        rows.append(Row(name, "floor", [evaluate(floor, test)]))
    bar = tqdm(model_specs(options.seed), desc="recommenders", unit="model")
    for spec in bar:
        bar.set_postfix_str(spec.label)
        folder = options.folder / "models" / spec.label
        begun = time.perf_counter()
        model = train_model(spec, inputs, trainer_options(spec), folder)
        seconds = time.perf_counter() - begun
        rows += model_rows(model, spec.label, test, seconds, with_mean_user=spec.profile_mode in ("none", "llm"))
    return rows


def trainer_options(spec: ModelSpec) -> TrainerOptions:
    """The training budget of a preset, the same for base, augmented and placebo."""
    if spec.preset == "floor_residual":
        return TrainerOptions(seed=spec.seed, learning_rate=1e-3, max_epochs=12, evaluate_every=2)
    return TrainerOptions(seed=spec.seed)


def _notes(tables: dict[str, pd.DataFrame], live: pd.DataFrame) -> Sequence[str]:
    test = tables["test"]
    return [
        f"Profiles of {len(test)} users: {test['generator'].iloc[0]}, prompt {test['prompt_version'].iloc[0]}, "
        f"{(test['format_score'] == 1).mean():.1%} well-formed; {len(live)} were written again during this run.",
        "`none` is the base: no profile and no parameters for one.",
        "Epochs, the level of cold items and the floors' hyper-parameters were chosen on the validation period, with "
        "profiles as of its cut; the test period was opened after one refit, with profiles as of the test cut.",
    ]
