"""Training many recommenders, several processes at a time, each resumable in its folder."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from reclm_hf.recommender.trainer import TrainerOptions

from .model_stage import Inputs, train_fixed, train_model
from .specs import ModelSpec
from .threads import environment

_inputs: Inputs | None = None  # of a worker process


def trainer_options(
    spec: ModelSpec, threads: int = 1, optimizer: str = "adam", precision: str = "float32"
) -> TrainerOptions:
    """The training budget of a preset, the same for base, augmented and placebo; the rest as given.

    Raises:
        ValueError: see `TrainerOptions`.
    """
    given = TrainerOptions(seed=spec.seed, threads=threads, optimizer=optimizer, precision=precision)
    if spec.preset == "floor_residual":
        return replace(given, learning_rate=1e-3, max_epochs=12, evaluate_every=2)
    if spec.preset == "reference":
        return replace(given, learning_rate=1e-3, batch_size=4096, max_epochs=50)
    return given


def train_all(
    specs: Sequence[ModelSpec],
    inputs: Inputs,
    folder: Path,
    jobs: int = 1,
    budget: int = 1,
    on_done: Callable[[ModelSpec], None] | None = None,
    epochs: int | None = None,
    threads: int = 1,
) -> dict[str, float]:
    """Train every row in `folder / <label>`; what is finished there is left as it is.

    Args:
        jobs: processes. With 1 everything happens in this one.
        on_done: called after each finished row, in whatever order they finish.
        epochs: train for so many, nothing chosen; None chooses them on validation.
        threads: of each process that trains.

    Returns:
        Label -> seconds that training took, in this call or in an earlier one.

    Raises:
        ValueError: see `train_model`; rows that were finished before are kept.
    """
    seconds: dict[str, float] = {}
    with closing(_finished(specs, inputs, folder, jobs, budget, epochs, threads)) as finished:
        for spec, taken in finished:
            seconds[spec.label] = taken
            if on_done:
                on_done(spec)
    return seconds


def _finished(
    specs: Sequence[ModelSpec],
    inputs: Inputs,
    folder: Path,
    jobs: int,
    budget: int,
    epochs: int | None,
    threads: int,
) -> Generator[tuple[ModelSpec, float], None, None]:
    if jobs == 1:
        for spec in specs:
            yield spec, _train(spec, inputs, folder, budget, epochs, threads)
        return
    # The encoder stays here: its identity is all that training asks for, and a model need not be copied for that.
    carried = replace(inputs, encoder=_Identity(inputs.encoder) if inputs.encoder is not None else None)
    # Chosen once, not once a process, and only for those that use it.
    half_life = inputs.half_life_days if any(spec.config().floors for spec in specs) else None
    os.environ.update(environment(threads))  # read by the new processes only; here the libraries are loaded already
    context = multiprocessing.get_context("spawn")  # a forked process inherits locked thread pools
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(carried, half_life, threads))
    # A pool cannot cancel what it has queued for its processes: each gets the next row when it is free.
    open_specs = iter(specs)
    waiting: dict[Future[float], ModelSpec] = {}
    others = set(multiprocessing.active_children())

    def submit(count: int) -> None:
        for spec in islice(open_specs, count):
            with _interrupts_later():
                waiting[pool.submit(_train_here, spec, folder, budget, epochs, threads)] = spec

    try:
        submit(jobs)
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                finished = waiting.pop(future), future.result()
                submit(1)
                yield finished
    except BaseException as error:
        # Not waited for, whatever happened: what they have finished and their checkpoints are on the disk, and an error
        # of one row would else be told when the others have ended, perhaps hours later.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise OSError("A training process was killed, perhaps for want of memory: give fewer --jobs.") from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Processes started here never see Ctrl-C, which a terminal sends to all of them: their parent ends them.

    Here it counts once they are started, which takes seconds where they are given much: half a start is left to none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    # Blocked signals stay blocked in new processes. Another thread may receive what this one blocks: hence the handler.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if caught:
            signal.raise_signal(signal.SIGINT)


class _Identity:
    """What a configuration keeps of a text encoder."""

    def __init__(self, encoder: Any) -> None:
        self.model_id, self.revision, self.max_length = encoder.model_id, encoder.revision, encoder.max_length


def _start(inputs: Inputs, half_life_days: float | None, threads: int) -> None:
    import torch
    from tqdm import tqdm
    from transformers.utils import logging

    global _inputs
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    tqdm.set_lock(threading.RLock())  # its own is shared by processes, and one that is ended would leave it behind
    logging.disable_progress_bar()  # see `_train`
    inputs.__dict__["half_life_days"] = half_life_days
    _inputs = inputs


def _end_with_parent() -> None:
    """A process whose parent was killed would train on for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _train_here(spec: ModelSpec, folder: Path, budget: int, epochs: int | None, threads: int) -> float:
    assert _inputs is not None
    return _train(spec, _inputs, folder, budget, epochs, threads)


def _train(spec: ModelSpec, inputs: Inputs, folder: Path, budget: int, epochs: int | None, threads: int) -> float:
    options = trainer_options(spec, threads)
    if epochs is None:
        train_model(spec, inputs, options, folder / spec.label, budget)
    else:
        progress = multiprocessing.parent_process() is None  # bars of several processes overwrite one another
        train_fixed(spec, inputs, options, folder / spec.label, epochs, progress)
    return float(json.loads((folder / spec.label / "done.json").read_text(encoding="utf-8"))["seconds"])
