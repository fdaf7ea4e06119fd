"""Whether a change of the code moved quality: the same seeds before and after, with standard errors.

    python training/benchmarks/quality.py --mind ../shared/data/reclm-release/mind --output runs/quality/now
    PYTHONPATH=OTHER_CHECKOUT python training/benchmarks/quality.py --mind ... --output runs/quality/before
    python training/benchmarks/quality.py --compare runs/quality/before runs/quality/now --json quality.json

BiasMF and LightGCN in the preset `reference` on the authors' MIND release, five seeds, the epochs of `reclm reproduce`,
recall@20 on `test_items` after the last epoch (nothing is chosen on it); SGL and SimGCL in `standard` on the bundled
data, three seeds, recall@20 of the catalogue on the validation period after a fixed number of epochs. Runs that have
their file are not repeated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from reclm_hf.data.bundled import bundled_splits
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.pipeline.reproduce import EPOCHS, load_release
from reclm_hf.pipeline.runs import trainer_options
from reclm_hf.pipeline.specs import ModelSpec
from reclm_hf.pipeline.texts import encode_items
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.text_encoder import TextEncoder
from reclm_hf.recommender.trainer import fit

BUNDLED_EPOCHS = 10
MIND, BUNDLED = ("bias_mf", "lightgcn"), ("sgl", "simgcl")


def trained(data: str, backbone: str, seed: int, mind: Path | None) -> dict[str, Any]:
    """One run: loss of the last epoch, recall@20 and ndcg@20."""
    on_mind = data == "mind"
    if on_mind:
        assert mind is not None
        splits = load_release(mind)[0]
    else:
        splits = bundled_splits()
    split = splits.test if on_mind else splits.validation
    setting, epochs = ("test_items", EPOCHS) if on_mind else ("catalogue", BUNDLED_EPOCHS)
    spec = ModelSpec(backbone, "reference" if on_mind else "standard", "none", seed)
    model = build_recommender(spec.config(), splits.data, split, encode_items(splits.data, TextEncoder()))
    result = fit(model, split, epochs, trainer_options(spec))
    found = evaluate(model, split, settings=(setting,), ks=(20,)).summary()[setting]
    return {"loss": result.history[-1]["loss"], "recall@20": found["recall@20"], "ndcg@20": found["ndcg@20"]}


def run_all(output: Path, mind: Path | None) -> None:
    """Make the files that are missing."""
    output.mkdir(parents=True, exist_ok=True)
    plan = [("mind", backbone, seed) for seed in range(5) for backbone in MIND if mind is not None]
    plan += [("bundled", backbone, seed) for seed in range(3) for backbone in BUNDLED]
    for data, backbone, seed in plan:
        path = output / f"{data}-{backbone}-{seed}.json"
        if not path.is_file():
            path.write_text(json.dumps(trained(data, backbone, seed, mind)))
        print(path.stem, path.read_text(), flush=True)


def compared(before: Path, now: Path) -> dict[str, Any]:
    """Row -> means, standard errors and their difference, of the seeds that both have."""
    rows = {}
    for data, backbones in (("mind", MIND), ("bundled", BUNDLED)):
        for backbone in backbones:
            names = sorted(
                path.name for path in now.glob(f"{data}-{backbone}-*.json") if (before / path.name).is_file()
            )
            values = [
                np.array([json.loads((folder / name).read_text())["recall@20"] for name in names])
                for folder in (before, now)
            ]
            errors = [float(value.std(ddof=1) / len(value) ** 0.5) for value in values]
            change = float(values[1].mean() - values[0].mean())
            rows[f"{data} {backbone}"] = {
                "seeds": len(names),
                "before": float(values[0].mean()),
                "now": float(values[1].mean()),
                "standard_error_before": errors[0],
                "standard_error_now": errors[1],
                "change": change,
                "within_one_standard_error": abs(change) <= max(errors),
            }
    return rows


def section_of(rows: dict[str, Any]) -> dict[str, Any]:
    """For training/BENCHMARKS.md."""
    return {
        "kind": "section",
        "title": "Quality before and after",
        "text": "recall@20 of the same seeds, mean and standard error over seeds: MIND (`reference`, test items, last "
        "epoch, nothing chosen on it) and the bundled data (`standard`, validation period). The change is to lie "
        "within one standard error.",
        "columns": ["data, backbone", "seeds", "before", "now", "change", "within one standard error"],
        "rows": [
            [
                name,
                row["seeds"],
                f"{row['before']:.4f} +- {row['standard_error_before']:.4f}",
                f"{row['now']:.4f} +- {row['standard_error_now']:.4f}",
                f"{row['change']:+.5f}",
                "yes" if row["within_one_standard_error"] else "no",
            ]
            for name, row in rows.items()
        ],
        "command": "python training/benchmarks/quality.py --compare BEFORE NOW --json F",
    }


def main() -> None:
    """Train, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mind", type=Path, help="the release's folder of MIND; left out: the bundled data only")
    parser.add_argument("--output", type=Path, help="one JSON file a run")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "NOW"))
    parser.add_argument("--json", type=Path, help="where the comparison is written")
    args = parser.parse_args()
    if args.compare is None:
        if args.output is None:
            parser.error("give --output, or --compare BEFORE NOW")
        run_all(args.output, args.mind)
        return
    rows = compared(*args.compare)
    for name, row in rows.items():
        print(
            f"{name:<20}{row['seeds']} seeds  before {row['before']:.4f} +- {row['standard_error_before']:.4f}  "
            f"now {row['now']:.4f} +- {row['standard_error_now']:.4f}  change {row['change']:+.4f}"
        )
    if args.json:
        args.json.write_text(json.dumps(section_of(rows), indent=1))


if __name__ == "__main__":
    main()
