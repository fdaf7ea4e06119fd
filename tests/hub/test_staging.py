"""Model kinds on their way out: which files, what the manifest says, and that no place on this machine goes along."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from reclm_hf.data.folder import write_json
from reclm_hf.hub.manifest import check_files, read_manifest
from reclm_hf.hub.staging import PushOptions, Staged, stage, take_file
from tests.hub.artefacts import LABEL, copy_of, results, run_folder

COMMIT = "c" * 40
TOKEN = "hf_" + "aB3" * 11 + "z"


def staged(source: Path, place: Path, **options: object) -> Staged:
    place.mkdir()
    return stage(source, "org/name", place, PushOptions(**options))  # type: ignore[arg-type]


def everything(found: Staged) -> str:
    texts = [(found.folder / name).read_bytes() for name in found.files if not name.endswith((".parquet", "s"))]
    return b"\n".join(texts).decode()


def test_recommender_of_a_run(tmp_path: Path) -> None:
    model = run_folder(tmp_path / "demo")
    found = staged(model, tmp_path / "place", tables=f"org/tables@{COMMIT}", license="mit", title="Mine")
    assert found.files == [
        "README.md",
        "catalog.parquet",
        "catalog.safetensors",
        "config.json",
        "manifest.json",
        "model.safetensors",
        "users.parquet",
    ]
    said = read_manifest(found.folder)
    assert said == found.manifest
    check_files(found.folder, said)
    tables, encoder = said["inputs"]
    assert (tables["role"], tables["repo_id"], tables["revision"]) == ("tables", "org/tables", COMMIT)
    assert encoder["role"] == "text_encoder"
    assert [line["row"] for line in said["figures"]] == [LABEL, f"{LABEL} (mean user)", "popularity"]
    assert (said["figures"][0]["value"], said["figures"][-1]["low"]) == (0.2, None)
    assert (said["license"], said["title"], said["seed"]) == ("mit", "Mine", 0)
    assert said["settings"] == {
        "backbone": "bias_mf",
        "preset": "standard",
        "profile_mode": "none",
        "seed": 0,
        "learning_rate": 0.01,
    }
    assert (said["cost"], said["measures"]) == ({"seconds": 3.5}, {"best_epoch": 4})
    assert said["data"]["fingerprint"] == "f" * 64
    assert found.card == (found.folder / "README.md").read_text()
    assert str(tmp_path) not in everything(found)


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    model = run_folder(tmp_path / "demo")
    first, second = staged(model, tmp_path / "first"), staged(model, tmp_path / "second")
    assert first.sizes == second.sizes
    assert everything(first) == everything(second)


def test_results_are_of_this_recommender(tmp_path: Path) -> None:
    model = copy_of("recommender", tmp_path / "mine")
    (tmp_path / "report").mkdir()
    results("elsewhere").to_parquet(tmp_path / "report" / "results.parquet")
    with pytest.raises(ValueError, match=r"has no row of .*mine; its recommenders: elsewhere, other"):
        staged(model, tmp_path / "place", results=str(tmp_path / "report"))
    # `reclm evaluate` names a row by what it was given, a place on this machine.
    results(str(model)).to_parquet(tmp_path / "report" / "results.parquet")
    found = staged(model, tmp_path / "again", results=str(tmp_path / "report"))
    assert [line["row"] for line in found.manifest["figures"]] == ["mine", "mine (mean user)", "popularity"]
    assert found.manifest["test_opened"] == "by `reclm evaluate`, after training"
    assert str(tmp_path) not in everything(found)


def test_a_seed_is_found_in_the_row_that_averages_seeds(tmp_path: Path) -> None:
    model = run_folder(tmp_path / "demo", f"{LABEL}-seed2")
    results().to_parquet(tmp_path / "demo" / "results.parquet")
    assert staged(model, tmp_path / "place").manifest["figures"][0]["row"] == LABEL


def test_what_was_trained_on_a_repository_names_it(tmp_path: Path) -> None:
    model = copy_of("recommender", tmp_path / "mine")
    write_json({"fingerprint": "f" * 64, "dataset": "x", "tables": f"org/tables@{COMMIT}"}, model / "manifest.json")
    found = staged(model, tmp_path / "place").manifest["inputs"][0]
    assert (found["role"], found["repo_id"], found["revision"]) == ("tables", "org/tables", COMMIT)
    other = staged(model, tmp_path / "second", tables=f"org/others@{COMMIT}").manifest["inputs"][0]
    assert other["repo_id"] == "org/others"


def test_without_a_run_nothing_is_made_up(tmp_path: Path) -> None:
    found = staged(copy_of("recommender", tmp_path / "mine"), tmp_path / "place").manifest
    for part in ("figures", "certificates", "data", "cost", "settings", "test_opened", "license"):
        assert not found[part], part


def test_an_adapter_on_a_folder_asks_for_its_base(tmp_path: Path) -> None:
    adapter = copy_of("adapter", tmp_path / "adapter")
    with pytest.raises(ValueError, match=r"no Hub id.*Push that model first .*--base-model ORG/BASE"):
        staged(adapter, tmp_path / "place")
    with pytest.raises(ValueError, match=r"org/base@main: name the full commit"):
        staged(adapter, tmp_path / "second", base_model="org/base@main")


def test_an_adapter_names_its_base_by_hub_id(tmp_path: Path) -> None:
    adapter = copy_of("adapter", tmp_path / "adapter")
    (adapter / "checkpoints").mkdir()
    (adapter / "checkpoints" / "optimizer.pt").write_bytes(b"x")
    found = staged(adapter, tmp_path / "place", base_model=f"org/base@{COMMIT}")
    assert {"recipe.yaml", "stage.json", "checkpoints/optimizer.pt"}.isdisjoint(found.files)
    plain = json.loads((found.folder / "adapter_config.json").read_text())
    assert (plain["base_model_name_or_path"], plain["revision"]) == ("org/base", COMMIT)
    ours = json.loads((found.folder / "profiler_config.json").read_text())
    assert (ours["base_model"], ours["base_revision"]) == ("org/base", COMMIT)
    said = found.manifest
    assert [(entry["role"], entry["name"]) for entry in said["inputs"]] == [
        ("base_model", "org/base"),
        ("instructions", "chats"),
    ]
    assert (said["seed"], said["settings"]["instructions"]) == (3, "chats")
    assert (said["measures"], said["details"]["rank"]) == ({"loss_last": 0.5, "held_out_loss_after": None}, 4)
    assert "/home" not in everything(found)
    assert str(tmp_path) not in everything(found)
    source = json.loads((adapter / "adapter_config.json").read_text())
    assert source["base_model_name_or_path"] != "org/base"  # what was given stays as it was


def test_an_adapter_that_names_a_hub_id_is_taken_as_it_is(tmp_path: Path) -> None:
    from tests.profiler.models import BASE

    adapter = copy_of("adapter", tmp_path / "adapter")
    for name, key in (("adapter_config.json", "base_model_name_or_path"), ("profiler_config.json", "base_model")):
        write_json({**json.loads((adapter / name).read_text()), key: BASE}, adapter / name)
    found = staged(adapter, tmp_path / "place")
    assert found.manifest["inputs"][0]["repo_id"] == BASE
    assert (found.folder / "adapter_config.json").read_bytes() == (adapter / "adapter_config.json").read_bytes()


def test_whole_models_keep_no_place(tmp_path: Path) -> None:
    merged = copy_of("merged", tmp_path / "merged")
    config = json.loads((merged / "config.json").read_text())
    write_json({**config, "_name_or_path": "/home/somebody/base"}, merged / "config.json")
    ours = json.loads((merged / "profiler_config.json").read_text())
    write_json({**ours, "base_model": "/home/somebody/base"}, merged / "profiler_config.json")
    found = staged(merged, tmp_path / "place")
    assert "/home" not in everything(found)
    assert json.loads((found.folder / "profiler_config.json").read_text())["base_model"] == "base"
    assert [(entry["role"], entry["repo_id"]) for entry in found.manifest["inputs"]] == [("base_model", None)]
    named = staged(merged, tmp_path / "second", base_model=f"org/base@{COMMIT}")
    assert named.manifest["inputs"][0]["revision"] == COMMIT


def test_a_plain_model_is_a_profiler_too(tmp_path: Path) -> None:
    found = staged(copy_of("base", tmp_path / "base"), tmp_path / "place")
    assert (found.kind.name, found.manifest["inputs"]) == ("profiler", [])


def test_strangers_stay_and_pickles_stop_everything(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = copy_of("recommender", tmp_path / "mine")
    (model / "notes.txt").write_text("mine alone")
    with caplog.at_level(logging.WARNING):
        assert "notes.txt" not in staged(model, tmp_path / "place").files
    assert "notes.txt" in caplog.text
    (model / "optimizer.pt").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"'optimizer\.pt' is a pickle"):
        staged(model, tmp_path / "second")


def test_a_token_stops_the_push(tmp_path: Path) -> None:
    model = copy_of("merged", tmp_path / "merged")
    with pytest.raises(ValueError, match=r"holds a Hub token") as caught:
        staged(model, tmp_path / "place", title=f"Mine {TOKEN}")
    assert TOKEN not in str(caught.value)
    (model / "chat_template.jinja").write_text("{# Authorization: Bearer x #}")
    with pytest.raises(ValueError, match=r"chat_template\.jinja holds an Authorization header"):
        staged(model, tmp_path / "second")


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        ("recommender", {"base_model": "org/x"}, "--base-model"),
        ("base", {"code": True}, "--with-code"),
        ("merged", {"tables": "org/x"}, "--tables"),
    ],
)
def test_an_option_without_meaning_is_refused(
    kind: str, options: dict[str, object], named: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"{named} means nothing for a"):
        staged(copy_of(kind, tmp_path / "source"), tmp_path / "place", **options)


def test_large_files_are_linked_and_never_changed(tmp_path: Path) -> None:
    origin, target = tmp_path / "large.json", tmp_path / "place" / "large.json"
    origin.write_text(json.dumps("x" * 2**21))
    before = origin.read_bytes()
    take_file(origin, target)
    assert target.is_symlink()
    assert target.read_bytes() == before
    write_json({}, target)  # as a stage that changes a configuration does
    assert origin.read_bytes() == before


def test_code_travels_on_request(tmp_path: Path) -> None:
    pytest.importorskip("reclm_hf.recommender.custom_code")
    model = copy_of("recommender", tmp_path / "mine")
    found = staged(model, tmp_path / "place", code=True)
    assert "modeling_reclm_recommender.py" in found.manifest["files"]
    config = json.loads((found.folder / "config.json").read_text())
    assert config["auto_map"]["AutoModel"] == "modeling_reclm_recommender.RecLMRecommender"
    again = staged(found.folder, tmp_path / "second")  # a pulled folder, pushed again without it
    assert not [name for name in again.files if name.endswith(".py")]
    assert "auto_map" not in json.loads((again.folder / "config.json").read_text())


def test_a_pulled_folder_keeps_what_is_known_of_it(tmp_path: Path) -> None:
    first = staged(run_folder(tmp_path / "demo"), tmp_path / "first", tables=f"org/tables@{COMMIT}", license="mit")
    (tmp_path / "place").mkdir()
    second = stage(first.folder, "org/other", Path(tmp_path / "place"), PushOptions())
    assert second.manifest["repo_id"] == "org/other"
    for part in ("figures", "inputs", "data", "cost", "license", "test_opened", "files"):
        assert second.manifest[part] == first.manifest[part], part


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("adapter", "adapter_model.safetensors"),
        ("merged", "model.safetensors"),
        ("reward", "model.safetensors"),
        ("recommender", "catalog.safetensors"),
        ("results", "results.parquet"),
    ],
)
def test_what_was_said_of_other_weights_or_tables_is_not_said_of_these(kind: str, file: str, tmp_path: Path) -> None:
    source, options = tmp_path / "source", {"base_model": "org/base"} if kind in ("adapter", "merged") else {}
    run_folder(source) if kind == "results" else copy_of("base" if kind == "reward" else kind, source)
    if kind == "reward":
        write_json({"layout": "merged", "base_model": "base", "accuracy": 0.5}, source / "reward_config.json")
    options |= {"kind": "results"} if kind == "results" else {}
    pulled = staged(source, tmp_path / "pulled", **options).folder
    found = staged(pulled, tmp_path / "same")
    assert found.manifest == read_manifest(pulled)
    path = pulled / file
    content = path.read_bytes()
    path.unlink()  # perhaps a link to the source
    if kind == "results":
        table = results()
        table["value"] += 0.1
        table.to_parquet(path)
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=rf"{file} was changed since it was pulled; .* remove that manifest"):
        staged(pulled, tmp_path / "other")
    (pulled / "manifest.json").unlink()
    anew = staged(pulled, tmp_path / "anew").manifest
    assert (anew["cost"], anew["settings"], anew["certificates"]) == ({}, {}, [])


def test_a_recommender_that_was_saved_anew_says_nothing_of_the_one_that_was_pulled(tmp_path: Path) -> None:
    import torch

    from tests.recommender.models import untrained

    pulled = staged(run_folder(tmp_path / "demo"), tmp_path / "pulled").folder
    assert read_manifest(pulled)["figures"]
    model = untrained("bias_mf", "standard", "none")
    with torch.no_grad():
        next(model.parameters()).add_(1)
    model.save_pretrained(pulled)
    assert staged(pulled, tmp_path / "again").manifest["figures"] == []
