"""What each row times in the package: public calls only, which earlier commits have too."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import speed_data
import torch
from speed_data import SpeedData
from speed_rows import FIFTY

from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.pipeline.runs import trainer_options
from reclm_hf.pipeline.specs import ModelSpec
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.sampling import NegativeSampler
from reclm_hf.recommender.trainer import TrainerOptions, fit

BLOCK = 512  # users scored at a time, as in `evaluate`
LARGE, LARGE_QUICK = 1_000_000, 5_000
TEXTS, TEXTS_QUICK = 512, 16
BOTH = ("test_items", "zero_shot")


class Cost(NamedTuple):
    """Seconds of one unit; `cpu` counts all threads of the process."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Context:
    """What rows are built from. quick: tiny sizes, one short sample each."""

    data: SpeedData
    quick: bool


@dataclass
class Probe:
    """A row that is ready to be timed.

    Attributes:
        sample: measures one unit. whole: the whole run, once, where `sample` measures a part of it.
        facts: said beside the figures. check: values that the other way must agree with.
    """

    sample: Callable[[], Cost]
    whole: Callable[[], Cost] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    check: Callable[[], dict[str, float]] = dict


def now() -> Cost:
    """Both clocks."""
    return Cost(time.perf_counter(), time.process_time())


def since(start: Cost, units: float = 1.0) -> Cost:
    """Seconds of a unit since `start`."""
    end = now()
    return Cost((end.wall - start.wall) / units, (end.cpu - start.cpu) / units)


def once(work: Callable[[], object], units: float = 1.0) -> Cost:
    """One call, which does `units`."""
    start = now()
    work()
    return since(start, units)


def repeated(work: Callable[[], object], quick: bool, units: float = 1.0) -> Callable[[], Cost]:
    """A sample of so many calls that it takes a while: clocks are too coarse for one short call."""
    least = 0.01 if quick else 0.3

    def sample() -> Cost:
        start, calls = now(), 0
        while time.perf_counter() - start.wall < least:
            work()
            calls += 1
        return since(start, calls * units)

    return sample


def untrained(context: Context, backbone: str) -> RecLMRecommender:
    """A model of the preset `reference`, always with the same weights."""
    torch.manual_seed(0)
    data = context.data
    return build_recommender(ModelSpec(backbone, "reference", "none").config(), data.data, data.split, data.vectors)


def options_of(backbone: str) -> TrainerOptions:
    """The preset's own: Adam 1e-3, batches of 4096."""
    return trainer_options(ModelSpec(backbone, "reference", "none"))


def negatives(context: Context) -> Probe:
    """One exact negative for every interaction."""
    split, rng = context.data.split, np.random.default_rng(0)
    user = split.history_user.astype(np.int64)
    start = now()
    sampler = NegativeSampler(split.history_matrix(), np.flatnonzero(split.warm))
    facts = {"sampler_built_seconds": since(start).cpu}
    return Probe(repeated(lambda: sampler.sample(user, rng), context.quick), facts=facts)


def epochs(context: Context, backbone: str) -> Probe:
    """An epoch of `fit`: the second and third of a run, so that what is built once is not counted."""
    return Probe(_epochs(untrained(context, backbone), context, options_of(backbone), 2))


def steps(context: Context, backbone: str) -> Probe:
    """A step of `fit` over all users and items: epochs of one batch each, the second counts."""
    options, split = options_of(backbone), context.data.split
    rows = np.random.default_rng(0).permutation(len(split.history_user))[: options.batch_size]
    time_of = None if split.history_time is None else split.history_time[np.sort(rows)]
    part = replace(
        split,
        history_user=split.history_user[np.sort(rows)],
        history_item=split.history_item[np.sort(rows)],
        history_time=time_of,
    )
    model = untrained(context, backbone)
    small = replace(context, data=replace(context.data, split=part))
    return Probe(_epochs(model, small, options, 1))


def _epochs(
    model: RecLMRecommender,
    context: Context,
    options: TrainerOptions,
    count: int,
    each: Callable[[], object] | None = None,
    units: float = 1.0,
) -> Callable[[], Cost]:
    """Samples of `count` epochs after a first one; `each` runs after every epoch, within the time."""

    def sample() -> Cost:
        marks: list[Cost] = []

        def on_epoch(_: dict[str, Any]) -> None:
            if each is not None:
                each()
            marks.append(now())

        fit(model, context.data.split, 1 + count, options, on_epoch=on_epoch)
        first, last = marks[0], marks[-1]
        scale = units / count
        return Cost((last.wall - first.wall) * scale, (last.cpu - first.cpu) * scale)

    return sample


