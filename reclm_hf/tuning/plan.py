"""What a stage would do and hold, worked out on the meta device: sizes without weights, for `--dry-run`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .architectures import find_config
from .arguments import RefineArguments, RewardArguments, SftArguments, StageArguments
from .memory import LOSS_CHUNK, OVERHEAD, Precision, Shape, activations, kept_of_layer, key_values, loss_head
from .quantisation import NF4_BYTES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

GIB = 2**30
CAPACITY = 80 * 10**9
"""Bytes of an "80 GB" GPU."""

_STAGES: dict[type, str] = {SftArguments: "sft", RewardArguments: "reward", RefineArguments: "refine"}


@dataclass(frozen=True)
class Counts:
    """Parameters of a model with its adapter: all, trained, in linear layers that 4 bits apply to, and by unit.

    `layer` are those of one decoder layer, `ends` those outside of the layers; `targets` names the adapted layers with
    their input widths.
    """

    total: int
    trained: int
    linear: int
    layer: int
    ends: int
    targets: Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    """What a stage would do, and its peak memory.

    Attributes:
        source: where the sizes come from. precision: of weights and products, in words.
        sharded: weights, gradients and optimizer are split over the processes (FSDP, full shard), not copied.
        steps: None where the rows are not known. tokens_per_step: at most, over all processes.
        memory: part -> bytes on one process at the peak. beside: processes -> bytes of each, had it been so many.
    """

    stage: str
    model: str
    source: str
    precision: str
    counts: Counts
    processes: int
    sharded: bool
    rows: int | None
    steps: int | None
    tokens_per_step: int
    memory: Mapping[str, float]
    beside: Mapping[int, float]

    @property
    def total(self) -> float:
        """Bytes on one process at the peak."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether a GPU of 80 GB (80e9 bytes) holds it."""
        return self.total <= CAPACITY

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"total": self.total, "fits": self.fits}


def plan(
    args: StageArguments,
    config: PretrainedConfig | None = None,
    *,
    rows: int | None = None,
    processes: int | None = None,
) -> Plan:
    """Work out what a stage would do. No weights are read or fetched; of a model on the Hub its configuration is.

    Memory of one process is the sum of weights (4-bit: NF4 linear layers, the rest as they are), of what the adapter
    adds, gradients in the dtype of what is trained, two float32 moments of Adam for each, activations
    (`memory.kept_of_layer`, `memory.activations`), logits (`memory.loss_head`) and a fixed overhead. Under FSDP with
    full shard weights, gradients and moments are divided by the processes (Rajbhandari et al. 2020, ZeRO stage 3), and
    two layers are gathered whole at a time, with what is outside of the layers. It assumes that every row is
    `max_tokens` long. Compared with what real steps on a
    CPU held it came out at 1.0 (bfloat16) to 1.2 (float32); on a GPU it was not compared.

    Args:
        config: of the model; None: found by its name.
        rows: to train on; None: counted where the table lies on this machine.
        processes: of the launch; None: of the one that this runs in.

    Raises:
        ValueError, OSError: the model's configuration is not to be had or not that of a decoder; layers to adapt that
            it does not have.
    """
    source = "the configuration given"
    if config is None:
        config, source = find_config(args.model, args.revision)
    world = max(1, int(os.environ.get("WORLD_SIZE", "1")) if processes is None else processes)
    sharded = bool(args.trainer.get("fsdp")) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    rows = _rows(args) if rows is None else rows
    counts = count(args, config)
    beside = {n: sum(_memory(args, config, counts, n).values()) for n in (2, 4, 8)} if sharded else {}
    return Plan(
        stage=_STAGES[type(args)],
        model=args.model,
        source=source,
        precision=_precision_in_words(args),
        counts=counts,
        processes=world,
        sharded=sharded,
        rows=rows,
        steps=_steps(args, rows, world),
        tokens_per_step=_tokens(args) * args.gradient_accumulation * world,
        memory=_memory(args, config, counts, world if sharded else 1),
        beside=beside,
    )


