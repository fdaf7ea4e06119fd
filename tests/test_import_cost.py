"""A bare import and `--help` stay cheap: nothing heavy is loaded before it is used."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "pandas", "pyarrow", "datasets", "scipy")
LIMIT_SECONDS = 1.0
SHOW_HEAVY = f"import sys; print([name for name in {HEAVY!r} if name in sys.modules])"


def cpu_seconds_of(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """User and system time of a child process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["-c", "import reclm_hf"], ["-m", "reclm_hf.commands.main", "--help"]],
    ids=["import reclm_hf", "reclm --help"],
)
def test_cpu_time(arguments: list[str], child_environment: dict[str, str]) -> None:
    command = [sys.executable, *arguments]
    cpu_seconds_of(command, child_environment)  # the first run may compile
    seconds = min(cpu_seconds_of(command, child_environment)[0] for _ in range(3))
    assert seconds < LIMIT_SECONDS


@pytest.mark.parametrize(
    "statement",
    ["import reclm_hf", "from reclm_hf.commands.main import build_parser; build_parser()"],
    ids=["import reclm_hf", "build the parser"],
)
def test_nothing_heavy_is_loaded(statement: str, child_environment: dict[str, str]) -> None:
    _, printed = cpu_seconds_of([sys.executable, "-c", f"{statement}; {SHOW_HEAVY}"], child_environment)
    assert printed.strip() == "[]"
