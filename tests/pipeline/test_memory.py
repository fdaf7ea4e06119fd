"""The allocator setting does what it is there for: large tensors no longer fault their pages in anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
import torch
from reclm_hf.pipeline.memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
torch.set_num_threads(1)
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.full((12_000_000,), 1.0).add(1.0)  # 48 MB each
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_memory_is_used_again(child_environment: dict[str, str]) -> None:
    faults = {
        setting: int(
            subprocess.run(
                [sys.executable, "-c", _PROGRAM, setting],
                env=child_environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for setting in ("kept", "usual")
    }
    assert faults["kept"] < 0.1 * faults["usual"]
