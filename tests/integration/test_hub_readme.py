"""The README's section on data sets of the Hub, run as it stands there, on the data that ship with the package."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from reclm_hf.commands.main import main
from tests.hubserver.loopback import LoopbackHub

BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


def blocks(repository: Path, title: str) -> list[tuple[str, str]]:
    """Language ("" for a shell's) and text of the code blocks below a heading."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    section = text.split(f"\n### {title}\n")[1].split("\n## ")[0].split("\n### ")[0]
    return [(found["language"], found["text"]) for found in BLOCK.finditer(section)]


@pytest.mark.slow
def test_data_sets(
    hub: LoopbackHub,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (_, commands), (language, program) = blocks(repository, "Datasets")
    lines = [shlex.split(line.replace("ORG", hub.namespace), comments=True) for line in commands.splitlines()]
    assert [line[:2] for line in lines] == [["reclm", "push"], ["reclm", "data"], ["reclm", "train"]]
    for line in lines:
        assert main(line[1:]) == 0, capsys.readouterr().err
    assert (
        tmp_path / "runs" / "movietweetings-100k-u10-lightgcn-floor_residual-llm" / "model" / "config.json"
    ).is_file()
    assert language == "python"
    found: dict[str, object] = {}
    exec(program.replace("ORG", hub.namespace), found)
    assert len(found["items"]) == 8758  # type: ignore[arg-type]
    assert set(found["interactions"]) == {"train", "validation", "test"}  # type: ignore[call-overload]
    assert set(found["profiles"]) == {"validation", "test"}  # type: ignore[call-overload]
    assert "User identity:" in next(iter(found["streamed"]))["profile"]  # type: ignore[call-overload]