def count(args: StageArguments, config: PretrainedConfig) -> Counts:
    """Build a model and its adapter on the meta device, and count.

    Raises:
        ValueError: layers to adapt that the model does not have.
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    from .models import lora_config

    scored = isinstance(args, RewardArguments)
    config = type(config).from_dict(config.to_dict())
    made: Any
    with torch.device("meta"):
        if scored:
            config.num_labels = 1
            made = AutoModelForSequenceClassification.from_config(config, dtype=getattr(torch, args.dtype))
        else:
            made = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, args.dtype))
        layers = getattr(made, made.base_model_prefix).layers
        layer = sum(weight.numel() for weight in layers[0].parameters())
        plain = sum(weight.numel() for weight in made.parameters())
        linear = sum(module.weight.numel() for module in layers.modules() if isinstance(module, torch.nn.Linear))
        adapted = get_peft_model(made, lora_config(args, "SEQ_CLS" if scored else "CAUSAL_LM"))
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    targets = {name.rsplit(".", 1)[-1]: module.in_features for name, module in _adapted_layers(adapted)}
    return Counts(plain, trained, linear, layer, plain - layer * len(layers), targets)


def _adapted_layers(model: Any) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "lora_A")]


def _precision(args: StageArguments) -> Precision:
    found = Precision.of(args.dtype, args.dtype == "bfloat16" or args.autocast is not False)
    return replace(found, products=2, adapter_input=2) if args.load_in_4bit else found


def _precision_in_words(args: StageArguments) -> str:
    precision = _precision(args)
    held = "4-bit (NF4)" if args.load_in_4bit else args.dtype
    return f"{held} weights, multiplied in {'bfloat16' if precision.products == 2 else 'float32'}"


def _length(args: StageArguments) -> int:
    """Tokens of a row at most."""
    if isinstance(args, RefineArguments):
        return args.max_prompt_tokens + args.response_length
    return int(args.max_tokens)  # type: ignore[attr-defined]


def _tokens(args: StageArguments) -> int:
    """Tokens of one batch on one process at most; a pair of replies counts twice."""
    return args.batch_size * _length(args) * (2 if isinstance(args, RewardArguments) else 1)


def _rows(args: StageArguments) -> int | None:
    """Rows to train on of a table on this machine; None where it does not lie here (yet)."""
    source = args.instructions if isinstance(args, SftArguments) else args.preferences  # type: ignore[attr-defined]
    if isinstance(args, RefineArguments) or not Path(source).expanduser().exists():
        return None
    from .inputs import excluded_users, held_out, read_instructions, read_preferences

    table = read_instructions(source) if isinstance(args, SftArguments) else read_preferences(source)
    excluded = excluded_users(args)
    users = [str(user) for user in table["user_id"] if str(user) not in excluded]
    learnt = int((~held_out(users, args.holdout, args.seed)).sum())  # type: ignore[attr-defined]
    return learnt if args.max_rows is None else min(learnt, args.max_rows)  # type: ignore[attr-defined]


def _steps(args: StageArguments, rows: int | None, processes: int) -> int | None:
    batch = args.batch_size * args.gradient_accumulation * processes
    if isinstance(args, RefineArguments):
        wanted: int | None = math.ceil(args.episodes / batch)
    else:
        wanted = None if rows is None else math.ceil(math.ceil(rows / batch) * args.epochs)
    if args.max_steps > 0:
        # transformers' trainers go through the rows again until they are there; PPO ends with its episodes.
        return min(wanted, args.max_steps) if wanted is not None and _algorithm(args) == "ppo" else args.max_steps
    return wanted


def _algorithm(args: StageArguments) -> str | None:
    return args.algorithm if isinstance(args, RefineArguments) else None


def _memory(args: StageArguments, config: PretrainedConfig, counts: Counts, shards: int) -> dict[str, float]:
    """Part -> bytes on one process at the peak."""
    shape, precision, tokens = Shape.of(config), _precision(args), _tokens(args)
    adapter_bytes = 2 if args.load_in_4bit else 4  # TRL casts adapters on 4-bit weights to bfloat16
    weights = _bytes_of_base(args, counts, precision)  # of the model that is tuned; others are never in 4 bits
    if precision.products < precision.weights and not args.load_in_4bit:
        weights += counts.linear * precision.products  # autocast holds its copies until the pass is over
    copies, trained = 1, counts.trained
    kept = kept_of_layer(shape, precision, counts.targets, args.lora_rank, _length(args))
    held = activations(shape, precision, kept, tokens, args.gradient_checkpointing)
    if isinstance(args, RefineArguments):
        copies += (args.reward != "verifiable") + (args.algorithm == "ppo")
        if args.algorithm == "ppo":
            trained += counts.total if args.critic == "full" else counts.trained
            whole = kept_of_layer(shape, precision, counts.targets, args.lora_rank, _length(args), full=True)
            critic = whole if args.critic == "full" else kept
            held += activations(shape, precision, critic, tokens, args.gradient_checkpointing)
    parts = {
        "weights": (weights + (copies - 1) * counts.total * precision.weights) / shards,
        "adapters": copies * counts.trained * adapter_bytes / shards,
        "gradients": trained * adapter_bytes / shards,
        "Adam's moments": 2 * trained * (adapter_bytes if args.load_in_4bit else 4) / shards,
        "activations": held,
        "logits": _logits(args, shape, precision),
    }
    if isinstance(args, RefineArguments):
        drawn = args.rollout_batch_size if args.algorithm == "ppo" else args.batch_size
        parts["keys and values"] = key_values(shape, precision, drawn * _length(args))
    if shards > 1:
        parts["gathered layers"] = (2 * counts.layer + counts.ends) * precision.weights
    return parts | {"overhead": float(OVERHEAD)}


def _bytes_of_base(args: StageArguments, counts: Counts, precision: Precision) -> float:
    if not args.load_in_4bit:
        return float(counts.total * precision.weights)
    return counts.linear * NF4_BYTES + (counts.total - counts.linear) * precision.weights


def _logits(args: StageArguments, shape: Shape, precision: Precision) -> float:
    if isinstance(args, RewardArguments):
        return 0.0  # one number a row
    if isinstance(args, RefineArguments):
        counted = _tokens(args) if args.algorithm == "ppo" else args.batch_size * args.response_length
        return loss_head(shape, precision, counted)
    whole = args.trainer.get("loss_type", "chunked_nll") != "chunked_nll"
    return loss_head(shape, precision, _tokens(args) if whole else min(LOSS_CHUNK, _tokens(args)))


def lines(made: Plan) -> list[str]:
    """A plan as text: facts, a table of memory, and one line that says whether it fits."""
    counts = made.counts
    layers = ", ".join(sorted(counts.targets))
    facts = {
        "model": made.model,
        "sizes from": made.source,
        "parameters": f"{counts.total:,}",
        "trained": f"{counts.trained:,} ({counts.trained / counts.total:.2%}), adapters on {layers}",
        "precision": made.precision,
        "processes": f"{made.processes}" + (", weights sharded over them (FSDP, full shard)" if made.sharded else ""),
        "rows": "not known" if made.rows is None else f"{made.rows:,}",
        "steps": "not known without the rows" if made.steps is None else f"{made.steps:,}",
        "tokens a step": f"at most {made.tokens_per_step:,}",
    }
    text = [f"Plan of {made.stage} (nothing was loaded)"]
    text += [f"  {name:<15} {value}" for name, value in facts.items()]
    text += ["Memory of one process at its peak, GiB (an estimate)"]
    text += [f"  {name:<15} {value / GIB:9.2f}" for name, value in made.memory.items()]
    text += [f"  {'together':<15} {made.total / GIB:9.2f}"]
    text += [f"  of {n} processes {value / GIB:9.2f}" for n, value in made.beside.items() if n != made.processes]
    return [*text, f"fits in 80 GB: {'yes' if made.fits else 'no'} ({made.total / GIB:.1f} GiB)"]
