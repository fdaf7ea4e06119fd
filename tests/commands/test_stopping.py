"""The command that an interruption names is the one that was typed; scripts of their own end like `reclm`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import ModuleType

import pytest

from reclm_hf.commands import script
from reclm_hf.commands.stopping import called_as


@pytest.mark.parametrize(
    ("typed", "argv", "program"),
    [
        (["python3", "-m", "reclm.main", "demo"], ["/x/main.py", "demo"], "python3 -m reclm.main"),
        (["python", "-u", "training/sft.py", "--config", "a"], ["training/sft.py", "--config", "a"],
         "python -u training/sft.py"),
        (["/x/bin/python", "PLACE/reclm", "demo", "--all"], ["PLACE/reclm", "demo", "--all"], "PLACE/reclm"),
    ],
    ids=["module", "script", "console script"],
)  # fmt: skip
def test_it_names_what_was_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: list[str], argv: list[str], program: str
) -> None:
    here = [[word.replace("PLACE", str(tmp_path)) for word in words] for words in (typed, argv)]
    monkeypatch.setattr(sys, "orig_argv", here[0])
    monkeypatch.setattr(sys, "argv", here[1])
    (tmp_path / "reclm").touch(mode=0o755)
    monkeypatch.setenv("PATH", "")
    assert " ".join(called_as()) == program.replace("PLACE", str(tmp_path))


def test_a_command_on_the_path_needs_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "reclm").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "orig_argv", ["/x/bin/python", str(tmp_path / "reclm"), "demo"])
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "reclm"), "demo"])
    assert called_as() == ["reclm"]


def command_that_raises(error: BaseException) -> ModuleType:
    """A module with one parser, whose command fails."""

    def run(args: argparse.Namespace) -> int:
        raise error

    module = ModuleType("command")
    module.__dict__.update(DESCRIPTION="", fill=lambda parser: parser.set_defaults(run=run))
    return module


def test_a_script_ends_with_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(command_that_raises(ValueError("no\n rows")), "sft", []) == 2
    assert capsys.readouterr().err == "sft: error: no rows\n"
    assert script.main(command_that_raises(KeyboardInterrupt()), "sft", ["--quiet"]) == 130
    assert capsys.readouterr().err == "reclm: interrupted. Kept: the last checkpoint.\nGo on with: sft --quiet\n"
    with pytest.raises(ValueError, match="no"):
        script.main(command_that_raises(ValueError("no")), "sft", ["--debug"])
