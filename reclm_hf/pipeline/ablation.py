"""The ablation (RecLM section 6.4, figure 2): stage of tuning -> profiles -> recommender -> one table with intervals.

Every step keeps what it finished: profiles by shard, each recommender in its own folder. A stage that is tuned later
adds its rows; a finished ablation is not computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.bundled import bundled_names, bundled_profiles
from reclm_hf.data.folder import file_sha256, write_json, write_text
from reclm_hf.data.hub_tables import profiles_beside
from reclm_hf.data.load import load_splits
from reclm_hf.data.profile_tables import read_profiles
from reclm_hf.data.splits import Splits
from reclm_hf.data.tables import PROFILE_COLUMNS, TableError, write_parquet
from reclm_hf.profiles.instructions import neighbor_rows
from reclm_hf.profiles.shards import ShardStore
from reclm_hf.tuning.held_out import draw_users, read_users, write_users
from reclm_hf.tuning.measures.compare import Measured
from reclm_hf.tuning.measures.measures import Reference, measure_profiles
from reclm_hf.tuning.measures.stage import MANIFEST as MEASURED_MANIFEST
from reclm_hf.tuning.measures.stage import SHARDS as MEASURED_SHARDS
from reclm_hf.tuning.measures.stage import load_measured

from .ablation_options import AblationOptions
from .ablation_profiles import Stage, StageProfiles, find_stages, tuned_on_measured, write_stage_profiles
from .ablation_recommender import AblationPlan, evaluate_stages, restrict_users, train_stages
from .ablation_report import (
    ABLATION_COLUMNS,
    MEASURES,
    PROFILES,
    ablation_table,
    cost_lines,
    families_note,
    measure_lines,
    recommender_lines,
    render_ablation,
)
from .case_study import CASE_COLUMNS, case_section, case_study, case_table
from .model_stage import Inputs
from .profile_stage import USER_TABLE
from .texts import encode_items, encode_profiles

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

USERS_FILE, MANIFEST, TABLE = "users.txt", "manifest.json", "ablation.parquet"
_CUTS = ("validation", "test")


def run_ablation(
    options: AblationOptions, say: Callable[[str], None], encoder: Any = None, threads: int = 1
) -> dict[str, Any]:
    """Run, resume or add to an ablation.

    Args:
        say: receives the lines that a person should read. encoder: of the texts; None: the usual one.
        threads: of each process that trains; no key of a recipe, since they are the machine's.

    Returns:
        The manifest: what was compared, on whom, where the files are, what it found.

    Raises:
        ValueError, TableError: the folder belongs to another ablation, a recipe does not fit its data.
    """
    folder = Path(options.output)
    splits = load_splits(options.data)
    known = {name: _profiles(options, name) for name in _CUTS}
    near = {name: neighbor_rows(known[name], getattr(splits, name)) for name in _CUTS}
    rows = _users(options, splits, near["validation"], folder)
    users = [str(splits.data.user_ids[row]) for row in rows]
    stages, absent = find_stages(
        options.model, options.revision, options.stages, options.users or str(folder / USERS_FILE)
    )
    for line in absent:
        say(line)
    plan = options.plan(stages)
    key = _key(options, splits, users, stages)
    done = _finished(folder, key, plan)
    if done is not None:
        say(f"{folder} is finished: nothing is left to compute.")
        return done
    _claim(folder, key)
    measured = _read_measures(options.measures, plan.stages)  # refused before anything is computed
    if encoder is None:
        from reclm_hf.recommender.text_encoder import TextEncoder

        encoder = TextEncoder()
    item_vectors = encode_items(splits.data, encoder)
    written = {}
    for stage in stages:
        say(f"{stage.name}: profiles of {len(users)} users as of both cuts, by {stage.source}")
        before = with_measured(known, options.measures.get(stage.name), splits)
        written[stage.name] = write_stage_profiles(
            stage, splits, users, near, folder / "profiles", options.batch_size, before
        )
    small = restrict_users(splits, users)
    inputs = {
        name: Inputs(
            small,
            item_vectors,
            {cut: encode_profiles(found.tables[cut], small.data.user_ids, encoder) for cut in _CUTS},
            encoder,
        )
        for name, found in written.items()
    }
    whole = plan.trained(folder / "models")
    seconds = _train(plan, inputs, folder / "models", options.jobs, threads)
    # The test period is opened here, when every choice is made.
    results, comparisons, opened = evaluate_stages(
        plan, inputs[plan.stages[0]], folder, seconds, seed=options.seed, trained=not whole
    )
    own = _measured(written, splits, rows, near["validation"], item_vectors, encoder)
    lines = recommender_lines(plan, results, comparisons)
    lines += measure_lines(PROFILES, own) + measured
    lines += cost_lines(stages, written, seconds, options.reward)
    table = ablation_table(lines)
    write_parquet(table, folder / TABLE, ABLATION_COLUMNS)
    cases = _cases(own, written, splits, users, options, folder)
    notes = [
        *_notes(splits, small, options),
        families_note(plan),
        *tuned_on_measured(stages, options.users or folder / USERS_FILE),
    ]
    head = [_head(splits, small, users, plan)]
    write_text(render_ablation(table, plan, head=head, left_out=absent, notes=notes, cases=cases), folder / "report.md")
    return _write_manifest(folder, key, options, opened, comparisons)


def _profiles(options: AblationOptions, cut: str) -> pd.DataFrame:
    if options.profiles:
        return read_profiles(profiles_beside(options.profiles, cut, "user"))
    if options.data in bundled_names():
        return bundled_profiles(options.data, cut)
    if (beside := profiles_beside(options.data, cut, "user")).is_file():
        return read_profiles(beside)
    raise TableError(
        f"{options.data} comes without profiles, and their tables name the neighbours: run `reclm profiles build "
        f"{options.data}` and give its folder as `profiles`."
    )


def with_measured(known: Mapping[str, pd.DataFrame], measured: str | None, splits: Splits) -> dict[str, pd.DataFrame]:
    """`known` with the profiles that `reclm measure` had the same stage write, which are as of the validation cut."""
    import pandas as pd

    if measured is None:
        return dict(known)
    rows = ShardStore(Path(measured) / MEASURED_SHARDS, PROFILE_COLUMNS, splits.validation.cut).rows()
    if not rows:
        return dict(known)
    return {**known, "validation": pd.concat([known["validation"], pd.DataFrame(rows.values())], ignore_index=True)}


def _users(options: AblationOptions, splits: Splits, near: np.ndarray, folder: Path) -> np.ndarray:
    """Rows of the users that are measured: of the given file, else drawn once and kept in the folder."""
    path = Path(options.users) if options.users else folder / USERS_FILE
    if options.users and not path.is_file():
        raise TableError(
            f"{path}: there is no such file. Give the one that the stages were tuned without (`--without-users`), or "
            "leave `users` out to draw some. `reclm measure --users-only` writes such a file."
        )
    if not path.is_file():
        write_users(splits.validation, draw_users(splits.validation, near, options.n_users, options.seed), path)
    rows = read_users(splits.validation, path)
    silent = np.setdiff1d(rows, splits.validation.history_user)
    if len(silent):
        raise TableError(
            f"{path}: {len(silent)} users have no history before the validation cut, first "
            f"{splits.data.user_ids[silent[0]]!r}: leave them out."
        )
    return rows


def _key(options: AblationOptions, splits: Splits, users: Sequence[str], stages: Sequence[Stage]) -> dict[str, Any]:
    measures = {
        name: [file_sha256(path) for path in sorted(Path(place).glob("*.parquet"))]
        for name, place in options.measures.items()
    }
    return {
        "fingerprint": splits.fingerprint,
        "users": hashlib.sha256("\n".join(users).encode()).hexdigest(),
        "recommenders": list(options.recommenders),
        "seeds": list(options.seeds),
        "floors": list(options.floors),
        "seed": options.seed,
        "cases": options.cases,
        "stages": {stage.name: stage.signature() for stage in stages},
        "measures": measures,
    }


def _finished(folder: Path, key: Mapping[str, Any], plan: AblationPlan) -> dict[str, Any] | None:
    path = folder / MANIFEST
    files = [TABLE, "report.md", "recommenders/results.parquet"]
    files += [f"profiles/{stage}/{cut}/{USER_TABLE}" for stage in plan.stages for cut in _CUTS]
    whole = all((folder / name).is_file() for name in files)
    if not path.is_file() or not whole or not plan.trained(folder / "models"):
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found if found["key"] == dict(key) else None


def _claim(folder: Path, key: Mapping[str, Any]) -> None:
    """Note whose folder it is: other data or users would be another table. Stages and models may be added."""
    path, now = folder / "ablation.json", {name: key[name] for name in ("fingerprint", "users")}
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != now:
        raise ValueError(f"{folder} holds an ablation of other data or users: choose another output, or delete it.")
    write_json(now, path)


def _train(
    plan: AblationPlan, inputs: Mapping[str, Inputs], folder: Path, jobs: int, threads: int
) -> dict[tuple[str, str], float]:
    from tqdm.auto import tqdm

    with tqdm(total=sum(len(plan.specs(group)) for group in plan.groups), desc="recommenders", unit="model") as bar:
        return train_stages(plan, inputs, folder, jobs, on_done=lambda spec: bar.update(), threads=threads)


def _measured(
    written: Mapping[str, StageProfiles],
    splits: Splits,
    rows: np.ndarray,
    near: np.ndarray,
    item_vectors: np.ndarray,
    encoder: Any,
) -> dict[str, Measured]:
    """Stage -> measures of the profiles as of the validation cut, by user in the order of `rows`."""
    import pandas as pd

    ids = [str(splits.data.user_ids[row]) for row in rows]
    tables = {name: found.tables["validation"].set_index("user_id").loc[ids] for name, found in written.items()}
    # One measure for all stages: what the plain model's interests have in common is taken from everybody's.
    basis = next(iter(tables.values()))
    reference = Reference.of(splits.validation, item_vectors, basis, near, encoder)
    return {
        name: Measured(
            name,
            pd.DataFrame({"user_id": ids, **measure_profiles(table["profile"].fillna("").tolist(), rows, reference)}),
        )
        for name, table in tables.items()
    }


def _read_measures(folders: Mapping[str, str], stages: Sequence[str]) -> list[dict[str, Any]]:
    """What `reclm measure` found of the stages, where it is finished, as lines of the long table.

    Raises:
        TableError: stages were measured on different users or questions.
    """
    found = {}
    for stage in stages:
        if stage in folders and (Path(folders[stage]) / MEASURED_MANIFEST).is_file():
            found[stage] = replace(load_measured(folders[stage]), stage=stage)
    return measure_lines(MEASURES, found)


def _cases(
    measured: Mapping[str, Measured],
    written: Mapping[str, StageProfiles],
    splits: Splits,
    users: Sequence[str],
    options: AblationOptions,
    folder: Path,
) -> str:
    if len(written) < 2 or not options.cases:
        return ""
    tables = {name: found.tables["validation"] for name, found in written.items()}
    values = {name: found.users["over_smoothing"].to_numpy() for name, found in measured.items()}
    cases = case_study(tables, values, users, splits.validation, splits.data.items, n=options.cases, seed=options.seed)
    write_json({"cut": "validation", "seed": options.seed, "cases": cases}, folder / "case_study.json")
    write_parquet(case_table(cases), folder / "case_study.parquet", CASE_COLUMNS)
    return case_section(cases, "validation", options.seed)


def _head(splits: Splits, small: Splits, users: Sequence[str], plan: AblationPlan) -> str:
    return (
        f"{len(users)} of the {splits.data.n_users:,} users of {splits.data.name} ({len(small.data.user):,} of "
        f"{len(splits.data.user):,} interactions), and nobody else, are what these recommenders are trained and tested "
        f"on: figures are lower than on the whole data and are to be compared with one another only. Stages: "
        f"{', '.join(plan.stages)}; seeds: {', '.join(map(str, plan.seeds))}. Fingerprint `{small.fingerprint}`."
    )


def _notes(splits: Splits, small: Splits, options: AblationOptions) -> list[str]:
    left = len(np.flatnonzero(np.isin(splits.data.user_ids[splits.test.target_user], small.data.user_ids)))
    return [
        "Profiles were written as of each cut by the stage's own profiler in its own form, from the histories of the "
        "user and of neighbours in the whole data.",
        f"New items are new for everybody: {left - len(small.test.target_user):,} of {left:,} test targets are left "
        "out, because others had chosen the item before the cut, but nobody of the subset had.",
        "Epochs, the level of cold items and the floors were chosen on the validation period, profiles as of its cut; "
        "the test period was opened after one refit.",
        f"Users: {'of the file that tuning was told to leave out' if options.users else f'drawn here ({USERS_FILE})'}.",
        "Profiles that had been written before by the same model, prompt and history are taken over; their seconds are "
        "not counted again.",
    ]


def _write_manifest(
    folder: Path,
    key: Mapping[str, Any],
    options: AblationOptions,
    opened: Sequence[Sequence[str]],
    comparisons: pd.DataFrame,
) -> dict[str, Any]:
    from reclm_hf import __version__

    manifest = {
        "reclm_hf": __version__,
        "key": dict(key),
        "options": {name: _nameless(value) for name, value in asdict(options).items() if name != "output"},
        # Every time that somebody looked at the test targets, and of which stages.
        "test_opened": [list(stages) for stages in opened],
        "verdicts": {str(word): int(count) for word, count in comparisons["verdict"].value_counts().items()},
    }
    write_json(manifest, folder / MANIFEST)
    return manifest


def _nameless(value: Any) -> Any:
    """Places on this machine by their last part."""
    if isinstance(value, Mapping):
        return {name: _nameless(entry) for name, entry in value.items()}
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~", "..")) else value
