"""One later day: profiles as of the day before the test cut, brought up to the cut, and what that is worth.

    python training/benchmarks/later_day.py --output runs/later-day          (about 400 profiles are written)
    python training/benchmarks/later_day.py --output runs/later-day --json

Bundled data. State A is everything before T0, one day before the test cut; state B everything before T1, the cut. The
table as of T0 is made of the reference table's rows of users without interactions on that day, and of rows written
here, as of T0, for the others. (Their own history being the same at both times, the reference's rows are what an
update keeps; of the day they know at most what a neighbour chose.) Then `update_profiles` brings it up to T1. Counted
and timed are its rows kept and written; items are left out.

Everything is evaluated on the interactions after T1 with what was seen before T1 masked, once, with settings from the
validation split or fixed beforehand. Rows, for each of three recommenders that need no training for a new profile:

- yesterday: state A, profiles as of T0. histories: state B, the same profiles. updated: state B, updated profiles.
- anew: state B, the reference table, where every profile is written as of T1. none: state B without profiles.

`cosine` compares items with the sum of a user's history vector and profile vector; `mix` is the floors' mix with that
sum in the place of its text cosine (refitted on each state, settings chosen on validation without profiles); `model` is
a `bias_mf` of preset `floor_residual`, trained on state A with the profiles as of T0, into which users are folded by
their histories and profiles: it is not trained again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from later_day_scores import STAGES, Day, model_of_yesterday, scorers

from reclm_hf.baselines.mix import COLLABORATIVE, COSINE, POPULARITY, TEXT_POPULARITY, Mix
from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.data.splits import Splits
from reclm_hf.data.tables import PROFILE_COLUMNS, read_parquet, write_parquet
from reclm_hf.evaluation import Row, comparisons_table, evaluate, results_table
from reclm_hf.evaluation.report_format import bracket, interval_cell, markdown_table
from reclm_hf.pipeline.floor_stage import fit_floors
from reclm_hf.pipeline.model_stage import Inputs
from reclm_hf.pipeline.profile_stage import SHARDS, USER_TABLE
from reclm_hf.pipeline.profile_update import Change, update_profiles
from reclm_hf.pipeline.texts import encode_items, encode_profiles, neighbor_vectors
from reclm_hf.profiles.engine_transformers import TransformersEngine
from reclm_hf.profiles.engines import DEFAULT_MODEL, Engine, GeneratedProfile, ProfileRequest
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.neighbors import find_neighbors
from reclm_hf.profiles.prompts import PROMPT_VERSION
from reclm_hf.recommender.text_encoder import TextEncoder

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path(__file__).parents[1] / "results" / "later_day.parquet"
ASKED = (("histories", "yesterday"), ("updated", "histories"), ("updated", "yesterday"), ("updated", "anew"))
PARTS = (*COLLABORATIVE, POPULARITY, COSINE, TEXT_POPULARITY)
METRIC = "recall@20"
SETTINGS = ("catalogue", "zero_shot")


class Timed:
    """An engine that counts what it was asked to write, and how long that took."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.generator = engine, engine.generator
        self.profiles, self.seconds, self.cpu_seconds = 0, 0.0, 0.0

    def generate(self, requests: Sequence[ProfileRequest]) -> list[GeneratedProfile]:
        """As the engine does."""
        started, cpu = time.perf_counter(), time.process_time()
        written = self.engine.generate(requests)
        self.profiles += len(requests)
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += time.process_time() - cpu
        return written


