"""`reclm push` and `reclm pull` as a person uses them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from reclm_hf.commands import main as program
from reclm_hf.commands.main import main
from tests.hub.artefacts import copy_of, run_folder
from tests.hubserver.loopback import LoopbackHub


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_dry_run_lists_files_and_shows_the_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a Hub: this test has none."""
    model = run_folder(tmp_path / "demo")
    assert main(["push", str(model), "org/mine", "--dry-run", "--tables", "org/tables"]) == 0
    shown, _ = capsys.readouterr()
    assert shown.startswith("org/mine: recommender, 7 files, ")
    size = (model / "model.safetensors").stat().st_size
    assert f"{size / 1024:.1f} KiB  model.safetensors" in shown
    assert "library_name: reclm-hf" in shown
    assert "## Limits" in shown
    assert shown.endswith("Next: the same command without --dry-run pushes it\n")
    assert str(tmp_path) not in shown
    (found,) = said(capsys, "push", str(model), "org/mine", "--dry-run")["dry_run"]
    assert found["files"]["model.safetensors"] == size
    assert found["card"].startswith("---\n")


def test_there_and_back(
    hub: LoopbackHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model, repo = copy_of("recommender", tmp_path / "model"), f"{hub.namespace}/mine"
    (one,) = said(capsys, "push", str(model), repo)["pushed"]
    assert (one["changed"], one["url"]) == (True, f"{hub.endpoint}/{repo}")
    assert main(["push", str(model), repo]) == 0
    shown, _ = capsys.readouterr()
    assert f"commit {one['revision']} (nothing had changed)\nNext: reclm verify {repo}" in shown
    pulled = said(capsys, "pull", f"{repo}@{one['revision']}", "--output", str(tmp_path / "pulled"))
    assert (pulled["kind"], pulled["files"]) == ("recommender", one["files"])
    assert f"reclm recommend {tmp_path / 'pulled'}" in str(pulled["next"])
    assert hub.token not in caplog.text
    for path in (tmp_path / "pulled").rglob("*"):
        assert hub.token.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["push", "nowhere", "org/mine"], "nowhere is no folder"),
        (["push", ".", "mine"], "no Hub id of the form owner/name"),
        (["push", ".", "org/mine"], "fits no kind of artefact"),
        (["push", ".", "org/mine", "--kind", "results"], r"no whole results: results.parquet is missing"),
        (["pull", "org/mine@v1", "--revision", "v2"], "give one"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_tokens_are_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("push", "pull"):
        with pytest.raises(SystemExit):
            main([command, "a", "b", "--token", "secret"])
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "--token" not in capsys.readouterr().out


def test_private_or_public(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["push", "a", "org/b", "--private", "--public"])
    assert "not allowed with argument --private" in capsys.readouterr().err


def test_the_names_of_kinds_are_those_of_the_hub() -> None:
    from reclm_hf.commands.push import KINDS
    from reclm_hf.hub import kinds

    assert tuple(kinds.KINDS) == KINDS


def test_push_and_pull_are_commands() -> None:
    assert {"push", "pull"} <= set(program.COMMANDS)
