"""Where the time of an epoch, or of encoding texts, goes: the operations of a profile, as a section of BENCHMARKS.md.

    python training/benchmarks/where.py bias_mf --mind ../shared/data/reclm-release/mind --json F
    python training/benchmarks/where.py encoding --mind ../shared/data/reclm-release/mind --json F

A backbone is trained in the preset `reference` for three epochs, the third of which is profiled; `encoding` encodes
200 item texts. `floor` lines are measured here too: what the machine takes for the memory traffic, or the products,
that cannot be left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from reclm_hf.pipeline.reproduce import PRESET, load_release
from reclm_hf.pipeline.runs import trainer_options
from reclm_hf.pipeline.specs import ModelSpec
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES
from reclm_hf.recommender.optimizers import make_optimizer
from reclm_hf.recommender.text_encoder import TextEncoder
from reclm_hf.recommender.trainer import TripleEpochs

SHOWN, TEXT_DIM, TEXTS = 10, 384, 200


def epoch_of(mind: Path, backbone: str) -> tuple[Callable[[], object], list[list[str]]]:
    """One epoch, and the floor of its optimizer."""
    splits = load_release(mind)[0]
    split = splits.test
    vectors = np.random.default_rng(0).standard_normal((split.n_items, TEXT_DIM), dtype=np.float32)
    spec = ModelSpec(backbone, PRESET, "none", 0)
    model, options = build_recommender(spec.config(), splits.data, split, vectors).train(), trainer_options(spec)
    passes, optimizer = TripleEpochs(split, options.batch_size), make_optimizer(model, options)
    rng = np.random.default_rng(0)
    table = model.user_embedding.weight.detach().clone().requires_grad_()
    table.grad = torch.zeros_like(table)
    adam = torch.optim.Adam([table], fused=True)
    steps = -(-len(split.history_user) // options.batch_size)
    floor = [
        f"floor: Adam's pass over the user table, {steps} steps",
        f"{steps * 1e3 * fastest(adam.step):.1f}",
        "",
        "",
    ]
    return lambda: passes.run(model, optimizer, rng), [floor]


def encoding_of(mind: Path) -> tuple[Callable[[], object], list[list[str]]]:
    """Encoding of texts that no cache holds, and the floor of the encoder's products."""
    splits = load_release(mind)[0]
    chosen = np.random.default_rng(0).permutation(splits.data.n_items)[:TEXTS]
    texts = splits.data.items["text"].to_numpy()[chosen].tolist()

    def encode() -> object:
        with tempfile.TemporaryDirectory() as folder:
            return TextEncoder(cache=folder).encode(texts, progress=False)

    left, right = torch.randn(1024, 384), torch.randn(384, 1536)
    rate = 2 * 1024 * 384 * 1536 / fastest(lambda: left @ right) / 1e9
    return encode, [["floor: the encoder's largest product alone, GFLOP a second", f"{rate:.0f}", "", ""]]


def fastest(step: Callable[[], object], repeats: int = 15) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def section_of(name: str, step: Callable[[], object], floors: list[list[str]]) -> dict[str, Any]:
    """The profile of the third run."""
    for _ in range(2):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step()
    averages = sorted(found.key_averages(), key=lambda entry: -entry.self_cpu_time_total)
    total = sum(entry.self_cpu_time_total for entry in averages)
    rows = [
        [entry.key, f"{entry.self_cpu_time_total / 1e3:.1f}", f"{entry.self_cpu_time_total / total:.0%}", entry.count]
        for entry in averages[:SHOWN]
    ]
    return {
        "kind": "section",
        "title": f"Where the time goes: {name}",
        "text": f"Operations by their own time; all of them {total / 1e3:.0f} ms, the profiler's own cost included.",
        "columns": ["operation", "ms", "share", "calls"],
        "rows": [*rows, *floors],
        "command": f"python training/benchmarks/where.py {name} --mind ../shared/data/reclm-release/mind --json F",
    }


def main() -> None:
    """Profile one and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*BACKBONE_NAMES, "encoding"))
    parser.add_argument("--mind", type=Path, required=True, help="the release's folder of MIND")
    parser.add_argument("--json", type=Path, help="a section for training/BENCHMARKS.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = encoding_of(args.mind) if args.what == "encoding" else epoch_of(args.mind, args.what)
    section = section_of(args.what, *found)
    for row in section["rows"]:
        print(*row, sep="  ")
    if args.json:
        args.json.write_text(json.dumps(section, indent=1))


if __name__ == "__main__":
    main()
