"""Threads of a process: the variables that libraries read when they are loaded, and a note for idle cores."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger(__name__)

OPENMP = "OMP_NUM_THREADS"
# OpenMP (PyTorch and others), the BLAS of numpy and PyTorch, and the tokenizers.
LIBRARIES = (OPENMP, "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "RAYON_NUM_THREADS")


def environment(threads: int) -> dict[str, str]:
    """The variables that give a new process so many threads."""
    return dict.fromkeys(LIBRARIES, str(threads))


def note_idle_cores() -> None:
    """Say that --threads may help, where a language model is about to run on one thread of several cores.

    Nobody knows here whether the others are idle, and two threads on busy cores are slower than one by far: hence a
    note, and no other default.
    """
    import torch

    count = _cores()
    alone = os.environ.get("WORLD_SIZE", "1") == "1"  # processes of one launch share the cores
    if alone and count > 1 and torch.get_num_threads() == 1 and not torch.cuda.is_available():
        logger.info("The language model has one thread of %d cores: --threads N may help where they are idle.", count)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
