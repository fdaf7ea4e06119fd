"""Write the data and the profiles that the placebo table needs: Online Retail (a sample) and MovieLens 100K with plots.

    export RECLM_SHARED_DATA=FOLDER
    python training/benchmarks/placebo_profiles.py online-retail
    python training/benchmarks/placebo_profiles.py ml-100k
    python training/benchmarks/placebo_profiles.py ml-100k --prepare     (the data alone, seconds)

Into runs/placebo/NAME: `data` (the two tables), profiles of all users and of the items with five interactions or more
as of a split that holds out 20 % of the items, then profiles of the items held out. It takes hours on two cores; the
same command goes on where it was cut off. `placebo.py NAME` measures.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.folder import read_dataset, write_dataset
from reclm_hf.data.importers.movielens import read_movielens
from reclm_hf.data.importers.online_retail import read_online_retail
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import item_split
from reclm_hf.pipeline.manifest import profile_summary
from reclm_hf.pipeline.profile_stage import write_item_profiles, write_profiles
from reclm_hf.pipeline.texts import encode_items
from reclm_hf.profiles.engines import DEFAULT_MODEL
from reclm_hf.profiles.prompts import PromptStyle

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_USERS, LEAST_ITEMS = 1_000, 5
STYLES = {"online-retail": PromptStyle(), "ml-100k": PromptStyle(columns=("title", "categories", "text"))}
# Plots come from a film encyclopaedia whose links are marked like this: _GoldenEye_ (qv), 'Tim Roth' (qv).
_LINK = re.compile(r"(?:_([^_]+)_|'([^']+)') \(qv\)")


def online_retail(shared: Path, n_users: int = SAMPLE_USERS) -> tuple[Interactions, dict[str, Any]]:
    """Customers with at least five different articles, `n_users` of them drawn by seed, and what they bought."""
    raw = read_online_retail(shared / "online-retail" / "online_retail.csv.gz")
    pairs = raw.interactions.drop_duplicates(["user_id", "item_id"])
    counts = pairs["user_id"].value_counts()
    active = np.sort(counts.index[counts >= LEAST_ITEMS].to_numpy(dtype=object))
    drawn = np.random.default_rng(0).permutation(active)[:n_users]
    rule = f"{len(drawn):,} of the {len(active):,} customers with at least {LEAST_ITEMS} articles"
    rows = raw.interactions[raw.interactions["user_id"].isin(drawn)]
    items = raw.items[raw.items["item_id"].isin(rows["item_id"])]
    return Interactions.from_tables(items, rows, "online-retail"), raw.info | {"rule": rule}


def ml_100k(shared: Path) -> tuple[Interactions, dict[str, Any]]:
    """All of MovieLens 100K; the text of a film is its plot, or title and genres where no plot is known."""
    raw = read_movielens(shared / "ml-100k")
    plots = _plots(shared / "ml-100k" / "items_info.json")
    texts = [plots.get(item) or text for item, text in zip(raw.items["item_id"], raw.items["text"], strict=True)]
    known = sum(item in plots for item in raw.items["item_id"])
    rule = f"all users; plots of {known:,} of {len(texts):,} films"
    return Interactions.from_tables(raw.items.assign(text=texts), raw.interactions, "ml-100k"), raw.info | {
        "rule": rule
    }


def _plots(path: Path) -> dict[str, str]:
    films = json.loads(path.read_text(encoding="utf-8"))
    plots = {film["movielens_id"]: plain(film.get("plot") or "") for film in films}
    return {film: plot for film, plot in plots.items() if plot}


def plain(plot: str) -> str:
    """A plot without the marks of its links."""
    return " ".join(_LINK.sub(lambda link: link[1] or link[2], plot).split())


SOURCES = {"online-retail": online_retail, "ml-100k": ml_100k}


def prepare(name: str, shared: Path, folder: Path) -> Interactions:
    """The data in `folder / "data"`, written by the first call."""
    if not (folder / "data" / "dataset.json").is_file():
        data, info = SOURCES[name](shared)
        write_dataset(data, folder / "data", info)
    return read_dataset(folder / "data")[0]


def write(name: str, data: Interactions, folder: Path, engine: Any, encoder: Any) -> list[str]:
    """Both tables of profiles in `folder`, resumable; returns lines that say what was written in which time."""
    split, vectors, style = item_split(data).test, encode_items(data, encoder), STYLES[name]
    start = time.perf_counter()
    users = write_profiles(data, split, vectors, engine, folder, style=style)
    lines = [_line("users", users, time.perf_counter() - start)]
    start = time.perf_counter()
    items = write_item_profiles(data, split, vectors, users, engine, folder, style=style)
    lines.append(_line("items", items, time.perf_counter() - start))
    return lines


def _line(what: str, table: pd.DataFrame, seconds: float) -> str:
    found = profile_summary(table)
    return (
        f"{what}: {found['rows']:,} profiles in {seconds:,.0f} s, {found['well_formed']:.1%} well-formed, "
        f"{found['distinct']:.1%} distinct, {found['tokens_in']:,} tokens in, {found['tokens_out']:,} out"
    )


def main() -> int:
    """Prepare, write, say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=SOURCES)
    shared = os.environ.get("RECLM_SHARED_DATA")
    parser.add_argument("--shared", type=Path, default=shared and Path(shared), help="default: $RECLM_SHARED_DATA")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/placebo/NAME")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--prepare", action="store_true", help="write the data, no profiles")
    args = parser.parse_args()
    if args.shared is None or not args.shared.is_dir():
        parser.error("set RECLM_SHARED_DATA, or give --shared, to the folder with the data sets")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = args.output or Path("runs") / "placebo" / args.data
    data = prepare(args.data, args.shared, folder)
    print(f"{folder}: {data.n_users:,} users, {data.n_items:,} items, {len(data.user):,} interactions")
    if args.prepare:
        return 0
    from reclm_hf.profiles.engine_transformers import TransformersEngine
    from reclm_hf.recommender.text_encoder import TextEncoder

    engine = TransformersEngine.from_model_id(DEFAULT_MODEL, batch_size=args.batch_size)
    for line in write(args.data, data, folder, engine, TextEncoder()):
        print(line)
    print(f"next: python training/benchmarks/placebo.py {args.data} --profiles {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
