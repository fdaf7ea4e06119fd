"""`reclm refine`: a tuned profiler learns from a reward, and stays near the model that it began as (RecLM eq. 7-8)."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.folder import file_sha256, write_json
from ...profiler.modeling_reclm_profiler import RecLMProfiler
from ...profiler.weights import is_adapted, write_adapter
from ...profiles.quality import mean_interval
from ..arguments import RefineArguments
from ..inputs import excluded_users
from ..measures.free_text import write_free
from ..models import TrainingParts, load_for_training, on_cpu
from ..outputs import CHECKPOINTS, Stopwatch, finished, stage_inputs, stage_manifest, training_log
from ..progress import quiet_libraries
from ..recipes import write_recipe
from ..trainers import claim_on_main, for_main, wait_for_all
from .alarms import KL, REWARD, PolicyResult, Watch, series
from .inputs import JUDGED, Histories, Origin, Quiet, divide, load_histories, load_reward, profiles_file, read_prompts
from .inputs import Prompts as Prompts

if TYPE_CHECKING:
    from ..rewards.model import RewardModel
    from ..rewards.verifiable import VerifiableReward

logger = logging.getLogger(__name__)

STAGE = "refine"
ADAPTER = "adapter"
_BEFORE = "before.json"
_VECTORS = "vectors"


@dataclass(frozen=True)
class Judges:
    """What replies are rewarded and reported by."""

    model: RewardModel | None
    verifiable: VerifiableReward | None
    watch: Watch | None


def train_refined(args: RefineArguments, progress: bool = True, *, encoder: Any = None) -> dict[str, Any]:
    """Refine a profiler, and write the result as a whole model to `args.output`, the adapter beside it in `adapter/`.

    The adapter belongs on the model that was refined, `base_model` of the configuration; where that was an adapter
    itself, on it once merged. An interrupted run goes on from its last checkpoint when the same call is made again; a
    finished one returns at once.

    Args:
        encoder: `encode(texts) -> [n, d]` for the verifiable reward and the alarm; None: the package's own.

    Returns:
        The manifest. `figures` holds the rewards of greedy replies to prompts of held-out users before and after with
        paired 95 % intervals of the change, the KL at the end (nats a reply), and why a run ended early.

    Raises:
        ValueError: settings that do not fit each other, a reward model that is too weak, no prompt that fits.
        TableError, OSError: tables, models and folders that cannot be used.
    """
    folder = Path(args.output)
    done = finished(folder, STAGE, args, _inputs(args))
    if done is not None:
        logger.info("%s is finished already", folder)
        return for_main(args, done)
    require_rewards(args)
    with quiet_libraries():
        return for_main(args, _train(args, folder, progress, encoder))


def _train(args: RefineArguments, folder: Path, progress: bool, encoder: Any) -> dict[str, Any]:
    stopwatch = Stopwatch(folder)
    prompts, origin = read_prompts(args.preferences)
    reward = load_reward(args)
    histories = load_histories(args, encoder, origin.cut)
    parts = load_for_training(args)
    sides = divide(prompts, args, excluded_users(args), parts.tokenizer)
    inputs = {**_inputs(args), "model": parts.label}
    if histories is not None:
        inputs["data"] = histories.fingerprint
    main = claim_on_main(folder, STAGE, args, inputs)
    if not args.load_in_4bit:
        parts.model.to("cpu" if on_cpu(args) else "cuda")
    judges = _judges(args, reward, histories, sides.judge, folder, own_encoder=encoder is None)
    judged = sides.judge.take(range(min(JUDGED, len(sides.judge.users))))
    before = _kept(folder / CHECKPOINTS / _BEFORE, main, lambda: judge(parts.model, parts, judged, judges, args))
    result = _refine(args, parts, sides.learn, judges, folder, progress, stopwatch)
    after = judge(result.model, parts, judged, judges, args)
    wait_for_all(args)  # before the main process clears what others still read
    if not main:
        return {}
    figures = {
        "algorithm": args.algorithm,
        "reward": args.reward,
        "form": origin.form,
        "prompts": len(sides.learn.users),
        "prompts_left_out": sides.left_out,
        "judged": len(judged.users),
        "judged_on": "held-out users" if sides.apart else "the prompts learnt from",
        "watched": judges.watch is not None,
        **_of_log(result),
        **compare(before, after),
    }
    _save(result.model, parts, origin, args, folder)
    training_log(folder, result.log_history)
    write_recipe(args, folder)
    manifest = stage_manifest(folder, STAGE, args, inputs, figures, stopwatch.cost())
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return manifest


def require_rewards(args: RefineArguments) -> None:
    """Check that algorithm, reward and what it is computed from go together.

    Raises:
        ValueError: they do not; says what to change.
    """
    if args.algorithm == "ppo" and args.reward != "model":
        raise ValueError(
            f"algorithm='ppo' with reward={args.reward!r}: TRL's PPO takes a reward model only. Choose algorithm rloo "
            "or grpo, or reward model."
        )
    if args.reward != "verifiable" and args.reward_model is None:
        ways = "" if args.algorithm == "ppo" else ", or choose reward verifiable, which needs none"
        raise ValueError(f"reward={args.reward!r} needs reward_model: the folder or Hub id of `reclm reward`{ways}.")
    if args.reward != "model" and args.data is None:
        raise ValueError(f"reward={args.reward!r} is computed from histories: name the data set with data.")


def judge(
    model: Any, parts: TrainingParts, prompts: Prompts, judges: Judges, args: RefineArguments
) -> dict[str, np.ndarray]:
    """Name -> float64 [n]: the rewards of greedy replies to n prompts, as far as there is something to judge by."""
    texts = write_free(model, parts.tokenizer, prompts.messages, args.batch_size, args.response_length)
    found: dict[str, np.ndarray] = {}
    if judges.model is not None:
        found["reward_model"] = judges.model.score(prompts.messages, texts, batch_size=args.batch_size)
    if judges.verifiable is not None:
        of_verifiable = judges.verifiable.parts(texts, prompts.users)
        found |= {("verifiable" if name == "total" else name): values for name, values in of_verifiable.items()}
    return found


def compare(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Means before and after, and the mean change with its paired 95 % interval (mean, low, high), by name."""
    change = {name: np.asarray(after[name]) - np.asarray(before[name]) for name in before}
    return {
        "before": {name: float(np.mean(values)) for name, values in before.items()},
        "after": {name: float(np.mean(values)) for name, values in after.items()},
        "change": {name: [float(values.mean()), *mean_interval(values)] for name, values in change.items()},
    }


