"""Where a recommender's files come from and go to: folders, a Hub cache, a full disk. Nothing here asks a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from transformers import AutoModel

import reclm_hf.auto  # noqa: F401 (registers the Auto classes)
from reclm_hf.recommender import persistence
from reclm_hf.recommender.catalog import CATALOG_FILE, TENSORS_FILE, USERS_FILE, Catalog, write_atomically
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.checkerboard import N_ITEMS, N_USERS
from tests.recommender.models import trained

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)
REPO = "somebody/recommender"
OLD, NEW = "a" * 40, "b" * 40
KINDS = {OLD: ("bias_mf", "standard", "none"), NEW: ("lightgcn", "floor_residual", "llm")}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A Hub cache with two commits of one repository, each with its model in the folder `models/best`."""
    repository = tmp_path / "cache" / "models--somebody--recommender"
    for commit, kind in KINDS.items():
        folder = repository / "snapshots" / commit / "models" / "best"
        trained(*kind).save_pretrained(folder)
        # Titles that tell which commit a catalogue is of.
        catalog = Catalog.load(folder)
        catalog.titles = [f"{commit[0]} {title}" for title in catalog.titles]
        catalog.save(folder)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(NEW)
    (repository / "refs" / "v1").write_text(OLD)
    return tmp_path / "cache"


@pytest.mark.parametrize("loader", [RecLMRecommender, AutoModel])
@pytest.mark.parametrize(("revision", "commit"), [(None, NEW), ("main", NEW), ("v1", OLD), (OLD, OLD)])
def test_weights_and_catalogue_come_from_one_commit_and_subfolder(
    cache: Path, loader: Any, revision: str | None, commit: str
) -> None:
    named = {} if revision is None else {"revision": revision}
    model = loader.from_pretrained(REPO, cache_dir=cache, subfolder="models/best", **named)
    assert isinstance(model, RecLMRecommender)
    np.testing.assert_allclose(model.score(USERS, ITEMS), trained(*KINDS[commit]).score(USERS, ITEMS), atol=1e-6)
    assert {title[0] for title in model.catalog.titles} == {commit[0]}


def test_a_branch_that_moves_between_the_two_is_of_no_matter(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = persistence.cached_file

    def moved(*args: Any, **options: Any) -> Any:
        (cache / "models--somebody--recommender" / "refs" / "main").write_text(OLD)
        return asked(*args, **options)

    monkeypatch.setattr(persistence, "cached_file", moved)
    model = RecLMRecommender.from_pretrained(REPO, cache_dir=cache, subfolder="models/best", revision="main")
    assert {title[0] for title in model.catalog.titles} == {NEW[0]}


def test_the_catalogue_is_asked_for_with_the_same_token(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = persistence.cached_file
    tokens = []

    def spy(*args: Any, **options: Any) -> Any:
        tokens.append(options["token"])
        return asked(*args, **options)

    monkeypatch.setattr(persistence, "cached_file", spy)
    RecLMRecommender.from_pretrained(REPO, cache_dir=cache, subfolder="models/best", token="mine", revision="v1")
    assert tokens == ["mine"] * 3


def test_a_subfolder_of_a_folder(tmp_path: Path) -> None:
    trained(*KINDS[OLD]).save_pretrained(tmp_path / "deep" / "down")
    model = RecLMRecommender.from_pretrained(tmp_path / "deep", subfolder="down")
    np.testing.assert_allclose(model.score(USERS, ITEMS), trained(*KINDS[OLD]).score(USERS, ITEMS), atol=1e-6)


@pytest.mark.parametrize("name", ["model.safetensors", CATALOG_FILE, USERS_FILE, TENSORS_FILE, "config.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    trained(*KINDS[OLD]).save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(OSError, match=name.replace(".", r"\.")):
        RecLMRecommender.from_pretrained(tmp_path)


def test_weights_in_a_pickle_are_not_read(tmp_path: Path) -> None:
    import torch

    model = trained(*KINDS[OLD])
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    # Written by hand: nothing of ours writes such a file.
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        RecLMRecommender.from_pretrained(tmp_path)


def test_a_full_disk_is_an_error_that_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    with pytest.raises(OSError, match=r"new\.safetensors could not be written .*No space left"):
        write_atomically(tmp_path / "new.safetensors", full)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("transformers.modeling_utils.safe_save_file", full)
    with pytest.raises(OSError, match=r"mine.* could not be written .*No space left"):
        trained(*KINDS[OLD]).save_pretrained(tmp_path / "mine")


def test_a_model_without_a_catalogue_is_not_saved(tmp_path: Path) -> None:
    model = RecLMRecommender(trained(*KINDS[OLD]).config)
    with pytest.raises(ValueError, match="no catalogue"):
        model.save_pretrained(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
