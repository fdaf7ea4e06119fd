"""`reclm demo`: the whole path on real interactions, resumable, ending in a report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.data.describe import describe
from reclm_hf.data.splits import Split, Splits
from reclm_hf.evaluation.beyond import BeyondAccuracy, beyond_accuracy, beyond_table
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.evaluation.report import write_report
from reclm_hf.evaluation.report_text import render_terminal
from reclm_hf.evaluation.rows import Row
from reclm_hf.evaluation.strata import strata_table
from reclm_hf.profiles.leakage import certify
from reclm_hf.report.curves import read_curves
from reclm_hf.report.extras import gather
from reclm_hf.report.page import write_html
from reclm_hf.report.people_map import map_points
from reclm_hf.report.samples import sample_profiles

from .comparison import PLACEBOS, DemoPlan
from .evaluate_stage import seed_rows
from .floor_stage import fit_floors
from .manifest import write_manifest
from .model_stage import Inputs
from .profile_stage import write_profiles
from .runs import train_all
from .texts import encode_items, encode_profiles
from .threads import note_idle_cores

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

LIVE_PROFILES = 24


@dataclass(frozen=True)
class DemoOptions:
    """What to run.

    Args:
        dataset: a bundled name. live_profiles: how many profiles are written here and now.
        everything: five backbones and three seeds instead of two and one.
        jobs: processes that train; 1 trains in this one. threads: of each process that trains.
    """

    dataset: str = "movietweetings-100k-u10"
    folder: Path = Path("runs/demo")
    live_profiles: int = LIVE_PROFILES
    seed: int = 0
    everything: bool = False
    jobs: int = 1
    threads: int = 1

    @property
    def plan(self) -> DemoPlan:
        """The rows and comparisons."""
        return DemoPlan.everything(self.seed) if self.everything else DemoPlan.short(self.seed)


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
    plan = options.plan
    rows, lists = _rows(inputs, plan, options, say)
    name, fingerprint, seed = options.dataset, splits.fingerprint, options.seed
    strata = strata_table(rows, plan.strata_pairs(), splits.test, dataset=name, fingerprint=fingerprint, seed=seed)
    notes = _notes(tables, live)
    results, comparisons = write_report(
        options.folder,
        rows,
        plan.pairs(),
        dataset=name,
        fingerprint=fingerprint,
        beyond=beyond_table(lists, dataset=name, fingerprint=fingerprint, seed=seed),
        strata=strata,
        notes=notes,
        seed=seed,
    )
    say("")
    say(render_terminal(results))
    seconds = time.perf_counter() - started
    write_manifest(options.folder, splits, tables, seconds, options, test_opened=True)
    page = _page(splits, tables["test"], options, notes)
    return {
        "page": str(page),
        "report": str(options.folder / "report.md"),
        "results": str(options.folder / "results.parquet"),
        "model": str(options.folder / "models" / plan.shown.label / "model"),
        "seconds": round(seconds, 1),
        "better": int((comparisons["verdict"] == "better").sum()),
    }


def _live_profiles(
    splits: Splits, item_vectors: np.ndarray, options: DemoOptions, say: Callable[[str], None]
) -> pd.DataFrame:
    from reclm_hf.profiles.engine_transformers import TransformersEngine

    chosen = np.random.default_rng(options.seed).choice(
        np.unique(splits.test.history_user), options.live_profiles, replace=False
    )
    note_idle_cores()
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


def _rows(
    inputs: Inputs, plan: DemoPlan, options: DemoOptions, say: Callable[[str], None]
) -> tuple[list[Row], Mapping[str, Sequence[BeyondAccuracy]]]:
    """The rows of the report, and the lists of floors and models for what lies beyond accuracy."""
    from tqdm.auto import tqdm

    from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

    test = inputs.splits.test
    say("")
    say("Floors, hyper-parameters chosen on the validation period:")
    floors = fit_floors(inputs, options.folder / "floors")
    for name, floor in floors.items():
        shown = {key: value for key, value in floor.params.items() if key != "parts"}
        say(f"  {name} {shown or ''}")
    specs = plan.specs()
    folder = options.folder / "models"
    with tqdm(total=len(specs), desc="recommenders", unit="model") as bar:
        seconds = train_all(
            specs, inputs, folder, options.jobs, on_done=lambda spec: bar.update(), threads=options.threads
        )
    # Test is opened here, when every choice is made.
    rows = [Row(name, "floor", [evaluate(floor, test)]) for name, floor in floors.items()]
    lists = {name: [beyond_accuracy(floor, test)] for name, floor in floors.items()}
    for label, members in tqdm(plan.by_row().items(), desc="evaluation", unit="row"):
        models = [RecLMRecommender.from_pretrained(folder / spec.label / "model") for spec in members]
        taken = float(np.mean([seconds[spec.label] for spec in members]))
        placebo = members[0].profile_mode in PLACEBOS
        rows += seed_rows(models, label, test, taken, with_mean_user=not placebo)
        if not placebo:
            lists[label] = [beyond_accuracy(model, test) for model in models]
    return rows, lists


def _page(splits: Splits, profiles: pd.DataFrame, options: DemoOptions, notes: Sequence[str]) -> Path:
    """Write `report.html`, with what the tables do not hold."""
    from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

    models, items = options.folder / "models", splits.data.items
    shown = models / options.plan.shown.label / "model"
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    extras = gather(
        notes,
        curves=lambda: read_curves(models),
        map=lambda: map_points(RecLMRecommender.from_pretrained(shown), options.seed, options.plan.shown.label),
        samples=lambda: sample_profiles(profiles, titles, options.seed),
    )
    return write_html(options.folder, extras)


def _notes(tables: dict[str, pd.DataFrame], live: pd.DataFrame) -> Sequence[str]:
    test = tables["test"]
    return [
        f"Profiles of {len(test)} users: {test['generator'].iloc[0]}, prompt {test['prompt_version'].iloc[0]}, "
        f"{(test['format_score'] == 1).mean():.1%} well-formed; {len(live)} were written again during this run.",
        "`none` is the base: no profile and no parameters for one.",
        "Epochs, the level of cold items and the floors' hyper-parameters were chosen on the validation period, with "
        "profiles as of its cut; the test period was opened after one refit, with profiles as of the test cut.",
    ]
