"""What a Space loads: from a file, from variables, and found out from a run, a folder or a Hub id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reclm_hf.data.folder import write_json
from reclm_hf.space.settings import Settings, read_settings, settings_of, with_choices, write_settings
from tests.space.small_run import SHOWN, write_model, write_run

COMMIT = "c" * 40


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = Settings("org/rec@" + COMMIT, tables="org/rec-tables", title="Filme für später")
    path = write_settings(written, tmp_path)
    assert read_settings(tmp_path, {}) == written
    assert set(json.loads(path.read_text())) == {"recommender", "tables", "title"}


def test_variables_come_first(tmp_path: Path) -> None:
    write_settings(Settings("org/rec", tables="org/rec-tables", results="org/rec-results"), tmp_path)
    environ = {"RECLM_SPACE_RECOMMENDER": "org/other", "RECLM_SPACE_RESULTS": "", "RECLM_SPACE_TITLE": " ", "HOME": "/"}
    assert read_settings(tmp_path, environ) == Settings("org/other", tables="org/rec-tables")
    assert read_settings(tmp_path / "nowhere", {"RECLM_SPACE_RECOMMENDER": "org/rec"}) == Settings("org/rec")


def test_folders_lie_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write_settings(Settings("model", tables="org/tables"), tmp_path)
    assert read_settings(tmp_path, {}) == Settings(str(tmp_path / "model"), tables="org/tables")


@pytest.mark.parametrize(
    ("content", "environ", "message"),
    [
        (None, {}, r"settings\.json: names no recommender.*RECLM_SPACE_RECOMMENDER"),
        ("{", {}, r"settings\.json is not JSON"),
        ("[]", {}, r"settings\.json: holds list"),
        ('{"recommender": "org/rec", "table": "org/t"}', {}, r"settings\.json: 'table' is no setting.*tables"),
        ('{"recommender": 3}', {}, r"settings\.json: recommender=3: a text is needed\."),
        ('{"recommender": "org/rec", "tables": 3}', {}, r"tables=3: a text is needed or null"),
        ('{"recommender": "org/rec", "title": null}', {}, r"title=None: a text is needed\."),
        ('{"recommender": "org/rec"}', {"RECLM_SPACE_TABELS": "x"}, r"RECLM_SPACE_TABELS: .*RECLM_SPACE_TABLES"),
        ('{"recommender": "org/rec"}', {"RECLM_SPACE_RECOMMENDER": ""}, r"RECLM_SPACE_RECOMMENDER is empty"),
    ],
)
def test_what_means_nothing_is_named(
    tmp_path: Path, content: str | None, environ: dict[str, str], message: str
) -> None:
    if content is not None:
        (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_settings(tmp_path, environ)


def test_a_run_shows_its_own(tmp_path: Path) -> None:
    write_run(tmp_path)
    model = tmp_path / "models" / SHOWN / "model"
    expected = Settings(str(model), tables=str(tmp_path), results=str(tmp_path))
    assert settings_of(str(tmp_path)) == expected
    assert settings_of(str(model)) == expected


def test_bundled_data_are_named(tmp_path: Path) -> None:
    write_run(tmp_path)
    record = json.loads((tmp_path / "manifest.json").read_text())
    write_json({**record, "dataset": "movietweetings-100k-u10"}, tmp_path / "manifest.json")
    assert settings_of(str(tmp_path)).tables == "movietweetings-100k-u10"


def test_a_recommender_alone(tmp_path: Path) -> None:
    model = write_model(tmp_path / "run" / "model")
    assert settings_of(str(model)) == settings_of(str(tmp_path / "run")) == Settings(str(model))
    manifest = json.loads((model / "manifest.json").read_text())
    write_json(
        {**manifest, "dataset": "x", "fingerprint": "f", "tables": f"org/tables@{COMMIT}"}, model / "manifest.json"
    )
    assert settings_of(str(model)) == Settings(str(model), tables=f"org/tables@{COMMIT}")
    (model / "manifest.json").unlink()
    assert settings_of(str(model)) == Settings(str(model))


def test_no_recommender(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no recommender.*reclm train"):
        settings_of(str(tmp_path))
    (tmp_path / "models").mkdir()
    with pytest.raises(ValueError, match=r"not finished.*results\.parquet"):
        settings_of(str(tmp_path))
    with pytest.raises(ValueError, match=r"neither a folder that is there nor a Hub id"):
        settings_of("nothing of that name")
    with pytest.raises(ValueError, match=r"nobody/nothing: holds no recommender"):  # offline, and nothing is cached
        settings_of("nobody/nothing")


def test_choices_replace_parts() -> None:
    found = Settings("org/rec", tables="org/tables")
    assert with_choices(found, tables="mine", results=None, profiler="org/p") == Settings(
        "org/rec", tables="mine", profiler="org/p"
    )
