"""The allocator setting does what it is there for: large tensors no longer fault their pages in anew."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import json, resource
import torch
from reclm_hf.pipeline.memory import keep_freed_memory

def faults():
    for turn in range(10):
        if turn == 5:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.full((12_000_000,), 1.0).add(1.0)  # 48 MB each
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
usual = faults()
assert keep_freed_memory()
print(json.dumps({"usual": usual, "kept": faults()}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_memory_is_used_again(child_environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=child_environment, check=True, capture_output=True, text=True
    )
    faults = json.loads(done.stdout)
    assert faults["kept"] < 0.1 * faults["usual"]
