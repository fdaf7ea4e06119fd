"""One recommender by one process, or by several that share every batch.

python training/train.py --backbone lightgcn --preset standard --output runs/train/lightgcn
accelerate launch --multi_gpu --num_processes 2 training/train.py --backbone ... --output ... --use-cpu
python -m torch.distributed.run --nproc_per_node 2 training/train.py --backbone ... --output ... --use-cpu

Without `--epochs` their number is chosen on validation. `reclm train` chooses the preset's other settings too.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclm_hf.commands import script
from reclm_hf.commands.output import finish, quoted
from reclm_hf.commands.train import BACKBONES
from reclm_hf.data.bundled import DEFAULT

if TYPE_CHECKING:
    import numpy as np

    from reclm_hf.data.splits import Split, Splits
    from reclm_hf.pipeline.specs import ModelSpec
    from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
    from reclm_hf.recommender.trainer import TrainerOptions

DESCRIPTION = "train one recommender, in one process or several"
RESULT = "training.json"
PRESETS = ("reference", "standard", "floor_residual")


def fill(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--data", default=DEFAULT, help="a folder, a name or a Hub id (%(default)s)")
    parser.add_argument("--backbone", choices=BACKBONES, default="lightgcn")
    parser.add_argument("--preset", choices=PRESETS, default="standard")
    parser.add_argument("--epochs", type=int, help="train for so many; default: chosen on validation")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="of the model and its checkpoints")
    parser.add_argument(
        "--encoder", metavar="MODEL", help="of item texts, a Hub id or a folder; default: the usual one"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of each process (%(default)s)")
    parser.add_argument("--use-cpu", action="store_true", help="leave GPUs alone")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train or resume; the main process writes and speaks."""
    from accelerate import PartialState

    state = PartialState(cpu=args.use_cpu)
    try:
        result = train(args, state)
    finally:
        state.destroy_process_group()
    if not state.is_main_process:
        return 0
    lines = [f"{result['spec']} trained for {result['epochs']} epochs: {result['model']}"]
    return finish(args, lines, result, f"reclm evaluate {quoted(result['model'])} --data {quoted(args.data)}")


def train(args: argparse.Namespace, state: Any) -> dict[str, Any]:
    """Train in this process, together with the others of `state`; returns the settings, the losses and the folder."""
    from reclm_hf.data.load import load_splits
    from reclm_hf.pipeline.bars import epoch_bar
    from reclm_hf.pipeline.runs import trainer_options
    from reclm_hf.pipeline.specs import ModelSpec
    from reclm_hf.pipeline.texts import encode_items
    from reclm_hf.recommender.text_encoder import DEFAULT_ENCODER, TextEncoder
    from reclm_hf.recommender.trainer import fit

    splits, spec = load_splits(args.data), ModelSpec(args.backbone, args.preset, "none", args.seed)
    options = replace(trainer_options(spec), threads=args.threads)
    encoder = TextEncoder(args.encoder or DEFAULT_ENCODER)
    with state.main_process_first():  # the others read what it has encoded
        vectors = encode_items(splits.data, encoder)
    folder, shown = Path(args.output), state.is_main_process and not args.json

    def built(split: Split) -> RecLMRecommender:
        return _build(spec, splits, split, vectors, encoder).to(state.device)

    epochs, chosen = args.epochs, None
    if epochs is None:
        with epoch_bar("choosing epochs", options.max_epochs, shown) as on_epoch:
            chosen = _choose(built(splits.validation), splits.validation, options, folder / "choose", on_epoch)
        epochs = chosen["best_epoch"]
    model = built(splits.test)
    state.wait_for_everyone()  # none may look for a checkpoint that another has removed
    with epoch_bar("training", epochs, shown) as on_epoch:
        refit = fit(model, splits.test, epochs, options, folder / "refit", on_epoch)
    settings = {"spec": spec.label, "data": splits.data.name, "processes": state.num_processes, "epochs": epochs}
    found = {**settings, "options": asdict(options), "history": refit.history, "choice": chosen}
    if state.is_main_process:
        _write(model, folder, found)
    state.wait_for_everyone()
    return {**found, "model": str(folder / "model")}


def _build(spec: ModelSpec, splits: Splits, split: Split, vectors: np.ndarray, encoder: Any) -> RecLMRecommender:
    from reclm_hf.recommender.build import build_recommender

    return build_recommender(spec.config(encoder), splits.data, split, vectors)


def _choose(
    model: RecLMRecommender, split: Split, options: TrainerOptions, folder: Path, on_epoch: Any
) -> dict[str, Any]:
    from reclm_hf.pipeline.selection import selection_value
    from reclm_hf.recommender.trainer import choose_epochs

    return asdict(choose_epochs(model, split, lambda tried: selection_value(tried, split), options, folder, on_epoch))


def _write(model: RecLMRecommender, folder: Path, found: dict[str, Any]) -> None:
    from reclm_hf.data.folder import write_json

    model.save_pretrained(folder / "model")
    write_json(found, folder / RESULT)


make_parser = partial(script.make_parser, sys.modules[__name__], "train")
main = partial(script.main, sys.modules[__name__], "train")

if __name__ == "__main__":
    sys.exit(main())
