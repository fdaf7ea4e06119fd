"""What the preset `reference` costs on the authors' MIND release, and its curve; `reclm reproduce` compares it.

    python training/benchmarks/mind_reference.py ../shared/data/reclm-release/mind --output runs/mind-reference

Settings are those of `reclm reproduce`, whose epochs are fixed: nothing is chosen on the test matrix. Every run is a
process of its own, so that its peak memory is its own, and leaves one JSON file; runs that have theirs are not
repeated. Seconds are CPU seconds.

Item texts are "title abstract category subcategory". The package centres their vectors, the authors' code does not:
`raw` runs put the encoder's own vectors in.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reclm_hf.baselines.popularity import Popularity
from reclm_hf.data.splits import Split, Splits
from reclm_hf.evaluation.protocol import MeanUser, evaluate
from reclm_hf.evaluation.scoring import Scorer
from reclm_hf.pipeline.published import LAST_EPOCH, known
from reclm_hf.pipeline.reproduce import EPOCHS, PRESET, load_release
from reclm_hf.pipeline.runs import trainer_options
from reclm_hf.pipeline.specs import ModelSpec
from reclm_hf.pipeline.texts import encode_items
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.sampling import NegativeSampler
from reclm_hf.recommender.text_encoder import TextEncoder
from reclm_hf.recommender.trainer import fit, make_optimizer

EVERY, STEPS = 10, 4
TRAINED, TIMED = ("bias_mf", "ncf", "lightgcn"), ("sgl", "simgcl")
SETTINGS = ("test_items", "zero_shot")


def load(folder: Path) -> tuple[Splits, np.ndarray]:
    """The authors' split and the vectors of its item texts, float32 [I, d_t]."""
    splits, _ = load_release(folder)
    return splits, encode_items(splits.data, TextEncoder())


def untrained(splits: Splits, vectors: np.ndarray, backbone: str, seed: int, text: str) -> RecLMRecommender:
    """The base variant. text: `centred` or `raw`."""
    config = ModelSpec(backbone, PRESET, "none", seed).config()
    model = build_recommender(config, splits.data, splits.test, vectors)
    if text == "raw":
        model.item_text.copy_(torch.from_numpy(vectors))
    return model


def measured(model: Scorer, split: Split) -> dict[str, Any]:
    """Metrics by setting, and the seconds that they took."""
    start = time.process_time()
    summary = evaluate(model, split, settings=SETTINGS, ks=(20, 40)).summary()
    return {**summary, "seconds": time.process_time() - start}


