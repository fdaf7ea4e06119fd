"""`--threads`: one unless asked for, the environment below the flag, for every library that a command loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from reclm_hf.commands.arguments import leaves
from reclm_hf.commands.main import build_parser, main
from reclm_hf.commands.threads import limited
from reclm_hf.pipeline.threads import LIBRARIES

# They compute nothing that lasts.
WITHOUT = {
    "completion",
    "data import",
    "instructions import",
    "preferences review",
    "profiles show",
    "pull",
    "push",
}
# `reclm recommend`, which says what it has instead of recommending.
PROGRAM = """
import json, os, sys
from reclm_hf.commands import main, recommend

def run(args):
    import numpy, torch
    from threadpoolctl import threadpool_info
    pools = {pool["user_api"] + " " + pool["prefix"]: pool["num_threads"] for pool in threadpool_info()}
    said = {"threads": args.threads, "torch": torch.get_num_threads(), "pools": pools}
    print(json.dumps(said | {"waiting": os.environ["OMP_WAIT_POLICY"]}))
    return 0

recommend.run = run
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has said anything about threads."""
    for name in (*LIBRARIES, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("flags", "environment", "count"),
    [
        pytest.param([], {}, 1, id="nothing said"),
        pytest.param(["--threads", "2"], {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, 2, id="the flag wins"),
    ],
)
def test_every_library_of_a_command_has_them(
    flags: list[str], environment: dict[str, str], count: int, child_environment: dict[str, str]
) -> None:
    pytest.importorskip("threadpoolctl")
    if (os.cpu_count() or 1) < count:
        pytest.skip("BLAS takes no more threads than there are cores")
    inherited = {
        name: value for name, value in child_environment.items() if name not in (*LIBRARIES, "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "recommend", "model", "user", *flags],
        env={**inherited, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    said = json.loads(done.stdout)
    assert said["threads"] == said["torch"] == count
    assert set(said["pools"].values()) == {count}, said["pools"]
    assert any("blas" in name for name in said["pools"]), "numpy was loaded"
    assert said["waiting"] == "PASSIVE"


@pytest.mark.parametrize(
    ("argv", "value", "count"),
    [
        (["train"], None, 1),
        (["train"], "3", 3),
        (["train"], " 4,2 ", 4),
        (["train"], "0", 1),
        (["train"], "many", 1),
        (["train", "--threads", "2"], "3", 2),
        (["train", "--threads=2", "--quiet"], None, 2),
        (["train", "--thr", "2"], None, 2),
        (["train", "--threads", "0"], "3", 3),
        (["train", "--threads"], None, 1),
    ],
)
def test_the_flag_then_the_environment_then_one(
    argv: list[str], value: str | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    before = torch.get_num_threads()
    with limited(argv):
        assert {os.environ[name] for name in LIBRARIES} == {str(count)}
        assert torch.get_num_threads() == count
        assert build_parser().parse_args(["evaluate", "model"]).threads == count
    assert os.environ.get("OMP_NUM_THREADS") == value
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert torch.get_num_threads() == before, "a caller in the same process has what it had"


def test_what_is_said_of_one_library_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "4")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with limited(["train"]):
        assert (os.environ["MKL_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]) == ("4", "1")
        assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    with limited(["train", "--threads", "2"]):
        assert os.environ["MKL_NUM_THREADS"] == "2", "the flag is for all of them"
    assert os.environ["MKL_NUM_THREADS"] == "4"


def test_every_command_that_computes_has_the_flag() -> None:
    found = {
        leaf.prog.removeprefix("reclm ")
        for leaf in leaves(build_parser())
        if not any("--threads" in action.option_strings for action in leaf._actions)
    }
    assert found == WITHOUT


@pytest.mark.parametrize("command", [["train"], ["demo"], ["sft"], ["profiles", "build"]], ids=" ".join)
@pytest.mark.parametrize("value", ["0", "-1", "two", ""])
def test_an_error_names_the_flag(command: list[str], value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*command, f"--threads={value}"])
    assert f"argument --threads: {value!r}: give a whole number from 1" in capsys.readouterr().err


def test_a_script_of_a_stage_has_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from reclm_hf.commands import ablation, script

    given: list[int] = []
    monkeypatch.setattr(ablation, "run", lambda args: given.append(args.threads) or 0)
    assert script.main(ablation, "ablation", ["--threads", "2"]) == 0
    assert script.main(ablation, "ablation", []) == 0
    assert given == [2, 1]
