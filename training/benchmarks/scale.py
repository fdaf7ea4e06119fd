"""Seconds an epoch and peak memory of every backbone at 1e5, 1e6 and 1e7 interactions of power-law data.

    python training/benchmarks/scale.py --output runs/scale
    python training/benchmarks/scale.py --output runs/scale --sizes 100000 --backbones bias_mf

Preset `standard`, d = 32, item texts of 384 random dimensions, one thread. An epoch is some steps, extrapolated, and
the negatives of the whole epoch. Every row is a process of its own, so that its peak memory is its own; rows that have
their JSON are not repeated. `tables` rows measure Parquet -> validated interactions -> split -> CSR.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.load import load_splits
from reclm_hf.data.splits import Split, Splits
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES, RecLMRecommenderConfig
from reclm_hf.recommender.optimizers import make_optimizer
from reclm_hf.recommender.trainer import TrainerOptions, TripleEpochs

sys.path.insert(0, str(Path(__file__).parent))
from power_law import SIZES, power_law, write_tables

T = TypeVar("T")
TEXT_DIM, BATCH, STEPS, SEED = 384, 4096, 6, 0
# Beside the backbones: the optimizer that does not pass over tables of a million rows.
SPARSE = ("bias_mf", "ncf")


def timed(step: Callable[[], T]) -> tuple[T, float]:
    """The result, and the CPU seconds that it took."""
    start = time.process_time()
    result = step()
    return result, time.process_time() - start


def peak_memory() -> float:
    """Of this process so far, MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tables_row(folder: Path, size: int) -> dict[str, Any]:
    """What `reclm train` does before it builds a model."""
    start = peak_memory()
    splits, load = timed(lambda: load_splits(str(folder)))
    history, csr = timed(splits.test.history_matrix)
    return {"tables_to_csr": load + csr, "entries": history.nnz, "memory": peak_memory(), "memory_at_start": start}


def split_of(size: int) -> Splits:
    """The whole data as a history, without tables."""
    import pandas as pd

    data = power_law(size)
    users, items = (np.arange(count).astype(str).astype(object) for count in (data.n_users, data.n_items))
    none: list[list[str]] = [[] for _ in items]
    frame = pd.DataFrame({"item_id": items, "title": items, "text": items, "categories": none})
    known = Interactions(users, items, data.user, data.item, data.timestamp, frame, f"power-law-{size}")
    nothing, every = np.empty(0, dtype=np.int32), np.ones(data.n_items, dtype=bool)
    split = Split("test", None, users, items, data.user, data.item, None, nothing, nothing, every, ~every, 0)
    return Splits(known, split, split, "")


def training_row(size: int, backbone: str, optimizer: str) -> dict[str, Any]:
    """Steps of training, after two that warm up."""
    splits = split_of(size)
    split = splits.test
    vectors = np.random.default_rng(SEED).standard_normal((split.n_items, TEXT_DIM), dtype=np.float32)
    loaded = peak_memory()
    config = RecLMRecommenderConfig(backbone=backbone, preset="standard", embedding_dim=32)
    model, build = timed(lambda: build_recommender(config, splits.data, split, vectors).train())
    options = TrainerOptions(batch_size=BATCH, optimizer=optimizer)
    passes, prepare = timed(lambda: TripleEpochs(split, BATCH))
    rng, users = np.random.default_rng(SEED), split.history_user.astype(np.int64)
    passes.sampler.sample(users, rng)  # the first time a kernel starts
    _, negatives = timed(lambda: passes.sampler.sample(users, rng))
    passes.groups = [np.random.default_rng(SEED).permutation(len(users))[: BATCH * STEPS]]
    adam = make_optimizer(model, options)
    passes.run(model, adam, rng)
    seconds = sorted(timed(lambda: passes.run(model, adam, rng))[1] / STEPS for _ in range(3))
    return {
        "step": seconds[1],
        "epoch": seconds[1] * math.ceil(len(users) / BATCH) + negatives,
        "negatives": negatives,
        "build": build + prepare,
        "memory": peak_memory(),
        "memory_of_data": loaded,
    }


def planned(sizes: list[int], backbones: list[str]) -> dict[str, tuple[int, str, str]]:
    """Name of the row -> size, backbone ("" for the tables), optimizer."""
    rows = {f"{size}-tables": (size, "", "") for size in sizes}
    rows |= {f"{size}-{backbone}": (size, backbone, "adam") for size in sizes for backbone in backbones}
    sparse = [backbone for backbone in backbones if backbone in SPARSE]
    rows |= {f"{size}-{name}-row_sparse_adam": (size, name, "row_sparse_adam") for size in sizes for name in sparse}
    return dict(sorted(rows.items(), key=lambda row: row[1][0]))


def measure(output: Path, size: int, backbone: str, optimizer: str) -> dict[str, Any]:
    """One row, in this process."""
    found = training_row(size, backbone, optimizer) if backbone else tables_row(output / f"tables-{size}", size)
    users, items = SIZES[size]
    place = {"interactions": size, "users": users, "items": items, "backbone": backbone, "optimizer": optimizer}
    return place | found | {"threads": torch.get_num_threads(), "load": os.getloadavg()[0]}


def section_of(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """For training/BENCHMARKS.md."""
    return {
        "kind": "section",
        "title": "Scale: " + ", ".join(f"{size:,}" for size in sorted({row["interactions"] for row in rows.values()})),
        "text": "Power-law data, preset `standard`, d = 32, texts of 384 dimensions, batches of 4096, CPU seconds on "
        "one thread. An epoch is extrapolated from steps, with its negatives measured whole; `tables` is Parquet to "
        "validated interactions, split and CSR. Memory is the peak of a process of its own, MiB.",
        "columns": [
            "interactions",
            "users",
            "items",
            "what",
            "negatives s",
            "step s",
            "epoch s",
            "tables s",
            "peak MiB",
        ],
        "rows": [
            [
                f"{row['interactions']:,}",
                f"{row['users']:,}",
                f"{row['items']:,}",
                " ".join(part for part in (row["backbone"] or "tables", row["optimizer"]) if part),
                *(_shown(row.get(name)) for name in ("negatives", "step", "epoch", "tables_to_csr")),
                f"{row['memory']:,.0f}",
            ]
            for row in rows.values()
        ],
        "command": "python training/benchmarks/scale.py --output runs/scale --json F",
    }


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3g}" if seconds < 100 else f"{seconds:,.0f}"


def main() -> None:
    """Make the rows that are missing, and print them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="one JSON file a row, and the tables")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONE_NAMES), choices=BACKBONE_NAMES)
    parser.add_argument("--json", type=Path, help="all rows in one file")
    parser.add_argument("--row", help="only this row, in this process")
    args = parser.parse_args()
    rows = planned(args.sizes, args.backbones)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.row:
        torch.set_num_threads(1)
        found = measure(args.output, *rows[args.row])
        (args.output / f"{args.row}.json").write_text(json.dumps(found, indent=1))
        return
    for name, (size, backbone, _) in rows.items():
        if not (args.output / f"{name}.json").is_file():
            if not backbone and not (args.output / f"tables-{size}").is_dir():
                write_tables(power_law(size), args.output / f"tables-{size}")
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--row", name], check=True)
        print(name, (args.output / f"{name}.json").read_text().replace("\n", ""), flush=True)
    if args.json:
        read = {name: json.loads((args.output / f"{name}.json").read_text()) for name in rows}
        args.json.write_text(json.dumps(section_of(read), indent=1))


if __name__ == "__main__":
    main()
