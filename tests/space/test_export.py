"""The folder of a Space without the Hub: its own files, and what cannot be exported. With it: tests/integration."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from reclm_hf.hub.cards import render_card
from reclm_hf.hub.stage_spaces import front_matter, stage_space
from reclm_hf.hub.staging import PushOptions
from reclm_hf.space import export
from reclm_hf.space.export import export_space, require_exportable, template_folder
from reclm_hf.space.settings import Settings, settings_of
from tests.hub.test_cards import manifest
from tests.space.small_run import write_run


def test_the_template_is_a_space(repository: Path, tmp_path: Path) -> None:
    assert template_folder() == repository / "spaces" / "cold_start"
    assert stage_space(template_folder(), tmp_path, "org/show", PushOptions())["details"]["sdk_version"] == "6.31.0"
    source = (template_folder() / "app.py").read_text()
    ast.parse(source)
    assert len(source.splitlines()) < 30
    assert "gradio" not in (template_folder() / "requirements.txt").read_text().split()


def test_the_wheel_brings_the_template(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    shutil.copytree(repository / "spaces" / "cold_start", tmp_path / included["spaces/cold_start"])
    monkeypatch.setattr(export, "__file__", str(tmp_path / "reclm_hf" / "space" / "export.py"))
    assert template_folder() == tmp_path / "reclm_hf" / "spaces" / "cold_start"
    shutil.rmtree(template_folder())
    with pytest.raises(FileNotFoundError, match="install reclm-hf again"):
        template_folder()


def test_the_card_on_the_hub_documents_the_same_api() -> None:
    """A card is written from the manifest, so what it says of the endpoints stands in its template."""
    _, text = front_matter(template_folder())
    documented = text[text.index("## API") :].strip()
    assert documented.replace("ORG/NAME", "ann/cold-start") in render_card(manifest("space"))
    other = manifest("space")
    del other["files"]["settings.json"]
    assert "## API" not in render_card(other)


@pytest.mark.parametrize("part", ["tables", "results", "profiler", "profiles"])
def test_folders_stay_here(part: str, tmp_path: Path) -> None:
    settings = Settings("org/rec", **{part: str(tmp_path)})
    with pytest.raises(ValueError, match=rf"^{part} is the folder {tmp_path}.*push"):
        require_exportable(settings)


def test_a_run_is_pushed_first(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with pytest.raises(ValueError, match=r"recommender is the folder .*reclm push RUN ORG/NAME"):
        export_space(settings_of(str(tmp_path / "run")), tmp_path / "space")
    assert not (tmp_path / "space").exists()


def test_bundled_data_come_with_the_package() -> None:
    require_exportable(Settings("org/rec", tables="movietweetings-100k-u10"))


@pytest.mark.parametrize("name", ["notes.txt", "app.py"])
def test_nothing_else_is_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=rf"holds something else than an exported Space \({name}\)"):
        export_space(Settings("org/rec"), tmp_path)
    assert (tmp_path / name).read_text() == "mine"
