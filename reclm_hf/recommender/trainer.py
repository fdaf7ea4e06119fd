"""Training: triples (BPR) for `standard`, episodes (full softmax over time blocks) for `floor_residual`.

The number of epochs is chosen on the validation split by `choose_epochs`; `fit` then trains on the whole history for
exactly that many. Both go on from their checkpoint after a kill and end where an uninterrupted run ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from reclm_hf.data.splits import Split

from .checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from .episodes import EpisodeEpochs
from .modeling_reclm_recommender import RecLMRecommender
from .optimizers import OPTIMIZERS, RowGradients, complete_gradients, decay_all, dense_gradients, make_optimizer
from .precision import PRECISIONS, autocast
from .profile_fit import ProfileFit, make_profile_fit
from .sampling import DeviceNegativeSampler, NegativeSampler
from .shares import add_up, current_share, take_step, wait_for_all

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainerOptions:
    """How to train.

    Args:
        max_epochs: the most that `choose_epochs` tries. batch_size: triples a step. learning_rate: of Adam.
        patience: evaluations without a better value before stopping. evaluate_every: epochs between evaluations.
        n_blocks: time blocks of the history, for episodes. checkpoint_seconds: least time between checkpoints.
        threads: of this process while it trains. More help on idle cores only: on busy ones they wait for each other.
        optimizer: `adam`, or `row_sparse_adam`, which leaves rows that a batch does not touch as they are (see
            `RowSparseAdam`): other results, and no pass over tables of millions of rows.
        precision: `float32`, or `bfloat16` for the matrix products of the forward pass (autocast), an approximation.

    Raises:
        ValueError: an unknown optimizer or precision, or no thread.
    """

    max_epochs: int = 40
    batch_size: int = 2048
    learning_rate: float = 3e-3
    patience: int = 3
    evaluate_every: int = 5
    seed: int = 0
    n_blocks: int = 10
    checkpoint_seconds: float = 5.0
    threads: int = 1
    optimizer: str = "adam"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name, known in (("optimizer", OPTIMIZERS), ("precision", tuple(PRECISIONS))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known; choose one of {', '.join(known)}.")
        if self.threads < 1:
            raise ValueError(f"threads={self.threads}: give at least 1.")


@dataclass
class TrainingResult:
    """What a run did. history: one entry an epoch, `epoch`, `loss` and, where measured, `value`."""

    best_epoch: int
    best_value: float | None
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


class DivergedError(ValueError):
    """The loss is no number any more."""


class Epochs(Protocol):
    """One pass over the training data."""

    def run(self, model: RecLMRecommender, optimizer: torch.optim.Optimizer, rng: np.random.Generator) -> float:
        """Train for one epoch and return the mean loss."""


class TripleEpochs:
    """BPR triples: every history pair once, with one fresh exact negative."""

    def __init__(
        self, split: Split, batch_size: int, profile_fit: ProfileFit | None = None, precision: str = "float32"
    ) -> None:
        self.precision = precision
        self.sampler = NegativeSampler(split.history_matrix(), np.flatnonzero(split.warm))
        self.user = split.history_user.astype(np.int64)
        self.item = split.history_item.astype(np.int64)
        usable = self.sampler.free[self.user] > 0
        self.profile_fit = ProfileFit(len(self.user)) if profile_fit is None else profile_fit
        self.groups = [rows[usable[rows]] for rows in self.profile_fit.groups()]
        self.batch_size = batch_size
        self._device_sampler: DeviceNegativeSampler | None = None

    def run(self, model: RecLMRecommender, optimizer: torch.optim.Optimizer, rng: np.random.Generator) -> float:
        """See `Epochs`."""
        total, rows = torch.zeros((), device=model.device), 0
        share, decayed = current_share(), decay_all(model, optimizer)
        optimizer.zero_grad(set_to_none=True)
        with RowGradients(model, optimizer) as gradients:
            for group, batch in self._batches(rng, model.device):
                profile = self.profile_fit.users(group, batch[0], batch[1])
                triple = {"user_index": batch[0], "positive_index": batch[1], "negative_index": batch[2]}
                with autocast(model.device, self.precision):
                    found = model(**triple, user_profile=profile, share=share, l2_gradient=not decayed)
                found.loss.backward()
                if decayed:
                    complete_gradients(model)
                take_step(model, optimizer, share)
                gradients.clear(batch[0], batch[1:].reshape(-1))
                total += found.loss.detach() * batch.shape[1]  # read at the end: an accelerator need not be waited for
                rows += batch.shape[1]
        add_up([total], share)
        return float(total) / rows

    def _batches(self, rng: np.random.Generator, device: torch.device) -> list[tuple[int, torch.Tensor]]:
        """(group, [3, B] users, positives, negatives), in random order."""
        batches = []
        for group, rows in enumerate(self.groups):
            if not len(rows):
                continue
            order = rows[rng.permutation(len(rows))]
            user, positive = self.user[order], self.item[order]
            if device.type == "cpu":
                triples = torch.from_numpy(np.stack([user, positive, self.sampler.sample(user, rng)]))
            else:
                triples = self._on_device(torch.from_numpy(np.stack([user, positive])).to(device), rng)
            batches += [(group, batch) for batch in triples.split(self.batch_size, dim=1)]
        if len(self.groups) == 1:
            return batches
        return [batches[number] for number in rng.permutation(len(batches))]

    def _on_device(self, pairs: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """[3, n] of users and positives [2, n] and negatives that are drawn where these are."""
        if self._device_sampler is None or self._device_sampler.items.device != pairs.device:
            self._device_sampler = DeviceNegativeSampler(self.sampler, pairs.device)
        # Seeded from the generator that a checkpoint keeps.
        generator = torch.Generator(pairs.device).manual_seed(int(rng.integers(2**63)))
        return torch.cat([pairs, self._device_sampler.sample(pairs[0], generator).unsqueeze(0)])


def make_epochs(
    model: RecLMRecommender, split: Split, options: TrainerOptions, fold_profiles: list[np.ndarray] | None = None
) -> Epochs:
    """The training pass that the preset asks for."""
    profile_fit = make_profile_fit(model, split, fold_profiles)
    if model.config.loss == "softmax":
        if model.config.profile_fit == "cross_fit" and options.n_blocks % 2:
            raise ValueError(
                f"n_blocks={options.n_blocks}: with cross_fit give an even number, so that no block has both halves."
            )
        return EpisodeEpochs(model, split, options.n_blocks, profile_fit=profile_fit, precision=options.precision)
    return TripleEpochs(split, options.batch_size, profile_fit, options.precision)


def choose_epochs(
    model: RecLMRecommender,
    split: Split,
    evaluate: Callable[[RecLMRecommender], float],
    options: TrainerOptions,
    folder: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    fold_profiles: list[np.ndarray] | None = None,
) -> TrainingResult:
    """Train with early stopping and say which number of epochs was best; 0 is a candidate too.

    The model is left with the weights of its best epoch.

    Args:
        split: the validation split, whose history is trained on; `evaluate` measures on its targets.
        evaluate: higher is better.
        folder: checkpoints go here; None trains without.
        fold_profiles: see `make_profile_fit`.
    """
    return _train(model, split, options, options.max_epochs, evaluate, folder, on_epoch, fold_profiles)


def fit(
    model: RecLMRecommender,
    split: Split,
    epochs: int,
    options: TrainerOptions,
    folder: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    fold_profiles: list[np.ndarray] | None = None,
) -> TrainingResult:
    """Train for exactly `epochs` epochs on the history of `split`, looking at no target."""
    return _train(model, split, options, epochs, None, folder, on_epoch, fold_profiles)


def _train(
    model: RecLMRecommender,
    split: Split,
    options: TrainerOptions,
    epochs: int,
    evaluate: Callable[[RecLMRecommender], float] | None,
    folder: Path | None,
    on_epoch: Callable[[dict[str, Any]], None] | None,
    fold_profiles: list[np.ndarray] | None,
) -> TrainingResult:
    optimizer = make_optimizer(model, options)
    try:
        return _train_with(optimizer, model, split, options, epochs, evaluate, folder, on_epoch, fold_profiles)
    finally:
        dense_gradients(model)


def _train_with(
    optimizer: torch.optim.Optimizer,
    model: RecLMRecommender,
    split: Split,
    options: TrainerOptions,
    epochs: int,
    evaluate: Callable[[RecLMRecommender], float] | None,
    folder: Path | None,
    on_epoch: Callable[[dict[str, Any]], None] | None,
    fold_profiles: list[np.ndarray] | None,
) -> TrainingResult:
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    best: dict[str, torch.Tensor] = {}
    resumed = load_checkpoint(folder, model, optimizer, rng, best) if folder else None
    wait_for_all(current_share())  # the first process may soon write or remove what the others read
    result = TrainingResult(**resumed) if resumed else TrainingResult(best_epoch=0, best_value=None)
    if not resumed and evaluate:
        result.best_value = evaluate(model)
        best = _copy_weights(model)
        result.history.append({"epoch": 0, "loss": None, "value": result.best_value})
    passes = make_epochs(model, split, options, fold_profiles) if epochs else None
    started, saved = time.perf_counter() - result.seconds, time.perf_counter()
    done = result.history[-1]["epoch"] if result.history else 0
    for epoch in range(done + 1, epochs + 1):
        if evaluate and _exhausted(result, options):
            break
        model.train()
        assert passes is not None
        with threads(options.threads):
            entry: dict[str, Any] = {"epoch": epoch, "loss": passes.run(model, optimizer, rng)}
        if not np.isfinite(entry["loss"]):
            raise DivergedError(f"The loss became {entry['loss']} in epoch {epoch}: lower learning_rate.")
        model.eval()
        if evaluate and (epoch % options.evaluate_every == 0 or epoch == epochs):
            entry["value"] = evaluate(model)
            if result.best_value is None or entry["value"] > result.best_value:
                result.best_epoch, result.best_value = epoch, entry["value"]
                best = _copy_weights(model)
        result.history.append(entry)
        result.seconds = time.perf_counter() - started
        if on_epoch:
            on_epoch(entry)
        if folder and current_share().rank == 0 and time.perf_counter() - saved > options.checkpoint_seconds:
            save_checkpoint(folder, model, optimizer, asdict(result), rng, best)
            saved = time.perf_counter()
    if evaluate:
        model.load_state_dict(best, strict=False)
    else:
        result.best_epoch = epochs
    model.eval()
    result.seconds = time.perf_counter() - started
    if folder and current_share().rank == 0:
        remove_checkpoint(folder)
    return result


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch with so many threads in this process; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _copy_weights(model: RecLMRecommender) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _exhausted(result: TrainingResult, options: TrainerOptions) -> bool:
    return result.history[-1]["epoch"] - result.best_epoch >= options.patience * options.evaluate_every
