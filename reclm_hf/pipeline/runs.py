"""Training many recommenders, several processes at a time, each resumable in its folder."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from reclm_hf.recommender.trainer import TrainerOptions

from .model_stage import Inputs, ModelSpec, train_model

_inputs: Inputs | None = None  # of a worker process


def trainer_options(spec: ModelSpec) -> TrainerOptions:
    """The training budget of a preset, the same for base, augmented and placebo."""
    if spec.preset == "floor_residual":
        return TrainerOptions(seed=spec.seed, learning_rate=1e-3, max_epochs=12, evaluate_every=2)
    if spec.preset == "reference":
        return TrainerOptions(seed=spec.seed, learning_rate=1e-3, batch_size=4096, max_epochs=50)
    return TrainerOptions(seed=spec.seed)


def train_all(
    specs: Sequence[ModelSpec],
    inputs: Inputs,
    folder: Path,
    jobs: int = 1,
    budget: int = 1,
    on_done: Callable[[ModelSpec], None] | None = None,
) -> dict[str, float]:
    """Train every row in `folder / <label>`; what is finished there is left as it is.

    Args:
        jobs: processes, one thread each. With 1 everything happens in this process, with its threads.
        on_done: called after each finished row, in whatever order they finish.

    Returns:
        Label -> seconds that training took, in this call or in an earlier one.

    Raises:
        ValueError: see `train_model`; rows that were finished before are kept.
    """
    seconds: dict[str, float] = {}
    for spec, taken in _finished(specs, inputs, folder, jobs, budget):
        seconds[spec.label] = taken
        if on_done:
            on_done(spec)
    return seconds


def _finished(
    specs: Sequence[ModelSpec], inputs: Inputs, folder: Path, jobs: int, budget: int
) -> Iterator[tuple[ModelSpec, float]]:
    if jobs == 1:
        for spec in specs:
            yield spec, _train(spec, inputs, folder, budget)
        return
    # The encoder stays here: its identity is all that training asks for, and a model need not be copied for that.
    carried = replace(inputs, encoder=_Identity(inputs.encoder) if inputs.encoder is not None else None)
    # Chosen once, not once a process.
    half_life = inputs.half_life_days
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[library] = "1"  # read by the new processes only; here the libraries are loaded already
    context = multiprocessing.get_context("spawn")  # a forked process inherits locked thread pools
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(carried, half_life))
    # A pool cannot cancel what it has queued for its processes: each gets the next row when it is free.
    open_specs = iter(specs)
    waiting: dict[Future[float], ModelSpec] = {}
    try:
        for spec in islice(open_specs, jobs):
            waiting[pool.submit(_train_here, spec, folder, budget)] = spec
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                finished = waiting.pop(future), future.result()
                for spec in islice(open_specs, 1):
                    waiting[pool.submit(_train_here, spec, folder, budget)] = spec
                yield finished
    except BrokenProcessPool as error:
        raise OSError("A training process was killed, perhaps for want of memory: give fewer --jobs.") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Identity:
    """What a configuration keeps of a text encoder."""

    def __init__(self, encoder: Any) -> None:
        self.model_id, self.revision, self.max_length = encoder.model_id, encoder.revision, encoder.max_length


def _start(inputs: Inputs, half_life_days: float | None) -> None:
    import torch
    from transformers.utils import logging

    global _inputs
    torch.set_num_threads(1)
    logging.disable_progress_bar()  # bars of several processes overwrite one another
    inputs.__dict__["half_life_days"] = half_life_days
    _inputs = inputs


def _train_here(spec: ModelSpec, folder: Path, budget: int) -> float:
    assert _inputs is not None
    return _train(spec, _inputs, folder, budget)


def _train(spec: ModelSpec, inputs: Inputs, folder: Path, budget: int) -> float:
    train_model(spec, inputs, trainer_options(spec), folder / spec.label, budget)
    return float(json.loads((folder / spec.label / "done.json").read_text(encoding="utf-8"))["seconds"])