def evaluation(context: Context) -> Probe:
    """Recall, NDCG and all else at 20 and 40, for all users; the representations are computed anew."""
    model, split = untrained(context, "bias_mf").eval(), context.data.split

    def work() -> dict[str, dict[str, float]]:
        with torch.no_grad():
            model.user_embedding.weight.add_(0.0)  # a new version: nothing is remembered from before
        return evaluate(model, split, settings=("test_items",), ks=(20, 40)).summary()

    def check() -> dict[str, float]:
        found = work()["test_items"]
        return {name: found[name] for name in ("recall@20", "ndcg@20", "recall@40", "ndcg@40")}

    facts = {"users": len(np.unique(split.target_user)), "candidates": len(split.candidates("test_items"))}
    return Probe(repeated(work, context.quick), facts=facts, check=check)


def ncf_scores(context: Context) -> Probe:
    """Every user with every item of the test day, block after block."""
    model, split = untrained(context, "ncf").eval(), context.data.split
    items = split.candidates("test_items").astype(np.int64)
    users = np.arange(split.n_users)

    def work() -> None:
        for start in range(0, len(users), BLOCK):
            model.score(users[start : start + BLOCK], items)

    def check() -> dict[str, float]:
        return {"sum_of_a_block": float(model.score(users[:BLOCK], items).astype(np.float64).sum())}

    return Probe(partial(once, work), facts={"users": len(users), "items": len(items)}, check=check)


def fifty(context: Context) -> Probe:
    """An epoch with both evaluations times fifty, and the whole run once."""
    model, split, options = untrained(context, "bias_mf"), context.data.split, options_of("bias_mf")

    def evaluated(trained: RecLMRecommender) -> None:
        evaluate(trained, split, settings=BOTH, ks=(20, 40))

    def whole() -> Cost:
        fresh = untrained(context, "bias_mf")
        return once(lambda: fit(fresh, split, FIFTY, options, on_epoch=lambda _: evaluated(fresh)))

    facts = {"extrapolated": f"an epoch with both evaluations times {FIFTY}"}
    return Probe(
        _epochs(model, context, options, 1, lambda: evaluated(model), FIFTY), None if context.quick else whole, facts
    )


def recommend(context: Context) -> Probe:
    """The 20 best of a million items, another user every time."""
    data = speed_data.large_catalogue(LARGE_QUICK if context.quick else LARGE)
    model = untrained(Context(data, context.quick), "bias_mf").eval()
    users, turn = [str(user) for user in data.split.user_ids], [0]

    def work() -> None:
        turn[0] += 1
        model.recommend([users[turn[0] % len(users)]], k=20)

    work()
    return Probe(repeated(work, context.quick), facts={"data": data.name})


def texts_of(context: Context) -> list[str]:
    """Item texts of the data, drawn at random; words where the data have none."""
    given = context.data.data.items["text"].tolist()
    rng = np.random.default_rng(0)
    if len(given[0].split()) < 2:  # made data carry ids only
        words = np.array(["travel", "news", "sports", "health", "music", "weather", "food", "video"])
        given = [" ".join(rng.choice(words, rng.integers(12, 90))) for _ in given]
    count = TEXTS_QUICK if context.quick else TEXTS
    return [given[row] for row in rng.permutation(len(given))[:count]]


def encoding(context: Context) -> Probe:
    """`TextEncoder.encode`. A number at the end makes every text new, so that none is read from the cache."""
    from reclm_hf.recommender.text_encoder import TextEncoder

    folder = tempfile.TemporaryDirectory()
    encoder, given, turn = TextEncoder(cache=Path(folder.name)), texts_of(context), [0]
    kept = {"texts": len(given), "characters": float(np.mean([len(text) for text in given]))}

    def work() -> None:
        assert folder  # the cache lives as long as the probe
        turn[0] += 1
        encoder.encode([f"{text} {turn[0]}" for text in given], progress=False)

    def check() -> dict[str, float]:
        return {"first_component": float(encoder.encode(given[:1], progress=False)[0, 0])}

    return Probe(lambda: once(work, len(given)), facts=kept, check=check)


def profiles(context: Context) -> Probe:
    """The engine's own decoding, `PROFILES` users at a time."""
    from speed_profiles import Writers

    writers = Writers(context.quick)
    return Probe(writers.ours, facts=writers.facts)


OURS: dict[str, Callable[[Context], Probe]] = {
    "negatives": negatives,
    "bias_mf": partial(epochs, backbone="bias_mf"),
    "lightgcn": partial(epochs, backbone="lightgcn"),
    "sgl": partial(steps, backbone="sgl"),
    "simgcl": partial(steps, backbone="simgcl"),
    "evaluation": evaluation,
    "ncf_scores": ncf_scores,
    "fifty": fifty,
    "recommend": recommend,
    "encoding": encoding,
    "profiles": profiles,
}
