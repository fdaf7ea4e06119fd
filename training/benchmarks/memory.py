"""Peak memory of training and evaluating each backbone on the authors' MIND release.

    python training/benchmarks/memory.py --mind ../shared/data/reclm-release/mind --json runs/memory.json

Preset `reference`, d = 32, batches of 4096: two epochs (SGL and SimGCL: two steps, each of which has all there is),
then both evaluations of `reclm reproduce`. Every backbone is a process of its own; item vectors are random, as a
text encoder is no part of training.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.pipeline.reproduce import PRESET, load_release
from reclm_hf.pipeline.runs import trainer_options
from reclm_hf.pipeline.specs import ModelSpec
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES
from reclm_hf.recommender.optimizers import make_optimizer
from reclm_hf.recommender.trainer import TripleEpochs

LIMIT, TEXT_DIM = 1024, 384
MIB = 1024  # ru_maxrss is in KiB on Linux


def peak_memory() -> float:
    """Of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def measured(mind: Path, backbone: str) -> list[float]:
    """Peak after loading, after training and after evaluating, MiB."""
    torch.set_num_threads(1)
    splits = load_release(mind)[0]
    split = splits.test
    vectors = np.random.default_rng(0).standard_normal((split.n_items, TEXT_DIM), dtype=np.float32)
    found = [peak_memory()]
    spec = ModelSpec(backbone, PRESET, "none", 0)
    model, options = build_recommender(spec.config(), splits.data, split, vectors).train(), trainer_options(spec)
    passes, optimizer, rng = (
        TripleEpochs(split, options.batch_size),
        make_optimizer(model, options),
        np.random.default_rng(0),
    )
    if model.backbone.contrastive:
        passes.groups = [rows[: 2 * options.batch_size] for rows in passes.groups]
    for _ in range(2):
        passes.run(model, optimizer, rng)
    found.append(peak_memory())
    evaluate(model.eval(), split, settings=("test_items", "zero_shot"), ks=(20, 40))
    return [*found, peak_memory()]


def main() -> None:
    """Measure each backbone in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mind", type=Path, required=True, help="the release's folder of MIND")
    parser.add_argument("--json", type=Path, help="a section for training/BENCHMARKS.md")
    parser.add_argument("--backbone", choices=BACKBONE_NAMES, help="only this one, in this process")
    args = parser.parse_args()
    if args.backbone:
        print(json.dumps(measured(args.mind, args.backbone)))
        return
    rows = []
    for backbone in BACKBONE_NAMES:
        command = [sys.executable, __file__, "--mind", str(args.mind), "--backbone", backbone]
        peaks = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append([backbone, *(f"{peak:,.0f}" for peak in peaks), "yes" if peaks[-1] <= LIMIT else "no"])
        print(*rows[-1], sep="  ", flush=True)
    section = {
        "kind": "section",
        "title": "Memory on MIND",
        "text": "Peak memory in MiB of one process a backbone, libraries and data included; the limit is 1,024 MiB.",
        "columns": ["backbone", "data loaded", "after training", "after evaluation", "within the limit"],
        "rows": rows,
        "command": "python training/benchmarks/memory.py --mind ../shared/data/reclm-release/mind --json F",
    }
    if args.json:
        args.json.write_text(json.dumps(section, indent=1))


if __name__ == "__main__":
    main()
