"""A run on the Hub, its Space on the Hub: what the Space loads there is what the run was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from reclm_hf.commands.main import main
from reclm_hf.data.splits import Splits
from reclm_hf.hub.manifest import read_manifest
from reclm_hf.hub.publish import Pushed, push
from reclm_hf.hub.staging import PushOptions
from reclm_hf.hub.verify import verify
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.what_if import Someone
from reclm_hf.space.export import export_space
from reclm_hf.space.settings import Settings, read_settings, settings_of
from reclm_hf.space.world import World, load_world
from tests.hub.small_tables import USERS, write_data
from tests.hubserver.loopback import LoopbackHub
from tests.space.small_run import SHOWN, write_run

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Run:
    """A run, its data folder and its recommender."""

    folder: Path
    data: Path
    splits: Splits

    @property
    def model(self) -> Path:
        return self.folder / "models" / SHOWN / "model"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    write_data(root / "data")
    return Run(root / "run", root / "data", write_run(root / "run"))


@pytest.fixture
def name(hub: LoopbackHub, run: Run) -> str:
    """The recommender's id, with its tables and results beside it; everybody may read the recommender."""
    repo_id = f"{hub.namespace}/show"
    pushed(run.data, f"{repo_id}-tables", profiles=str(run.folder))
    tables = f"{repo_id}-tables"
    pushed(run.model, repo_id, tables=tables, results=str(run.folder), private=False, license="mit")
    pushed(run.folder, f"{repo_id}-results", kind="results", tables=tables)
    return repo_id


def pushed(folder: Path, repo_id: str, **options: object) -> Pushed:
    found = push(folder, repo_id, PushOptions(**options), progress=False)  # type: ignore[arg-type]
    assert isinstance(found, Pushed)
    return found


def commit(repo_id: str, repo_type: str) -> str:
    return str(HfApi().repo_info(repo_id, repo_type=repo_type).sha)


def pinned(name: str) -> Settings:
    """What a Space of the recommender has to load: everything at the newest commit."""
    parts = {"recommender": (name, "model"), "tables": (f"{name}-tables", "dataset")}
    parts["results"] = (f"{name}-results", "dataset")
    return Settings(**{part: f"{repo}@{commit(repo, repo_type)}" for part, (repo, repo_type) in parts.items()})


def ranked(world: World, user: str) -> list[str]:
    order = world.model.rank_for(Someone(user_id=user)).order[:5]
    return [world.model.catalog.item_ids[item] for item in order]


def check_world(world: World, run: Run, hub: LoopbackHub, name: str) -> None:
    """The world holds what the run held, and recommends as its recommender does."""
    plain = RecLMRecommender.from_pretrained(run.model)
    assert ranked(world, USERS[0]) == plain.recommend([USERS[0]], k=5).item_ids[0]
    assert world.texts == run.splits.data.items["text"].tolist()
    assert set(world.profiles) == set(USERS)
    assert len(world.item_profiles) == 2
    assert world.results is not None
    assert world.comparisons is not None
    assert {entry["split"] for entry in world.certificates} >= {"test"}
    assert world.about["fingerprint"] == run.splits.fingerprint
    assert (world.about["dataset"], world.about["licence"]) == ("checkerboard", "CC BY 4.0")
    addresses = dict(world.links)
    assert addresses["The recommender"] == f"{hub.endpoint}/{name}"
    assert addresses["The data"] == f"{hub.endpoint}/datasets/{name}-tables"
    assert addresses["The results"] == f"{hub.endpoint}/datasets/{name}-results"


def test_of_a_hub_id(hub: LoopbackHub, run: Run, name: str) -> None:
    settings = settings_of(name)
    assert settings == pinned(name)
    check_world(load_world(settings), run, hub, name)
    assert settings_of(f"{name}@{commit(name, 'model')}") == settings


def test_the_pins_hold_when_the_repositories_move_on(hub: LoopbackHub, run: Run, name: str) -> None:
    settings = settings_of(name)
    for repo_type, part in (("model", ""), ("dataset", "-tables"), ("dataset", "-results")):
        HfApi().delete_files(f"{name}{part}", ["*.parquet", "*/*.parquet"], repo_type=repo_type)
    check_world(load_world(settings), run, hub, name)