def table_of_yesterday(
    day: Day, splits: Splits, vectors: np.ndarray, reference: pd.DataFrame, engine: Engine, folder: Path
) -> pd.DataFrame:
    """The profiles as of T0: the reference's where a user's own history is the same at T1, else written. Resumable.

    Raises:
        ValueError: the reference was written by another model or from another prompt, so that nothing would be kept.
    """
    import pandas as pd

    written_by = set(zip(reference["generator"], reference["prompt_version"], strict=True))
    if written_by != {(engine.generator, PROMPT_VERSION)}:
        raise ValueError(
            f"the reference table is of {sorted(written_by)}, not of {(engine.generator, PROMPT_VERSION)}: an update "
            "would write all of it again. Give the table that this model wrote (`reclm profiles build`)."
        )
    near = find_neighbors(neighbor_vectors(splits.data, day.before, vectors))
    users = np.setdiff1d(day.changed, day.new)
    written = generate_user_profiles(
        day.before, splits.data.items, near.rows, engine, folder / SHARDS, users=users, neighbors_by=near.by
    )
    changed = set(day.before.user_ids[day.changed].tolist())
    table = pd.concat([reference[~reference["user_id"].isin(changed)], written], ignore_index=True)
    write_parquet(table, folder / USER_TABLE, PROFILE_COLUMNS)
    return table


