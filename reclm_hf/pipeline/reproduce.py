"""`reclm reproduce`: the preset `reference` on the authors' release, beside the floors and the paper's figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.folder import write_text
from reclm_hf.data.importers.reclm_release import read_reclm_release
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split, Splits, snapshot_split
from reclm_hf.data.tables import TableError, bad_rows, read_parquet, require_columns, write_parquet
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.evaluation.report import write_report
from reclm_hf.evaluation.rows import Row
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES

from .comparison import COLD_START_STYLES
from .evaluate_stage import seed_rows
from .floor_stage import fit_floors
from .manifest import write_manifest
from .model_stage import Inputs
from .published import COLUMNS, MIND, SETTINGS, STRANGE, beside_published, published_lines, published_markdown
from .runs import train_all
from .specs import ModelSpec
from .texts import encode_items, encode_profiles

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)
EPOCHS = 50
PRESET = "reference"
# What is ranked: our default for claims, and what the paper ranks.
RANKED = ("catalogue", *SETTINGS)
OPENED = "after a number of epochs that was fixed beforehand; nothing was chosen on it"


@dataclass(frozen=True)
class ReproduceOptions:
    """What to run.

    Args:
        release: a folder of the authors' release, `mind` or `netflix`.
        profiles: Parquet or CSV with `user_id` (as in the release) and `profile`; None trains the base variants only.
        jobs: processes that train; 1 trains in this one. threads: of each process that trains.
    """

    release: Path
    backbones: tuple[str, ...] = BACKBONE_NAMES
    seeds: int = 3
    epochs: int = EPOCHS
    profiles: Path | None = None
    jobs: int = 1
    threads: int = 1
    folder: Path = Path("runs/reproduce")

    def __post_init__(self) -> None:
        for name in ("seeds", "epochs", "jobs", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}: give at least 1.")

    @property
    def by_row(self) -> dict[str, list[ModelSpec]]:
        """Row of the report -> its seeds."""
        modes = ("none",) if self.profiles is None else ("none", "llm")
        members = [
            [ModelSpec(backbone, PRESET, mode, seed) for seed in range(self.seeds)]
            for backbone in dict.fromkeys(self.backbones)
            for mode in modes
        ]
        return {specs[0].row: specs for specs in members}


def load_release(folder: Path) -> tuple[Splits, str]:
    """The authors' split, and why no published figure belongs to it ("" where some do); validation is cut out of its
    train side."""
    tables = read_reclm_release(folder)
    data = Interactions.from_tables(tables.items, tables.interactions, Path(folder).resolve().name)
    splits = snapshot_split(data)
    return splits, tables.info.get("protocol", "" if _counts(data) == MIND else STRANGE)


def _counts(data: Interactions) -> dict[str, int]:
    """By which MIND is known, whatever its folder is called."""
    in_test = 0 if data.in_test is None else int(data.in_test.sum())
    return {"users": data.n_users, "train": len(data.user) - in_test, "test": in_test}


def run_reproduce(options: ReproduceOptions, say: Callable[[str], None]) -> dict[str, Any]:
    """Run or resume it: what is finished in the folder is left as it is.

    Args:
        say: receives the lines that a person should read while waiting.

    Returns:
        Paths, the lines of the table and its records.

    Raises:
        TableError: the release or the profiles cannot be read. ValueError: the folder holds a run of other settings.
    """
    from reclm_hf.recommender.text_encoder import TextEncoder

    started = time.perf_counter()
    splits, strange = load_release(options.release)
    encoder = TextEncoder()
    given = _profiles(options.profiles, splits.data, encoder)  # refused before anything is trained
    inputs = Inputs(splits, encode_items(splits.data, encoder), given, encoder)
    say(f"{splits.data.name}: {splits.data.n_users:,} users, {splits.data.n_items:,} items")
    described = _described(given, splits.data)
    if described:
        say(described)
    floors = _floors(inputs, options.folder / "floors")
    seconds = _trained(options, inputs)
    rows, beside = _evaluated(options, splits.test, seconds)
    table = beside_published(beside, comparable=not strange)
    write_parquet(table, options.folder / "published.parquet", COLUMNS)
    write_text(published_markdown(table), options.folder / "published.md")
    notes = _notes(options, strange, described)
    write_report(
        options.folder,
        floors + rows,
        _pairs(options, [row.label for row in floors]),
        dataset=splits.data.name,
        fingerprint=splits.fingerprint,
        notes=notes,
    )
    write_manifest(options.folder, splits, {}, time.perf_counter() - started, options, OPENED)
    paths = {"report": "report.md", "results": "results.parquet", "published": "published.parquet"}
    found = {name: str(options.folder / file) for name, file in paths.items()} | _page(options.folder, notes)
    return {**found, "lines": published_lines(table), "rows": table.to_dict("records")}


def _profiles(path: Path | None, data: Interactions, encoder: Any) -> dict[str, np.ndarray]:
    """Split name -> [U, d_t] vectors; empty without a file."""
    import pandas as pd

    if path is None:
        return {}
    table: pd.DataFrame = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else read_parquet(path)
    require_columns(table, ["user_id", "profile"], str(path))
    table = table[["user_id", "profile"]].astype({"user_id": str})
    again = table["user_id"][table["user_id"].duplicated()]
    if len(again):
        raise TableError(f"{path}: user {again.iloc[0]!r} stands there twice; leave one row of each.")
    empty = ~table["profile"].map(lambda text: isinstance(text, str) and bool(text.strip())).astype(bool)
    if empty.any():
        raise bad_rows(str(path), "profile", np.flatnonzero(empty), "no profile", "Write them or drop these rows.")
    return {"test": encode_profiles(table, data.user_ids, encoder)}


def _described(profiles: Mapping[str, np.ndarray], data: Interactions) -> str:
    """How many users the augmented variants know something of; "" without profiles."""
    if not profiles:
        return ""
    count = int(np.count_nonzero(profiles["test"].any(axis=1)))
    return f"profiles of {count:,} of {data.n_users:,} users"


def _floors(inputs: Inputs, folder: Path) -> list[Row]:
    """Those that need no training of their own: the paper has none at all."""
    from tqdm.auto import tqdm

    from reclm_hf.baselines import FLOORS

    names = [name for name in FLOORS if name not in COLD_START_STYLES]
    floors, test = fit_floors(inputs, folder, names), inputs.splits.test
    shown = tqdm(floors.items(), desc="evaluation of floors", unit="floor")
    return [Row(name, "floor", [evaluate(floor, test, settings=RANKED)]) for name, floor in shown]


def _trained(options: ReproduceOptions, inputs: Inputs) -> dict[str, float]:
    from tqdm.auto import tqdm

    specs = [spec for members in options.by_row.values() for spec in members]
    with tqdm(total=len(specs), desc="recommenders", unit="model") as bar:
        done: Callable[[ModelSpec], None] = lambda spec: bar.update()  # noqa: E731
        folder, epochs, threads = options.folder / "models", options.epochs, options.threads
        return train_all(specs, inputs, folder, options.jobs, on_done=done, epochs=epochs, threads=threads)


def _evaluated(
    options: ReproduceOptions, test: Split, seconds: dict[str, float]
) -> tuple[list[Row], list[tuple[str, str, str, Sequence[Any]]]]:
    """The rows of the recommenders and their mean users, and what `beside_published` asks for."""
    from tqdm.auto import tqdm

    from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

    rows: list[Row] = []
    beside: list[tuple[str, str, str, Sequence[Any]]] = []
    for label, members in tqdm(options.by_row.items(), desc="evaluation", unit="row"):
        folders = [options.folder / "models" / spec.label / "model" for spec in members]
        models = [RecLMRecommender.from_pretrained(folder) for folder in folders]
        taken = float(np.mean([seconds[spec.label] for spec in members]))
        rows += seed_rows(models, label, test, taken, settings=RANKED)
        beside.append((label, members[0].backbone, members[0].profile_mode, rows[-2].evaluations))
    return rows, beside


def _pairs(options: ReproduceOptions, floors: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Augmented against base, and every row against its mean user and train-day popularity."""
    rows = options.by_row
    base = {members[0].backbone: label for label, members in rows.items() if members[0].profile_mode == "none"}
    pairs = {
        "augmented against base": [
            (label, base[members[0].backbone]) for label, members in rows.items() if members[0].profile_mode != "none"
        ],
        "against the mean user": [(label, f"{label} (mean user)") for label in rows],
        "against popularity": [(label, "popularity") for label in rows if "popularity" in floors],
    }
    return {family: members for family, members in pairs.items() if members}


def _notes(options: ReproduceOptions, strange: str, described: str) -> list[str]:
    notes = [
        f"Preset `{PRESET}`: the authors' settings (learning rate 1e-3, batches of 4096), {options.epochs} epochs, the "
        "last one; nothing was chosen, and validation served the floors only.",
        strange or "`published.md` puts the paper's figures beside these.",
    ]
    if options.profiles is not None:
        notes.append(
            f"Taken from {options.profiles.name} as they are: {described}; the others have none. They name no "
            "evidence, so that no leak certificate can be given."
        )
    return notes


def _page(folder: Path, notes: Sequence[str]) -> dict[str, str]:
    """`report.html`, with the losses of every recommender."""
    from reclm_hf.report.curves import read_curves
    from reclm_hf.report.extras import gather
    from reclm_hf.report.page import write_html

    return {"page": str(write_html(folder, gather(notes, curves=partial(read_curves, folder / "models"))))}
