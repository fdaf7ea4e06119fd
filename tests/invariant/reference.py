"""Stored curves with the environment that they were made in, and how far others may be from them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .runs import DRAWN, Curves

FOLDER = Path(__file__).parent / "references"
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy")

SAME = 1e-5
"""Difference allowed, absolute and of the value, in the environment that a reference was made in."""
OTHER = 2e-2
"""The same in any other one: other kernels round otherwise, and forty steps make more of it (5e-4 was seen)."""
FIRST = 15
"""Updates that are compared elsewhere of runs that draw replies: sooner or later rounding turns a draw."""


def snapshot() -> dict[str, str]:
    """What the last digits of a run depend on beside the code."""
    import torch

    found = {name: metadata.version(name) for name in PACKAGES}
    found["python"] = platform.python_version()
    found["platform"] = f"{platform.system()} {platform.machine()}"
    found["processor"] = f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}"  # which kernels are chosen
    found["threads"] = str(torch.get_num_threads())
    return found


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "not known"


def path_of(stage: str) -> Path:
    return FOLDER / f"{stage}.json"


def read(stage: str) -> dict[str, Any]:
    """`environment` and `curves` of a stage. Raises FileNotFoundError saying how they are made."""
    path = path_of(stage)
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is not there: python -m tests.invariant.renew {stage}")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write(stage: str, curves: Curves) -> None:
    """Make curves the reference, with this environment."""
    rounded = {name: [float(f"{value:.9g}") for value in values] for name, values in curves.items()}
    text = json.dumps({"environment": snapshot(), "curves": rounded}, indent=1)
    path_of(stage).write_text(text + "\n", encoding="utf-8")


def changed(stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """In what two environments differ, in words."""
    names = [*stored, *(name for name in now if name not in stored)]
    return [f"{name} {stored.get(name)} -> {now.get(name)}" for name in names if stored.get(name) != now.get(name)]


def differences(stage: str, curves: Curves, wanted: Curves, *, same: bool) -> list[str]:
    """Where curves are further from the stored ones than allowed; one line a curve, none where all is well.

    Elsewhere (`same` is False) a run that draws replies is compared by its first updates: when one draw has turned, the
    others are of another run.
    """
    allowed, found = (SAME if same else OTHER), []
    for name in sorted(curves.keys() | wanted.keys()):
        ours, theirs = np.array(curves.get(name, [])), np.array(wanted.get(name, []))
        if ours.shape != theirs.shape or not len(ours):
            found.append(f"{stage} {name}: {len(ours)} values, stored are {len(theirs)}")
            continue
        length = FIRST if stage in DRAWN and not same else len(ours)
        off = np.abs(ours - theirs)[:length] / (1 + np.abs(theirs[:length]))
        worst = int(np.argmax(off))
        if not off[worst] <= allowed:  # what is not a number is refused too
            beyond = int((~(off <= allowed)).sum())
            found.append(
                f"{stage} {name}: {beyond} of {length} values are off by more than {allowed:g}, most in step "
                f"{worst + 1}: {ours[worst]:.7g}, stored is {theirs[worst]:.7g}"
            )
    return found
