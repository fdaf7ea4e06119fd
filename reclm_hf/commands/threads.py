"""`--threads`: how many a process has, one unless asked for more, whatever the number of cores."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..pipeline.threads import OPENMP, environment
from .arguments import count

_FLAG = "--threads"
_WAITING = "OMP_WAIT_POLICY"


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Register --threads; it is an int after parsing, given or not."""
    parser.add_argument(
        _FLAG,
        type=count,
        default=_from_environment(),
        metavar="N",
        help=f"of each process (PyTorch, BLAS, OpenMP), for cores that are idle; default: {OPENMP}, else 1",
    )


@contextmanager
def limited(argv: Sequence[str]) -> Iterator[None]:
    """While this is open, the libraries that are loaded have the threads that the arguments of a command ask for.

    Without --threads it is `OMP_NUM_THREADS`, else 1; a variable of one library alone that is set stays as it is. Idle
    OpenMP threads sleep instead of spinning, unless `OMP_WAIT_POLICY` says otherwise. numpy is loaded while the parser
    is built, and reads its variable then: hence before the arguments are parsed.
    """
    asked = _asked(argv)
    threads = asked or _from_environment()
    variables = environment(threads)
    before = {name: os.environ.get(name) for name in (*variables, _WAITING)}
    for name, value in variables.items():
        if asked or name == OPENMP or name not in os.environ:
            os.environ[name] = value
    os.environ.setdefault(_WAITING, "PASSIVE")
    loaded = _of_torch()
    _set_torch(threads)
    try:
        yield
    finally:
        for name, kept in before.items():
            if kept is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = kept
        _set_torch(loaded)


def _asked(argv: Sequence[str]) -> int | None:
    """The value of --threads; None where it is not given or the parser will refuse it."""
    alone = argparse.ArgumentParser(add_help=False)
    alone.add_argument(_FLAG, nargs="?")
    try:
        return count(alone.parse_known_args(argv)[0].threads or "")
    except argparse.ArgumentTypeError:
        return None


def _from_environment() -> int:
    """`OMP_NUM_THREADS`, of a list its first number; 1 where it is not set or no number, which OpenMP would ignore."""
    try:
        return count(os.environ.get(OPENMP, "").partition(",")[0].strip())
    except argparse.ArgumentTypeError:
        return 1


def _of_torch() -> int | None:
    """Threads of PyTorch where it is loaded: it has read the variables already."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


def _set_torch(threads: int | None) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and threads is not None:
        torch.set_num_threads(threads)