def test_without_results_or_tables(hub: LoopbackHub, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    name = f"{hub.namespace}/alone"
    revision = pushed(run.model, name).revision
    assert settings_of(name) == Settings(f"{name}@{revision}")
    assert caplog.text == ""
    world = load_world(settings_of(name))
    assert (world.results, world.profiles, set(world.texts)) == (None, {}, {""})
    assert [label for label, _ in world.links] == ["The recommender"]


def test_a_repository_that_is_no_recommender(hub: LoopbackHub, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}-tables: there is no folder of that name, and from the Hub"):
        settings_of(f"{name}-tables")
    with pytest.raises(ValueError, match=r"and from the Hub it could not be fetched \(RevisionNotFoundError"):
        settings_of(f"{name}@v9")


def test_the_space_loads_the_same(hub: LoopbackHub, run: Run, name: str, tmp_path: Path) -> None:
    folder, space = tmp_path / "space", f"{hub.namespace}/cold-start"
    exported = export_space(settings_of(name), folder)
    assert exported.settings == read_settings(folder, {}) == pinned(name)
    assert exported.private == [f"{name}-tables"]
    assert export_space(settings_of(name), folder) == exported  # an earlier export is no obstacle
    assert main(["push", str(folder), space]) == 0
    there = Path(snapshot_download(space, repo_type="space"))
    front = yaml.safe_load(REGEX_YAML_BLOCK.search((there / "README.md").read_text())[2])  # type: ignore[index]
    assert set(front["models"]) == {name, ENCODER}
    assert set(front["datasets"]) == {f"{name}-tables", f"{name}-results"}
    (preloaded,) = front["preload_from_hub"]
    repository, files, revision = preloaded.split()
    assert (repository, revision) == (name, commit(name, "model"))
    assert set(files.split(",")) == set(hub.files(name)) - {"README.md", ".gitattributes"}
    assert f'Client("{space}")' in (there / "README.md").read_text()
    pins = {entry["name"]: entry["revision"] for entry in read_manifest(there)["inputs"]}
    assert pins.pop(ENCODER) is None
    assert {f"{repo}@{revision}" for repo, revision in pins.items()} == {
        exported.settings.recommender,
        exported.settings.tables,
        exported.settings.results,
    }
    check_world(load_world(read_settings(there, {})), run, hub, name)
    assert [check.name for check in verify(space, cache=tmp_path / "cache") if not check.passed] == []
    _check_other_settings(there, tmp_path / "again", exported.settings)


def _check_other_settings(there: Path, again: Path, settings: Settings) -> None:
    """Whoever changes the settings of a Space that was pulled, and nothing else, changes what its manifest says."""
    import shutil

    from reclm_hf.hub.staging import stage
    from reclm_hf.space.settings import write_settings

    shutil.copytree(there, again)
    name, revision = settings.recommender.split("@")
    write_settings(Settings(f"{name}@{revision[::-1]}"), again)
    (again.parent / "place").mkdir()
    staged = stage(again, "org/cold-start", again.parent / "place")
    assert {entry["name"]: entry["revision"] for entry in staged.manifest["inputs"]}[name] == revision[::-1]


def test_a_private_recommender_is_not_preloaded(hub: LoopbackHub, run: Run, tmp_path: Path) -> None:
    name = f"{hub.namespace}/hidden"
    pushed(run.model, name)
    exported = export_space(settings_of(name), tmp_path / "space")
    assert exported.private == [name]
    assert "preload_from_hub" not in (tmp_path / "space" / "README.md").read_text()


def test_results_that_cannot_be_asked_for_are_said(
    hub: LoopbackHub, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{hub.namespace}/cut"
    pushed(run.model, name)
    hub.break_at(1, f"{name}-results", times=6)
    assert settings_of(name).results is None
    assert "no results are shown" in caplog.text


def test_the_export_command(
    hub: LoopbackHub, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reclm_hf.commands import main as commands

    monkeypatch.setattr(commands, "COMMANDS", tuple(dict.fromkeys((*commands.COMMANDS, "space"))))
    monkeypatch.chdir(tmp_path)
    assert main(["space", name, "--export", "space", "--title", "Mine"]) == 0
    said = capsys.readouterr().out
    assert f"private: {name}-tables" in said
    assert said.splitlines()[-1] == "Next: reclm push space ORG/NAME"
    assert read_settings(tmp_path / "space", {}).title == "Mine"
    assert (tmp_path / "space" / "app.py").is_file()
