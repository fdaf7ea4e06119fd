"""How commands end: one clear line for what a person can mend, a traceback for what only we can."""

from __future__ import annotations

import argparse
import ast
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reclm_hf import __version__
from reclm_hf.bundles import BundleError
from reclm_hf.commands import main as module
from reclm_hf.commands.arguments import leaves
from reclm_hf.commands.output import finish, quoted
from reclm_hf.data.tables import TableError


def parser_that(run: Callable[[argparse.Namespace], int]) -> Callable[[], argparse.ArgumentParser]:
    """Stands in for `build_parser`: no arguments but the common ones, and `run` as the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    parser.set_defaults(run=run)
    return lambda: parser


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    """A command that fails."""

    def run(args: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (TableError("a.csv: no\n  column"), 2, "reclm: error: a.csv: no column"),
        (
            KeyError("'u9' is unknown: see recommend_for_profile"),
            2,
            "reclm: error: 'u9' is unknown: see recommend_for_profile",
        ),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "reclm: error: [Errno 28] No space left on device"),
        (BundleError("no source has a/b"), 2, "reclm: error: no source has a/b"),
        (ValueError(), 2, "reclm: error: ValueError"),
        (KeyboardInterrupt(), 130, "reclm: interrupted. Nothing is left half-written.\nStart again with: reclm"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_person_can_mend_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    monkeypatch.setattr(module, "build_parser", parser_that(raising(error)))
    assert module.main([]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == message + "\n"


def test_debug_and_our_own_faults_show_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "build_parser", parser_that(raising(TableError("broken"))))
    with pytest.raises(TableError):
        module.main(["--debug"])
    monkeypatch.setattr(module, "build_parser", parser_that(raising(TypeError("a bug"))))
    with pytest.raises(TypeError):
        module.main([])


def test_the_next_step_is_the_last_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = lambda args: finish(args, ["found"], {"count": 1}, "reclm demo")  # noqa: E731
    monkeypatch.setattr(module, "build_parser", parser_that(run))
    assert module.main([]) == 0
    assert capsys.readouterr().out == "found\nNext: reclm demo\n"
    assert module.main(["--json"]) == 0
    assert capsys.readouterr().out == '{\n  "count": 1,\n  "next": "reclm demo"\n}\n'
    assert module.main(["--quiet"]) == 0
    assert capsys.readouterr().out == "found\n"


def test_the_next_step_can_be_pasted() -> None:
    assert f"reclm push {quoted(Path('runs/my run'))} ORG/NAME" == "reclm push 'runs/my run' ORG/NAME"
    assert quoted("runs/demo") == "runs/demo"


def test_json_holds_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    args = argparse.Namespace(json=True)
    finish(args, [], {"rows": [{"recall": float("nan")}, {"recall": 0.5}], "top": (float("inf"), 1)}, "")
    found = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert found == {"rows": [{"recall": None}, {"recall": 0.5}], "top": [None, 1], "next": ""}


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    text = module.build_parser().format_help()
    assert all(f"    {name}" in text for name in module.COMMANDS)
    with pytest.raises(SystemExit):
        module.main(["--version"])
    assert capsys.readouterr().out == f"reclm {__version__}\n"


def test_without_a_command_there_is_help_and_a_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main([]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("usage: reclm")
    assert printed[-1].startswith("First step: reclm demo")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "reclm: error: argument COMMAND: 'trian' is none of them; did you mean 'train'?"),
        (["describe"], "reclm: error: argument COMMAND: 'describe' is none of them; did you mean 'data describe'?"),
        (["data", "imprt"], "reclm data: error: argument ACTION: 'imprt' is none of them; did you mean 'import'?"),
        (
            ["train", "--bakbone=ncf"],
            "reclm train: error: unrecognized arguments: --bakbone=ncf; did you mean --backbone?",
        ),
        (
            ["--json", "demo"],
            "reclm demo: error: unrecognized arguments: --json; put it behind the command: reclm demo --json",
        ),
        (
            ["--quiet", "data", "describe"],
            "reclm data describe: error: unrecognized arguments: --quiet; put it behind the command: "
            "reclm data describe --quiet",
        ),
        (["train", "--sead", "1"], "reclm train: error: unrecognized arguments: --sead; did you mean --seed?"),
        (
            ["train", "--backbone", "lightgnc"],
            "reclm train: error: argument --backbone: 'lightgnc' is none of them; did you mean 'lightgcn'?",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_mistyped_gets_a_guess(capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        module.main(argv)
    assert capsys.readouterr().err == message + "\n"


def test_what_resembles_nothing_gets_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["xyzzy"], ["train", "--xyzzy"]):
        with pytest.raises(SystemExit, match="2"):
            module.main(argv)
        printed = capsys.readouterr().err
        assert printed.startswith("usage: reclm")
        assert "xyzzy" in printed
        assert "did you mean" not in printed


def test_every_command_has_the_same_manners() -> None:
    for leaf in leaves(module.build_parser()):
        flags = {option for action in leaf._actions for option in action.option_strings}
        assert {"--help", "--json", "--quiet", "--debug"} <= flags, leaf.prog


def test_only_output_prints(repository: Path) -> None:
    """Whatever else printed would break the one JSON object of `--json`."""
    allowed = {"main.py", "script.py", "output.py", "completion.py"}
    for path in (repository / "reclm_hf" / "commands").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        assert path.name in allowed or "print" not in names, path.name


def test_a_reader_that_leaves_is_no_error(child_environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "reclm_hf.commands.main", "data", "describe", "--no-text-signal"]
    buffered = {name: value for name, value in child_environment.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, env=buffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(timeout=60) == 0