def updated_table(
    day: Day, splits: Splits, vectors: np.ndarray, yesterday: pd.DataFrame, engine: Engine, folder: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The profiles after `update_profiles`, and its rows and seconds; a finished update is read, not timed again."""
    facts = folder / "update.json"
    if not facts.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # a killed update would be timed from its middle
        write_parquet(yesterday, folder / USER_TABLE, PROFILE_COLUMNS)
        timed = Timed(engine)
        change = update_profiles(splits.data, day.after, vectors, timed, folder)["users"]
        found = {**asdict(change), "written_share": change.written_share, **_writing(timed, change, yesterday, folder)}
        facts.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return read_parquet(folder / USER_TABLE), json.loads(facts.read_text(encoding="utf-8"))


def _writing(timed: Timed, change: Change, yesterday: pd.DataFrame, folder: Path) -> dict[str, Any]:
    after = read_parquet(folder / USER_TABLE)
    old = dict(zip(yesterday["user_id"], yesterday["profile"], strict=True))
    new_texts = sum(old.get(user, text) != text for user, text in zip(after["user_id"], after["profile"], strict=True))
    return {
        "written": timed.profiles,
        "writing_seconds": timed.seconds,
        "writing_cpu_seconds": timed.cpu_seconds,
        "other_texts": new_texts,
        # At the rate of this very update; nothing was written for it.
        "all_anew_seconds_estimated": timed.seconds / max(timed.profiles, 1) * len(after),
    }


def measure(
    splits: Splits,
    reference: pd.DataFrame,
    validation_profiles: pd.DataFrame,
    engine: Engine,
    encoder: Any,
    folder: Path,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Values, differences, and the facts of the update.

    Args:
        reference: `user_profiles` as of the test cut, by the same engine. validation_profiles: as of validation.
        folder: of profiles and floors, so that a second call goes on.
    """
    day = Day.before_test(splits)
    vectors = encode_items(splits.data, encoder)
    yesterday = table_of_yesterday(day, splits, vectors, reference, engine, folder / "yesterday")
    updated, facts = updated_table(day, splits, vectors, yesterday, engine, folder / "updated")
    tables = {"yesterday": yesterday, "updated": updated, "anew": reference}
    ids = splits.data.user_ids
    profiles = {name: encode_profiles(table, ids, encoder) for name, table in tables.items()}
    floors = fit_floors(Inputs(splits, vectors, {}), folder / "floors", (*PARTS, Mix.name))
    mix = floors[Mix.name]
    assert isinstance(mix, Mix)
    chosen_with = encode_profiles(validation_profiles, ids, encoder)
    model = model_of_yesterday(day, splits, vectors, chosen_with, profiles["yesterday"])
    kept = np.isin(day.test.target_user, day.changed)
    scopes = {
        "all users": day.test,
        "users of the day": replace(
            day.test, target_user=day.test.target_user[kept], target_item=day.test.target_item[kept]
        ),
    }
    found: dict[str, list[Row]] = {scope: [] for scope in scopes}
    for label, scorer in scorers(day, vectors, profiles, mix, model):
        for scope, split in scopes.items():
            found[scope].append(Row(label, "model", [evaluate(scorer, split, ks=(20,))]))
    facts |= {"users_of_the_day": len(day.changed), "new_users": len(day.new)}
    facts["interactions_of_the_day"] = len(day.after.history_user) - len(day.before.history_user)
    facts["users_of_the_day_in_test"] = int(np.isin(day.changed, day.test.target_user).sum())
    return *_tables(found, splits), facts


def _tables(found: dict[str, list[Row]], splits: Splits) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    name, fingerprint = splits.data.name, splits.fingerprint
    recommenders = dict.fromkeys(row.label.partition("/")[0] for rows in found.values() for row in rows)
    pairs = {f"{a} - {b}": [(f"{one}/{a}", f"{one}/{b}") for one in recommenders] for a, b in ASKED}
    values, compared = [], []
    for scope, rows in found.items():
        values.append(results_table(rows, dataset=name, fingerprint=fingerprint, metrics=(METRIC,)).assign(scope=scope))
        differences = comparisons_table(rows, pairs, dataset=name, fingerprint=fingerprint, metrics=(METRIC,))
        compared.append(differences.assign(scope=scope))
    return pd.concat(values, ignore_index=True), pd.concat(compared, ignore_index=True)


def report(values: pd.DataFrame, differences: pd.DataFrame, facts: dict[str, Any]) -> str:
    """Markdown: the update, recall@20, differences."""
    rows = facts["kept"] + facts["rewritten"] + facts["new"]
    parts = [
        f"{facts['interactions_of_the_day']} interactions of {facts['users_of_the_day']} users on the day "
        f"({facts['new_users']} of them new). {facts['kept']} of {rows} rows reused ({facts['kept'] / rows:.1%}), "
        f"{facts['rewritten']} written again, {facts['new']} new, in {facts['seconds']:.0f} s, of which "
        f"{facts['writing_seconds']:.0f} s writing ({facts['writing_cpu_seconds']:.0f} s of CPU); the rest is "
        f"neighbours and the certificate. All rows anew at this rate: {facts['all_anew_seconds_estimated']:.0f} s "
        f"(estimated). {facts['other_texts']} texts differ from the day before.\n"
    ]
    whole = values[values["setting"].isin(SETTINGS)]
    for (scope, setting), lines in whole.groupby(["scope", "setting"], sort=False):
        head = f"### {METRIC}, {setting}, {scope} ({lines['n_users'].iloc[0]}, {lines['n_targets'].iloc[0]} targets)\n"
        cells = {line["row"]: interval_cell(line) for line in lines.to_dict("records")}
        names = dict.fromkeys(label.partition("/")[0] for label in cells)
        table = [["recommender", *STAGES], *([name, *(cells[f"{name}/{stage}"] for stage in STAGES)] for name in names)]
        parts += [head, markdown_table(table)]
        chosen = differences[(differences["scope"] == scope) & (differences["setting"] == setting)]
        compared = [["difference", "", "p (Holm)", "verdict"]]
        for line in chosen.to_dict("records"):
            value = f"{line['difference']:+.4f} {bracket(line, '+.4f')}".strip()
            compared.append([f"{line['a']} - {line['b']}", value, f"{line['p_holm']:.3f}", line["verdict"]])
        parts.append(markdown_table(compared))
    return "\n".join(parts)


def main() -> None:
    """Write, measure, print, and keep the rows."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/later-day"), help="profiles and floors (%(default)s)")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="profiles as of the test cut; default: shipped")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="that wrote the reference (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    args = parser.parse_args()
    reference = bundled_profiles() if args.reference is None else read_parquet(args.reference)
    engine = TransformersEngine.from_model_id(args.model, batch_size=args.batch_size)
    validation = bundled_profiles(which="validation")
    found = measure(bundled_splits(), reference, validation, engine, TextEncoder(), args.output)
    values, differences, facts = found
    lines = pd.concat([values.assign(kind="value"), differences.assign(kind="difference")], ignore_index=True)
    write_parquet(lines.assign(update=json.dumps(facts)), RESULTS)
    if args.json:
        tables = {"values": values.to_dict("records"), "differences": differences.to_dict("records")}
        print(json.dumps({"update": facts, **tables}, indent=2, default=str))
        return
    print(report(values, differences, facts))


if __name__ == "__main__":
    main()
