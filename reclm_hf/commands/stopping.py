"""Ctrl-C and SIGTERM: one clear end, after which the same command goes on; a second signal ends at once."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_TRAINED = "floors, profiles and recommenders that are finished, and the last checkpoint of one in training"
_STAGE = "the last checkpoint"
_WRITTEN = "the profiles written so far"
# What the same command finds again. Every other one leaves nothing half-written behind.
KEPT = {
    "demo": _TRAINED,
    "ablation": _TRAINED,
    "reproduce": _TRAINED,
    "train": "the settings tried, the number of epochs where it is chosen, and the last checkpoint",
    "evaluate": "the floors that are fitted",
    "profiles build": _WRITTEN,
    "profiles update": _WRITTEN,
    "preferences build": _WRITTEN,
    "measure": "the profiles and answers written so far",
    "sft": _STAGE,
    "reward": _STAGE,
    "refine": _STAGE,
    "push": "what the Hub has received",
    "pull": "the files fetched so far",
}


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end; libraries take it for Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell makes of a process that the signal ended: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number


@contextmanager
def stoppable() -> Iterator[None]:
    """While this is open, the first SIGINT or SIGTERM raises `Stopped`, and a second one ends the process at once.

    A signal that whoever started the process has it ignore (a shell's background job) stays ignored. In another thread
    than the main one nothing can be set, and nothing is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]

    def stop(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def called_as() -> list[str]:
    """What was typed before the arguments of this process: `reclm`, a path to it, or Python and a module or script."""
    typed = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    script = sys.argv[0]
    if os.path.splitext(os.path.basename(script))[0] != "reclm":
        return typed
    found = shutil.which("reclm")
    return ["reclm"] if found and os.path.exists(script) and os.path.samefile(found, script) else [script]


def said(
    error: KeyboardInterrupt, command: str, argv: Sequence[str], program: Sequence[str] = ("reclm",)
) -> tuple[str, int]:
    """What to tell of an interruption, two lines, and the exit code.

    Args:
        command: as in `KEPT`; "" where it is not known. argv: the arguments of this call. program: `called_as`.
    """
    terminated = isinstance(error, Stopped) and error.number == signal.SIGTERM
    kept = KEPT.get(command)
    what = f"Kept: {kept}." if kept else "Nothing is left half-written."
    step = "Go on with" if kept else "Start again with"
    code = error.exit_code if isinstance(error, Stopped) else 128 + signal.SIGINT
    head = f"reclm: {'terminated' if terminated else 'interrupted'}. {what}"
    return f"{head}\n{step}: {shlex.join([*program, *argv])}", code
