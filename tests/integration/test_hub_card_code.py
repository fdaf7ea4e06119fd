"""The code of every card runs as it stands there: artefacts are pushed, their cards fetched, their blocks executed."""

from __future__ import annotations

import re
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import hf_hub_download

from reclm_hf.hub.kinds import KINDS
from reclm_hf.hub.manifest import read_manifest
from reclm_hf.hub.publish import Pushed, push
from reclm_hf.hub.staging import PushOptions
from tests.hub import artefacts
from tests.hub.small_tables import write_chats, write_data, write_profiles
from tests.hub.test_cards import GOLDEN, NAMES
from tests.hubserver.loopback import LoopbackHub

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(card: str) -> list[str]:
    """The Python of a card."""
    return _BLOCK.findall(card)


def card_of(found: Pushed) -> str:
    path = hf_hub_download(found.repo_id, "README.md", repo_type=found.repo_type, revision=found.revision)
    return Path(path).read_text(encoding="utf-8")


def pushed(source: Path, repo_id: str, **options: Any) -> Pushed:
    found = push(source, repo_id, PushOptions(**options), progress=False)
    assert isinstance(found, Pushed)
    return found


def run(block: str) -> tuple[dict[str, Any], str]:
    """Run a block as a script of its own; returns its variables and what it printed."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with redirect_stdout(StringIO()) as said, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(block, "README.md", "exec"), names)
    return names, said.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_the_golden_cards_is_python(name: str) -> None:
    card = (GOLDEN / f"{name}.md").read_text(encoding="utf-8")
    assert blocks(card)
    for block in blocks(card):
        compile(block, f"{name}.md", "exec")
        assert len([line for line in block.splitlines() if line]) <= 7
        assert max(map(len, block.splitlines())) <= 120


def test_a_recommender(hub: LoopbackHub, tmp_path: Path) -> None:
    found = pushed(artefacts.run_folder(tmp_path / "run"), f"{hub.namespace}/films", code=True)
    with_package, _ = blocks(card_of(found))  # the other one is run by test_hub_custom_code, without the package
    _, said = run(with_package)
    assert said.count("user-00") == 5
    assert said.count("new user") == 5


def test_an_adapter(hub: LoopbackHub, tmp_path: Path) -> None:
    base = pushed(artefacts.copy_of("base", tmp_path / "base"), f"{hub.namespace}/tiny")
    adapter = artefacts.copy_of("adapter", tmp_path / "adapter")
    found = pushed(adapter, f"{hub.namespace}/tiny-lora", base_model=base.repo_id)
    with_package, without = blocks(card_of(found))
    assert "User identity: " in run(with_package)[1]
    model = run(without)[0]["model"]
    assert type(model).__name__ == "PeftModelForCausalLM"


def test_a_whole_profiler(hub: LoopbackHub, tmp_path: Path) -> None:
    found = pushed(artefacts.copy_of("merged", tmp_path / "merged"), f"{hub.namespace}/whole")
    with_package, without = blocks(card_of(found))
    assert "User identity: " in run(with_package)[1]
    assert "assistant" in run(without)[1]


def test_a_reward_model(hub: LoopbackHub, tmp_path: Path) -> None:
    from reclm_hf.tuning.models import with_score_head
    from reclm_hf.tuning.rewards.configuration import RewardModelConfig
    from reclm_hf.tuning.rewards.model import RewardModel
    from tests.profiler.models import base_model, tokenizer

    model = with_score_head(base_model(), 0).eval()
    model.config.pad_token_id = tokenizer().pad_token_id
    config = RewardModelConfig("somebody/tiny-chat", layout="merged", accuracy=0.75, pairs=8)
    RewardModel(model, tokenizer(), config).save_pretrained(tmp_path / "judge")
    found = pushed(tmp_path / "judge", f"{hub.namespace}/judge")
    card = card_of(found)
    assert "0.7500" in card
    (block,) = blocks(card)
    names, said = run(block)
    assert said.startswith("[")
    assert len(re.findall(r"-?\d+\.\d+", said)) == 2
    assert names["judge"].config.accuracy == 0.75


def test_tables(hub: LoopbackHub, tmp_path: Path) -> None:
    splits = write_data(tmp_path / "data")
    instructions, preferences = write_chats(splits, tmp_path)
    profiles = write_profiles(splits, tmp_path / "profiles")
    found = pushed(
        tmp_path / "data",
        f"{hub.namespace}/toy-tables",
        profiles=str(profiles),
        instructions=str(instructions),
        preferences=str(preferences),
    )
    card = card_of(found)
    for name in ("items", "interactions", "user_profiles", "item_profiles", "instructions", "preferences"):
        assert f"`{name}`" in card
    (block,) = blocks(card)
    names, said = run(block)
    assert "item_id" in said
    assert names["interactions"].keys() == {"train", "validation", "test"}
    assert names["user_profiles"].keys() == {"validation", "test"}


def test_results(hub: LoopbackHub, tmp_path: Path) -> None:
    artefacts.run_folder(tmp_path / "run")
    found = pushed(tmp_path / "run", f"{hub.namespace}/toy-results", kind="results")
    (block,) = blocks(card_of(found))
    assert artefacts.LABEL in run(block)[1]


def test_a_space(hub: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\ntitle: A demo\nsdk: gradio\nsdk_version: 6.31.0\n---\n\nShows films.\n")
    (tmp_path / "app.py").write_text("print('hello')\n")
    (tmp_path / "requirements.txt").write_text("reclm-hf\n")
    found = pushed(tmp_path, f"{hub.namespace}/demo")
    (block,) = blocks(card_of(found))
    names, said = run(block)
    assert (Path(names["folder"]) / "app.py").read_text() == "print('hello')\n"
    assert "python app.py" in said


def test_a_metric(hub: LoopbackHub, repository: Path) -> None:
    found = pushed(repository / "spaces" / "ranking_metrics", f"{hub.namespace}/ranking_metrics")
    (block,) = blocks(card_of(found))
    names, said = run(block)
    assert "predictions" in said
    assert names["metric"].compute(predictions=[["a", "b"]], references=[["b"]], k=[1])["mrr"] == 0.5


def test_what_is_pushed_passes_as_a_card_of_its_kind(hub: LoopbackHub, tmp_path: Path) -> None:
    """The Hub asks for valid front matter at each commit; here the answer is looked at, warnings too."""
    from huggingface_hub import ModelCard

    found = pushed(artefacts.run_folder(tmp_path / "run"), f"{hub.namespace}/films")
    ModelCard(card_of(found)).validate(repo_type="model")
    path = hf_hub_download(found.repo_id, "manifest.json", revision=found.revision)
    manifest = read_manifest(Path(path).parent)
    assert KINDS[manifest["kind"]].template == "recommender.md.j2"
