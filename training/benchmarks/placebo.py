"""Is it the profile's content? Profiles of items and users beside the metadata, against placebos in their place.

    export RECLM_SHARED_DATA=FOLDER
    python training/benchmarks/placebo.py ml-1m
    python training/benchmarks/placebo.py movietweetings [--profiles FOLDER]      (FOLDER with item_profiles.parquet)
    python training/benchmarks/placebo.py online-retail ml-100k       (after placebo_profiles.py wrote their profiles)
    python training/benchmarks/placebo.py --report                    (the tables of all that was measured before)

Setting: cold items only (zero-shot), all of them ranked, recall@20 and NDCG@20. The recommenders are closed forms (see
`placebo_scores`), so that nothing is trained on profiles; settings are chosen on validation with the metadata alone.
Rows go to training/results/placebo-NAME.parquet. Holm's correction is over all data sets and recommenders there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placebo_data import DATA_SETS, MAX_LENGTH, AbsentError, Problem, Vectors, embed, load
from placebo_scores import METRICS, RECOMMENDERS, UNPERSONAL, WEIGHTS, label, rows_of, side_name
from placebo_statistics import difference_lines, judge, pool, value_lines
from placebo_vectors import ITEM_VARIANTS

from reclm_hf.data.tables import read_parquet, write_parquet
from reclm_hf.evaluation.report_format import bracket, markdown_table
from reclm_hf.evaluation.statistics import DRAWS

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path(__file__).parents[1] / "results"
ASKED = {
    "item": ("none", "constant", "shuffled", "neighbour", "raw_text", "joined"),
    "user": ("none", "constant", "shuffled", "neighbour", "raw_text"),
}
"""What `llm` is compared with; these are the lines of a family."""
USERS = 1500


def pairs_of(sides: list[str]) -> list[tuple[str, str, bool]]:
    """(a, b, asked) of every comparison; those not asked describe: another weight, the profile on its own."""
    pairs = []
    for side in sides:
        for weight in WEIGHTS if side == "user" else WEIGHTS[:1]:
            name, asked = side_name(side, weight), weight == WEIGHTS[0]
            for recommender in RECOMMENDERS:
                own = label(name, recommender, "llm")
                pairs += [(own, label(name, recommender, other), asked) for other in ASKED[side]]
        for recommender in RECOMMENDERS if side == "item" else RECOMMENDERS[:1]:
            alone, dealt = (label(side, recommender, variant) for variant in ("alone", "alone_shuffled"))
            pairs.append((alone, dealt, False))
        pairs += [(label(side, name, "shuffled"), label(side, name, "none"), False) for name in RECOMMENDERS]
    return pairs


def measure(problem: Problem, vectors: Vectors, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """Values and differences of one data set; see `pairs_of` for `asked`."""
    import pandas as pd

    start = time.process_time()
    chosen, folds = [], []
    for fold in problem.folds:
        settings, rows = rows_of(problem, fold, vectors)
        chosen.append(
            {
                "scores": settings.floor,
                **settings.params,
                "map_ridge": settings.ridge,
                "validation_recall": round(settings.recall, 4),
                "tried": settings.tried,
            }
        )
        folds.append(rows)
    present = {"item": vectors.item_profiles, "user": vectors.user_profiles}
    pairs = pairs_of([side for side, profiles in present.items() if profiles is not None])
    pooled = pool(folds, draws, seed)
    lines = value_lines(folds[0], pooled)
    lines += difference_lines(folds[0], [(a, b) for a, b, _ in pairs], pooled, draws, seed)
    asked = {(a, b) for a, b, is_asked in pairs if is_asked}
    table = pd.DataFrame(lines)
    table.insert(0, "dataset", problem.name)
    table["asked"] = [(a, b) in asked for a, b in zip(table["a"], table["b"], strict=True)]
    shared = {
        "fingerprint": problem.fingerprint,
        "note": problem.note,
        "settings": json.dumps(chosen),
        "n_users": pooled.sample.n_users,
        "n_items": pooled.sample.n_items,
        "n_targets": pooled.n_targets,
        "n_candidates": pooled.n_candidates,
        "draws": draws,
        "seed": seed,
        "cpu_seconds": time.process_time() - start,
    }
    return table.assign(**shared)


def collect(folder: Path) -> pd.DataFrame:
    """Everything that was measured before.

    Raises:
        AbsentError: nothing was.
    """
    import pandas as pd

    files = sorted(folder.glob("placebo-*.parquet"))
    if not files:
        raise AbsentError(f"{folder}: holds no placebo-*.parquet yet; name a data set to measure it.")
    table = pd.concat([read_parquet(path) for path in files], ignore_index=True)
    # Another number of users is the same question asked again.
    table["asked"] &= table["dataset"].isin(DATA_SETS)
    return table


def report(table: pd.DataFrame) -> str:
    """Markdown: what was measured, values, differences."""
    parts = []
    for name, rows in table.groupby("dataset", sort=False):
        first = rows.iloc[0]
        parts.append(
            f"- {name}: {first['note']}. {first['n_users']:,} users, {first['n_targets']:,} targets on "
            f"{first['n_items']:,} items; {first['cpu_seconds']:.0f} s of CPU. Settings, from validation with the "
            f"metadata alone: {_settings(first['settings'])}."
        )
    judged = judge(table)
    for metric in METRICS:
        parts += [f"\n### {metric} on cold items\n", _values(table[table["metric"] == metric])]
        parts += [f"### {metric}, differences\n", _differences(judged[judged["metric"] == metric])]
    return "\n".join(parts)


def _settings(text: str) -> str:
    folds = []
    for entry in json.loads(text):
        params = " ".join(f"{name} {entry[name]:g}" for name in ("k", "shrink", "ridge") if name in entry)
        folds.append(f"{entry['scores']} {params}, lambda {entry['map_ridge']:g} ({entry['validation_recall']:.3f})")
    return "; ".join(folds)


def _values(table: pd.DataFrame) -> str:
    values = table[table["kind"] == "value"]
    random = values[values["a"] == UNPERSONAL].set_index("dataset")["value"]
    named = values[values["a"] != UNPERSONAL].copy()
    named[["side", "recommender", "variant"]] = named["a"].str.split("/", expand=True)
    lines = [["data", "side", "recommender", UNPERSONAL, *ITEM_VARIANTS]]
    for key, rows in named.groupby(["dataset", "side", "recommender"], sort=False):
        found = dict(zip(rows["variant"], rows["value"], strict=True))
        cells = [f"{found[variant]:.4f}" if variant in found else "-" for variant in ITEM_VARIANTS]
        lines.append([*map(str, key), f"{random[key[0]]:.4f}", *cells])
    return markdown_table(lines)


def _differences(table: pd.DataFrame) -> str:
    lines = [
        ["data", "side", "recommender", "a - b", "difference, wider 95 %", "over", "by fold", "MDE", "p (Holm)", ""]
    ]
    for line in table.to_dict("records"):
        side, recommender, variant = line["a"].split("/")
        adjusted = f"{line['p_holm']:.4f}" if line["asked"] else f"({line['p']:.4f})"
        folds = " ".join(f"{value:+.3f}" for value in line["by_fold"]) if len(line["by_fold"]) > 1 else ""
        lines.append(
            [
                line["dataset"],
                side,
                recommender,
                f"{variant} - {line['b'].split('/')[2]}",
                f"{line['value']:+.4f} {bracket(line, '+.4f')}",
                line["interval"],
                folds,
                f"{line['minimal_detectable_effect']:.4f}",
                adjusted,
                line["verdict"],
            ]
        )
    return markdown_table(lines)


def run(args: argparse.Namespace) -> list[str]:
    """Measure what was named, write its rows; returns why data sets were skipped."""
    from reclm_hf.recommender.text_encoder import TextEncoder

    skipped = []
    for name in args.data:
        try:
            problem = load(name, args.shared, args.profiles, args.users)
        except AbsentError as error:
            skipped.append(str(error))
            continue
        vectors = embed(problem, TextEncoder(max_length=MAX_LENGTH))
        write_parquet(measure(problem, vectors, seed=args.seed), args.results / f"placebo-{problem.name}.parquet")
    return skipped


def main() -> int:
    """Parse the arguments, measure, print everything in the results folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="DATA", help=f"of {', '.join(DATA_SETS)}; none: all of them")
    shared = os.environ.get("RECLM_SHARED_DATA")
    parser.add_argument("--shared", type=Path, default=shared and Path(shared), help="default: $RECLM_SHARED_DATA")
    parser.add_argument(
        "--profiles", type=Path, metavar="FOLDER", help="tables of profiles; for one data set at a time"
    )
    parser.add_argument("--users", type=int, default=USERS, help="test users drawn for ml-1m; default %(default)s")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0, help="of bootstrap and sign flips")
    parser.add_argument("--report", action="store_true", help="measure nothing, show what is in the results folder")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    args = parser.parse_args()
    unknown = set(args.data) - set(DATA_SETS)
    if unknown:
        parser.error(f"unknown data {', '.join(sorted(unknown))}: choose of {', '.join(DATA_SETS)}")
    if args.profiles and len(args.data) != 1:
        parser.error("--profiles is of one data set: name it")
    args.data = args.data or list(DATA_SETS)
    skipped = [] if args.report else run(args)
    try:
        table = collect(args.results)
    except AbsentError as error:
        print("\n".join([*skipped, str(error)]), file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(_content(table, skipped), indent=2))
    else:
        print("\n".join([*(f"skipped: {reason}" for reason in skipped), report(table)]))
    return 0


def _content(table: pd.DataFrame, skipped: list[str]) -> dict[str, Any]:
    parts = {"values": table[table["kind"] == "value"], "differences": judge(table)}
    return {name: json.loads(part.to_json(orient="records")) for name, part in parts.items()} | {"skipped": skipped}


if __name__ == "__main__":
    raise SystemExit(main())
