"""Cards as a visitor reads them. `golden/NAME.json` is a manifest, `golden/NAME.md` the card that belongs to it.

Whoever changes a template looks at the cards again and writes them anew: `python -m tests.hub.test_cards`.
"""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard, RepoCard, SpaceCard

from reclm_hf.hub.cards import render_card, template_folder
from reclm_hf.hub.kinds import KINDS
from reclm_hf.hub.manifest import validate_manifest
from tests.hubserver.cards import problems

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))
CARDS: dict[str, type[RepoCard]] = {"model": ModelCard, "dataset": DatasetCard, "space": SpaceCard}


def manifest(name: str) -> dict[str, Any]:
    """A manifest of the test's own."""
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return found


def repo_type(content: dict[str, Any]) -> str:
    return KINDS[content["kind"]].repo_type


def renew() -> None:
    """Write the golden cards anew."""
    for name in NAMES:
        (GOLDEN / f"{name}.md").write_text(render_card(manifest(name)), encoding="utf-8")


def test_every_kind_has_a_golden_card() -> None:
    assert {manifest(name)["kind"] for name in NAMES} == set(KINDS)
    assert len(list(template_folder().glob("*.md.j2"))) == 6
    assert {kind.template for kind in KINDS.values()} == {path.name for path in template_folder().glob("*.md.j2")}


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    card = render_card(manifest(name))
    assert card == (GOLDEN / f"{name}.md").read_text(encoding="utf-8"), "renew with: python -m tests.hub.test_cards"
    assert all(line == line.rstrip() for line in card.splitlines())
    assert "None" not in card
    assert "nan" not in card.lower().split()


@pytest.mark.parametrize("name", NAMES)
def test_manifests_are_what_is_pushed(name: str) -> None:
    assert validate_manifest(manifest(name)) == manifest(name)


@pytest.mark.parametrize("name", NAMES)
def test_front_matter_is_what_the_hub_takes(name: str) -> None:
    content = manifest(name)
    found = problems(render_card(content), repo_type(content))
    assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize("name", NAMES)
def test_front_matter_survives_the_client(name: str) -> None:
    content = manifest(name)
    card = render_card(content)
    read = CARDS[repo_type(content)](card)
    assert read.data.to_dict()
    again = CARDS[repo_type(content)](f"---\n{read.data.to_yaml()}\n---\n{read.text}")
    assert again.data.to_dict() == read.data.to_dict()
    assert again.text == read.text


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_keys_and_nan_mean_nothing(name: str) -> None:
    """A manifest is rendered when it is made, and again when it was read back with its keys sorted and no NaN."""
    content = manifest(name)
    shuffled = _shuffled(content, random.Random(3))
    assert render_card(shuffled) == render_card(content)
    content["figures"].append({**_figure(), "value": None, "low": None, "high": None})
    made = copy.deepcopy(content)
    made["figures"][-1] |= dict.fromkeys(("value", "low", "high"), float("nan"))
    assert render_card(made) == render_card(content)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_there_is_said(name: str) -> None:
    """Of a manifest with nothing but its kind, its name and its files a card can still be made."""
    content = manifest(name)
    bare = {key: content[key] for key in ("format", "kind", "repo_id", "files")}
    card = render_card(validate_manifest(bare))
    assert problems(card, repo_type(content)).errors == []
    for said in ("floor `", "95 %", "Seed", "Cost", "Contamination", "no leak found", "None"):
        assert said not in card
    if content["kind"] in ("recommender", "results"):
        assert "No result is recorded" in card
    if content["kind"] in ("recommender", "profiler", "reward-model"):
        assert "Not recorded: inputs, settings, versions of other packages, cost" in card


def test_the_model_beside_the_best_floor() -> None:
    content = manifest("recommender")
    own = next(line for line in content["figures"] if line["kind"] == "model" and line["setting"] == "catalogue")
    card = render_card(content)
    assert "- catalogue: 0.2198, the best floor `mix` 0.2213; the intervals overlap: no difference is shown" in card
    own |= {"value": 0.7, "low": 0.6, "high": 0.8}
    assert "- catalogue: 0.7000, the best floor `mix` 0.2213; above it, the intervals do not meet." in render_card(
        content
    )
    own |= {"value": 0.02, "low": 0.01, "high": 0.03}
    assert "- catalogue: 0.0200, the best floor `mix` 0.2213; **below it**, the intervals" in render_card(content)
    own |= {"low": None, "high": None}
    assert "without intervals nothing can be said of the difference." in render_card(content)
    content["figures"] = [line for line in content["figures"] if line["kind"] != "floor"]
    card = render_card(content)
    assert "No floor is recorded beside it" in card
    assert "best floor" not in card


