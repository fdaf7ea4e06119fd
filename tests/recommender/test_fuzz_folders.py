"""Broken recommenders: each is refused with a message that says what is wrong, and nobody gets half of a model."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from reclm_hf.recommender.catalog import Catalog
from reclm_hf.recommender.files import LONGEST_TEXT
from reclm_hf.recommender.integrity import MANIFEST
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.recommender.models import trained

KIND = ("lightgcn", "standard", "none")
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole one without hashes, so that what is inside the files is looked at."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    trained(*KIND).save_pretrained(folder)
    (folder / MANIFEST).unlink()
    return folder


@pytest.fixture
def place(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def edit_items(folder: Path, change: Callable[[dict[str, list[Any]]], None]) -> None:
    columns = pq.read_table(folder / "catalog.parquet").to_pydict()
    change(columns)
    pq.write_table(pa.table(columns), folder / "catalog.parquet")


def users_in_excess(folder: Path) -> None:
    users = pq.read_table(folder / "users.parquet").column("user_id").to_pylist()
    pq.write_table(pa.table({"user_id": [*users, "one more"]}), folder / "users.parquet")
    tensors = load_file(folder / "catalog.safetensors")
    indptr = torch.cat([tensors["seen_indptr"], tensors["seen_indptr"][-1:]])
    save_file({**tensors, "seen_indptr": indptr}, folder / "catalog.safetensors")


def backwards(folder: Path) -> None:
    tensors = load_file(folder / "catalog.safetensors")
    tensors["seen_indptr"][3] = tensors["seen_indptr"][5] + 1
    save_file(tensors, folder / "catalog.safetensors")


def pickles_only(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def cut(name: str, share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return change


def in_config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_config(folder, **changes)


def in_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    return lambda folder: edit_weights(folder, change)


def in_items(change: Callable[[dict[str, list[Any]]], Any]) -> Callable[[Path], None]:
    return lambda folder: edit_items(folder, change)


def in_catalogue(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "catalog.safetensors")
        save_file(tensors | {name: change(tensors[name])}, folder / "catalog.safetensors")

    return apply


def set_first(column: str, value: Any) -> Callable[[Path], None]:
    return in_items(lambda columns: columns[column].__setitem__(0, value))


def wider(tensors: dict[str, torch.Tensor]) -> None:
    tensors["user_embedding.weight"] = torch.zeros(50, 9)


def beyond(tensors: dict[str, torch.Tensor]) -> None:
    tensors["graph.adj_idx"][1, 0] = 5000


def as_floats(tensors: dict[str, torch.Tensor]) -> None:
    tensors["graph.adj_idx"] = tensors["graph.adj_idx"].float()


CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (pickles_only, r"pytorch_model\.bin: pickles can run code and are not read.*safetensors"),
    "unknown backbone": (in_config(backbone="transformer_xxl"), r"config\.json: backbone='transformer_xxl'.*lightgcn"),
    "another model": (in_config(model_type="bert"), r"config\.json is of a model of type 'bert', no recommender"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"config\.json is missing"),
    "config no object": (lambda folder: (folder / "config.json").write_text("[1, 2]"), r"config\.json holds list"),
    "config cut": (cut("config.json", 0.5), r"config\.json is not JSON"),
    "size as text": (in_config(embedding_dim="8"), r"config\.json: embedding_dim='8': give a whole number"),
    "negative size": (in_config(n_users=-1), r"config\.json: n_users=-1: give a whole number"),
    "layers as text": (in_config(n_layers="2"), r"config\.json: n_layers='2'"),
    "users in config": (in_config(n_users=51), r"the catalogue has 50 users, config\.json says 51"),
    "a thousand billion": (in_config(n_users=10**12), r"the catalogue has 50 users, config\.json says 1000000000000"),
    "another width": (in_config(embedding_dim=16), r"weights do not fit: .*\[50, 8\] instead of \[50, 16\]"),
    "wider table": (in_weights(wider), r"user_embedding\.weight \[50, 9\] instead of \[50, 8\]"),
    "huge graph": (in_config(nnz=10**11), r"graph\.adj_idx \[2, \d+\] instead of \[2, 100000000000\]"),
    "tensor missing": (in_weights(lambda tensors: tensors.pop("item_text")), r"the weights lack item_text"),
    "tensor too many": (in_weights(lambda t: t.update(extra=torch.ones(1))), r"no place in the model, extra"),
    "floats as indices": (
        in_weights(lambda t: t.update({"graph.adj_idx": t["graph.adj_idx"].float()})),
        "holds floats",
    ),
    "graph too far": (in_weights(beyond), "the graph names nodes beyond its 100"),
    "other weights": (in_config(transformers_weights="../x.safetensors"), "transformers_weights"),
    "weights cut": (cut(WEIGHTS, 0.7), r"model\.safetensors is not a readable safetensors file"),
    "weights empty": (cut(WEIGHTS, 0), r"model\.safetensors is not a readable safetensors file"),
    "no catalogue": (lambda folder: (folder / "catalog.parquet").unlink(), r"catalog\.parquet is missing"),
    "catalogue cut": (cut("catalog.parquet", 0.8), r"catalog\.parquet is not a readable Parquet file"),
    "seen items cut": (cut("catalog.safetensors", 0.5), r"catalog\.safetensors is not a readable safetensors file"),
    "one item less": (
        in_items(lambda columns: [column.pop() for column in columns.values()]),
        "the catalogue has 49 items",
    ),
    "one user more": (users_in_excess, r"the catalogue has 51 users, config\.json says 50"),
    "seen items backwards": (backwards, "the seen items do not fit the users and items"),
    "one id twice": (set_first("item_id", "001"), "item id '001' occurs more than once"),
    "no id": (set_first("item_id", None), r"catalog\.parquet: item_id is missing in row 1"),
    "no category": (set_first("categories", [None]), r"catalog\.parquet: categories is missing"),
    "seen items as floats": (
        in_catalogue("seen_indices", lambda t: t.float() + 0.7),
        r"catalog\.safetensors: seen_indices does not hold int32",
    ),
    "seen items too far": (
        in_catalogue("seen_indices", lambda t: t.long() + 2**32),
        r"catalog\.safetensors: seen_indices does not hold int32",
    ),
    "seen places as floats": (
        in_catalogue("seen_indptr", lambda t: t.double()),
        r"catalog\.safetensors: seen_indptr does not hold int64",
    ),
    "long title": (set_first("title", "x" * 10**6), f"title 1 has 1,000,000 characters, more than {LONGEST_TEXT:,}"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_broken_recommender_is_refused(place: Path, case: str) -> None:
    breaking, message = CASES[case]
    breaking(place)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        RecLMRecommender.from_pretrained(place)
    assert str(place) in str(caught.value), "the message says of which folder it is"
    assert len(str(caught.value)) < 1000


MEANINGLESS: list[tuple[str, Any, str]] = [
    ("half_life_days", "abc", "a number from 1e-09 to 1e"),
    ("half_life_days", float("nan"), "a number from 1e-09 to 1e"),
    ("id_dropout", 7, "a number from 0 to 1"),
    ("id_dropout", "0.3", "a number from 0 to 1"),
    ("ssl_temperature", 0, "a number from 1e-06 to 1e"),
    ("cold_offset", "x", "a number from -1e"),
    ("noise", True, "a number from 0 to 1e"),
    ("floors", "no", "give True or False"),
    ("profile_text_path", 1, "give True or False"),
    ("loss", "zzz", "choose one of bpr, softmax"),
    ("loss", [], "choose one of bpr, softmax"),
    ("backbone", ["ncf"], "choose one of"),
    ("seed", -1, "a whole number, 0 or more"),
    ("n_layers", 10**7, "64 is the most"),
    ("embedding_dim", 10**12, "65536 is the most"),
    ("text_dim", 10**12, "65536 is the most"),
    ("text_encoder", 3, "give a name"),
    ("dtype", "float99", "a floating-point type"),
    ("dtype", "nn", "a floating-point type"),
    ("dtype", "int32", "a floating-point type"),
    ("dtype", 5, "a floating-point type"),
    ("id2label", [1], "names and values"),
    ("num_labels", "x", "a whole number"),
    ("quantization_config", {"quant_method": "bitsandbytes", "load_in_4bit": True}, "are not quantised"),
]


@pytest.mark.parametrize(("field", "value", "message"), MEANINGLESS)
def test_a_value_without_meaning_is_named(place: Path, field: str, value: Any, message: str) -> None:
    edit_config(place, **{field: value})
    with pytest.raises(ValueError, match=rf"config\.json: {field}=.*{message}") as caught:
        RecLMRecommender.from_pretrained(place)
    assert len(str(caught.value)) < 500


def test_more_entries_than_there_can_be_are_no_model(place: Path) -> None:
    edit_config(place, nnz=10**30)
    with pytest.raises(ValueError, match=r"config\.json: no model can be built of these sizes"):
        RecLMRecommender.from_pretrained(place)


def test_the_same_folder_unbroken_loads(place: Path) -> None:
    assert RecLMRecommender.from_pretrained(place).recommend(["user-07"], k=3).item_ids[0]


def test_shards_come_from_beside_their_index_only(place: Path) -> None:
    trained(*KIND).save_pretrained(place, max_shard_size="4KB")
    (place / MANIFEST).unlink()
    index = place / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    for name in ("../model.safetensors", "/tmp/model.safetensors", "weights.bin", 7):
        index.write_text(json.dumps({"weight_map": {**content["weight_map"], "item_text": name}}))
        with pytest.raises(ValueError, match=r"index\.json names .*shards are safetensors files that lie beside it"):
            RecLMRecommender.from_pretrained(place)
    index.write_text(json.dumps(content))
    (place / sorted(set(content["weight_map"].values()))[1]).unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks model-00002-of-.*safetensors, which .*index\.json names"):
        RecLMRecommender.from_pretrained(place)


def test_unknown_fields_are_named_and_change_nothing(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = RecLMRecommender.from_pretrained(place).recommend(["user-07"], k=3)
    assert "does not know" not in caplog.text
    edit_config(place, frobnicate=3, second_graph=True, auto_map={"AutoModel": "modeling_x.X"})
    with caplog.at_level(logging.WARNING):
        found = RecLMRecommender.from_pretrained(place)
    assert "config.json: fields that this version does not know" in caplog.text
    assert "frobnicate, second_graph. If a newer version wrote them, update reclm-hf" in caplog.text
    assert found.recommend(["user-07"], k=3) == before


def test_a_title_that_could_not_be_loaded_is_not_saved() -> None:
    with pytest.raises(ValueError, match=r"title 2 has 100,001 characters"):
        Catalog(["a", "b"], ["A", "B" * (LONGEST_TEXT + 1)], ["u"], np.array([0, 0]), np.array([]))


@settings(max_examples=30, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_refused_or_harmless(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever happens to one file, the answer is an error of the documented kinds, or a whole model."""
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved, folder)
    path = folder / data.draw(st.sampled_from(sorted(entry.name for entry in folder.iterdir())))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        # The beginnings and ends of these files say how they are built.
        place = data.draw(st.one_of(st.integers(0, min(400, len(content)) - 1), st.integers(-200, -1)))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        model = RecLMRecommender.from_pretrained(folder)
    except (ValueError, OSError):
        return
    assert len(model.catalog.item_ids) == model.config.n_items
    assert model.graph.adj_idx.max() < model.config.n_users + model.config.n_items
    user = model.catalog.user_ids[7]
    try:
        found = model.recommend([user], k=3)
    except ValueError:
        return
    assert len(found.item_ids[0]) == 3