def _inputs(args: RefineArguments) -> dict[str, str]:
    profiles = None if args.profiles is None else str(profiles_file(args))
    found = stage_inputs(args, preferences=args.preferences, profiles=profiles)
    if args.reward_model is not None:
        files = sorted(Path(args.reward_model).expanduser().glob("*.safetensors"))
        sums = " ".join(file_sha256(file) for file in files)
        found["reward_model"] = f"sha256:{sums}" if files else args.reward_model
    return found


def _judges(
    args: RefineArguments,
    reward: RewardModel | None,
    histories: Histories | None,
    judged: Prompts,
    folder: Path,
    *,
    own_encoder: bool,
) -> Judges:
    if histories is None:
        logger.warning("no data is named: nothing watches for a reward that is gamed")
        return Judges(reward, None, None)
    replies = histories.encoder
    if own_encoder:
        from ...recommender.text_encoder import TextEncoder

        # Replies are many and never come back: their vectors are kept as long as the run only.
        replies = Quiet(TextEncoder(cache=folder / CHECKPOINTS / _VECTORS))
        histories = replace(histories, encoder=replies)
    return Judges(reward, histories.verifiable(replies, args.seed), histories.watch(judged, args.alarm_users))


def _kept(path: Path, main: bool, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What was found before, by this run or by the one that it goes on from."""
    if path.is_file():
        return {name: np.array(values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()}
    found = make()
    if main:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json({name: values.tolist() for name, values in found.items()}, path)
    return found


def _refine(
    args: RefineArguments,
    parts: TrainingParts,
    prompts: Prompts,
    judges: Judges,
    folder: Path,
    progress: bool,
    stopwatch: Stopwatch,
) -> PolicyResult:
    if args.algorithm == "ppo":
        from .ppo import refine_ppo

        assert judges.model is not None  # `require_rewards`
        return refine_ppo(args, parts, prompts, judges.model, judges.watch, folder, progress, stopwatch)
    from .groups import refine_group

    named: dict[str, list[Any]] = {
        "model": [judges.model],
        "verifiable": [judges.verifiable],
        "mix": [judges.model, judges.verifiable],
    }
    rewards = [reward for reward in named[args.reward] if reward is not None]
    return refine_group(args, parts, prompts, rewards, judges.watch, folder, progress, stopwatch)


def _of_log(result: PolicyResult) -> dict[str, Any]:
    kl, rewards = series(result.log_history, KL), series(result.log_history, REWARD)
    return {
        "updates": max((int(entry.get("step", 0)) for entry in result.log_history), default=0),
        "stopped_by": result.stopped_by,
        "kl_first": kl[0] if kl else None,
        "kl_last": kl[-1] if kl else None,
        "reward_first": rewards[0] if rewards else None,
        "reward_last": rewards[-1] if rewards else None,
    }


def _save(model: Any, parts: TrainingParts, origin: Origin, args: RefineArguments, folder: Path) -> None:
    tokens = origin.max_tokens or parts.config.max_tokens
    config = replace(parts.config, form=origin.form, max_tokens=tokens)
    profiler = RecLMProfiler(model, parts.tokenizer, config)
    if args.load_in_4bit:  # weights in 4 bits cannot take an adapter in
        profiler.save_pretrained(folder)
        return
    profiler.save_pretrained(folder, merge=True)
    if is_adapted(model):
        # By its name, not by where it lies on this machine.
        place = Path(config.base_model).expanduser()
        named = replace(profiler.config, base_model=place.resolve().name if place.is_dir() else config.base_model)
        (folder / ADAPTER).mkdir(exist_ok=True)
        write_adapter(model, named, folder / ADAPTER)
        named.save(folder / ADAPTER)