def test_a_failed_certificate_is_no_certificate() -> None:
    content = manifest("tables")
    assert "no leak found" in render_card(content)
    for entry in content["certificates"]:
        entry |= {"passed": False, "n_failures": 1234}
    card = render_card(content)
    assert "no leak found" not in card
    assert "**1,234 leaks**" in card
    content["certificates"] = []
    assert "**No leak certificate is recorded** for these profiles." in render_card(content)


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("MIT", {"license": "mit"}),
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("apache-2.0", {"license": "apache-2.0"}),
        ("llama3.2", {"license": "llama3.2"}),
        ("Netflix Prize rules: research", {"license": "other", "license_name": "netflix-prize-rules-research"}),
        (None, {}),
    ],
)
def test_licences(licence: str | None, told: dict[str, str]) -> None:
    content = manifest("recommender") | {"license": licence}
    data = ModelCard(render_card(content)).data.to_dict()
    assert {name: value for name, value in data.items() if name.startswith("license")} == told
    content["files"]["LICENSE.txt"] = content["files"]["config.json"]
    link = ModelCard(render_card(content)).data.to_dict().get("license_link")
    assert link == ("LICENSE.txt" if told.get("license") == "other" else None)


def test_what_the_conventions_ask_of_models() -> None:
    recommender = ModelCard(render_card(manifest("recommender"))).data
    assert (recommender.library_name, recommender.pipeline_tag) == ("reclm-hf", "graph-ml")
    assert ModelCard(render_card(manifest("recommender-bare"))).data.pipeline_tag is None
    assert recommender.datasets == ["ann/movies-tables"]
    assert recommender.eval_results is not None
    figures = {(line["metric"], line["setting"]): line for line in manifest("recommender")["figures"][:8]}
    assert len(recommender.eval_results) == len(figures)
    for result in recommender.eval_results:
        line = figures[result.metric_type, result.metric_args["setting"]]
        assert result.metric_value == line["value"]
        assert (result.metric_args["low"], result.metric_args["high"]) == (line["low"], line["high"])
        assert result.dataset_revision == manifest("recommender")["inputs"][0]["revision"]
    adapter, whole = (ModelCard(render_card(manifest(name))).data for name in ("profiler-adapter", "profiler-merged"))
    assert (adapter.library_name, adapter["base_model_relation"]) == ("peft", "adapter")
    assert (whole.library_name, whole["base_model_relation"]) == ("transformers", "finetune")
    assert adapter.pipeline_tag == whole.pipeline_tag == "text-generation"
    assert ModelCard(render_card(manifest("profiler-bare"))).data.base_model is None


def test_what_the_conventions_ask_of_data_sets() -> None:
    content = manifest("tables")
    data = DatasetCard(render_card(content)).data
    assert [config["config_name"] for config in data["configs"]] == ["items", "interactions", "user_profiles"]
    assert [config.get("default") for config in data["configs"]] == [True, None, None]
    named = {entry["path"] for config in data["configs"] for entry in config["data_files"]}
    assert named == {name for name in content["files"] if name.endswith(".parquet")}
    assert data.size_categories == ["10K<n<100K"]
    content["details"].pop("configs")  # then the names of the files tell
    assert DatasetCard(render_card(content)).data["configs"] == data["configs"]


def test_shards_are_named_by_a_pattern() -> None:
    content = manifest("tables-plain") | {"details": {}}
    files = content["files"]
    entry = files.pop("items.parquet")
    files |= {f"items/train-0000{number}-of-00002.parquet": entry for number in range(2)}
    configs = DatasetCard(render_card(content)).data["configs"]
    assert configs[0]["data_files"] == [{"split": "train", "path": "items/train-*.parquet"}]


def test_a_card_written_from_a_card_is_the_same() -> None:
    """A Space's manifest takes its description from the README, which after a push is such a card."""
    content = manifest("metric")
    content["details"]["description"] = "Gives `recall@k`, *not* [more](x) & <b>less</b>; see https://example.org"
    card = render_card(content)
    content["details"]["description"] = card.split("\n\n")[2]
    assert render_card(content) == card


def test_refusals() -> None:
    with pytest.raises(ValueError, match="kind='picture'"):
        render_card(manifest("space") | {"kind": "picture"})
    with pytest.raises(ValueError, match="no Hub id"):
        render_card(manifest("recommender") | {"repo_id": 'x"); import os; ("'})


def _figure() -> dict[str, Any]:
    counts = dict.fromkeys(("n_users", "n_targets", "n_candidates"), 0) | {"n_seeds": 1}
    names = {"dataset": "d", "split": "test", "setting": "zero_shot", "row": "empty", "kind": "floor", "interval": ""}
    return {**names, "metric": "recall@20", **counts}


def _shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        names = list(value)
        order.shuffle(names)
        return {name: _shuffled(value[name], order) for name in names}
    return [_shuffled(entry, order) for entry in value] if isinstance(value, list) else value


if __name__ == "__main__":
    renew()