def peak_memory() -> float:
    """Of this process so far, MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def popularity_run(splits: Splits, vectors: np.ndarray) -> dict[str, Any]:
    """Train-day popularity, which learns nothing."""
    return {"final": measured(Popularity().fit(splits.test), splits.test)}


def training_run(
    splits: Splits, vectors: np.ndarray, backbone: str, seed: int, text: str, epochs: int
) -> dict[str, Any]:
    """Train to the end; the curve is for information."""
    model = untrained(splits, vectors, backbone, seed, text)
    loaded, curve, seconds = peak_memory(), [], 0.0
    mark = time.process_time()

    def on_epoch(entry: dict[str, Any]) -> None:
        nonlocal seconds, mark
        seconds += time.process_time() - mark
        if entry["epoch"] % EVERY == 0 or entry["epoch"] == epochs:
            curve.append({**entry, **measured(model, splits.test)})
            print(f"  epoch {entry['epoch']}: loss {entry['loss']:.4f}, {row_of(curve[-1])}", flush=True)
        mark = time.process_time()

    fit(model, splits.test, epochs, trainer_options(ModelSpec(backbone, PRESET, "none", seed)), on_epoch=on_epoch)
    return {
        "final": curve[-1],
        "mean_user": measured(MeanUser(model, splits.test), splits.test),
        "curve": curve,
        "seconds_per_epoch": seconds / epochs,
        "memory_before_training": loaded,
    }


def cost_run(splits: Splits, vectors: np.ndarray, backbone: str) -> dict[str, Any]:
    """Seconds of one training step, after one that warms up."""
    model = untrained(splits, vectors, backbone, 0, "centred").train()
    loaded, split, rng = peak_memory(), splits.test, np.random.default_rng(0)
    options = trainer_options(ModelSpec(backbone, PRESET, "none"))
    optimizer = make_optimizer(model, options)
    sampler = NegativeSampler(split.history_matrix(), np.flatnonzero(split.warm))
    seconds = []
    for _ in range(STEPS + 1):
        rows = rng.permutation(len(split.history_user))[: options.batch_size]
        user, item = split.history_user[rows].astype(np.int64), split.history_item[rows].astype(np.int64)
        triples = torch.from_numpy(np.stack([user, item, sampler.sample(user, rng)]))
        start = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        model(user_index=triples[0], positive_index=triples[1], negative_index=triples[2]).loss.backward()
        optimizer.step()
        seconds.append(time.process_time() - start)
    return {"seconds_per_step": seconds[1:], "memory_before_training": loaded}


def row_of(result: dict[str, Any]) -> str:
    """Metrics of both settings, in a line."""
    whole, new = result["test_items"], result["zero_shot"]
    return (
        f"R@20 {whole['recall@20']:.4f}  N@20 {whole['ndcg@20']:.4f}  R@40 {whole['recall@40']:.4f}  "
        f"zero-shot R@20 {new['recall@20']:.4f}"
    )


def planned(seeds: int, epochs: int) -> dict[str, Callable[[Splits, np.ndarray], dict[str, Any]]]:
    """Name of the run -> what makes it."""

    def training(backbone: str, seed: int, text: str) -> Callable[[Splits, np.ndarray], dict[str, Any]]:
        return lambda splits, vectors: training_run(splits, vectors, backbone, seed, text, epochs)

    def cost(backbone: str) -> Callable[[Splits, np.ndarray], dict[str, Any]]:
        return lambda splits, vectors: cost_run(splits, vectors, backbone)

    runs = {f"{backbone}-{seed}": training(backbone, seed, "centred") for backbone in TRAINED for seed in range(seeds)}
    runs |= {f"{backbone}-cost": cost(backbone) for backbone in TIMED}
    runs |= {f"{backbone}-0-raw": training(backbone, 0, "raw") for backbone in TRAINED}
    return {"popularity": popularity_run, **runs}


def show(output: Path, names: list[str]) -> None:
    """Print the table of the runs that are there."""
    found = {name: json.loads((output / f"{name}.json").read_text()) for name in names}
    for name, run in found.items():
        memory = f"peak {run['memory']:.0f} MiB"
        if "seconds_per_step" in run:
            print(f"{name:<16}{min(run['seconds_per_step']):.2f} s a step, {memory}")
            continue
        print(f"{name:<16}{row_of(run['final'])}")
        if "mean_user" in run:
            print(
                f"{'':<16}mean user R@20 {run['mean_user']['test_items']['recall@20']:.4f}  "
                f"{run['seconds_per_epoch']:.2f} s an epoch, {run['final']['seconds']:.1f} s an evaluation, {memory}"
            )
    for backbone in TRAINED:
        runs = [run for name, run in found.items() if name.startswith(backbone) and not name.endswith("raw")]
        values = [run["final"]["test_items"]["recall@20"] for run in runs]
        listed = " ".join(f"{value:.4f}" for value in values)
        paper, authors_code = known(backbone, "base", "test_items", "recall@20")
        theirs = (
            f"paper {paper:.4f}, authors' code {authors_code:.4f}, last epoch {LAST_EPOCH.get(backbone, 'unknown')}"
        )
        print(f"{backbone:<16}R@20 mean {np.mean(values):.4f} ({listed}); {theirs}")


def _is_there(path: Path, epochs: int) -> bool:
    """Whether a run is finished. Raises ValueError for one of other epochs: a table must not mix them."""
    if not path.is_file():
        return False
    found = json.loads(path.read_text())
    if "curve" in found and found["epochs"] != epochs:
        raise ValueError(f"{path}: holds {found['epochs']} epochs, not {epochs}: give another --output, or delete it.")
    return True


def main() -> None:
    """Make what is missing, each in its own process, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the release's folder of MIND")
    parser.add_argument("--output", type=Path, required=True, help="one JSON file a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--run", help="only this run, in this process")
    args = parser.parse_args()
    runs = planned(args.seeds, args.epochs)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.run:
        result = runs[args.run](*load(args.folder)) | {"epochs": args.epochs, "memory": peak_memory()}
        partial = args.output / f"{args.run}.partial"
        partial.write_text(json.dumps(result, indent=1))
        partial.rename(args.output / f"{args.run}.json")
        return
    load(args.folder)  # texts are encoded here, so that the encoder is in no run's memory
    for name in runs:
        if not _is_there(args.output / f"{name}.json", args.epochs):
            print(name, flush=True)
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--run", name], check=True)
    show(args.output, list(runs))


if __name__ == "__main__":
    main()
