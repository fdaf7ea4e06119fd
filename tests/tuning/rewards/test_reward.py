"""Training of a reward model: what is learnt, what is refused, what an interruption costs (nothing)."""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from transformers import TrainerCallback

from reclm_hf.data.tables import TableError
from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiles.engines import DEFAULT_MODEL
from reclm_hf.tuning.chat_templates import training_template, without_trailing_newline
from reclm_hf.tuning.models import load_for_training
from reclm_hf.tuning.rewards import training as reward
from reclm_hf.tuning.rewards.configuration import RewardModelConfig, require_accuracy
from reclm_hf.tuning.rewards.model import RewardModel, assert_score_position
from reclm_hf.tuning.rewards.pairs import Pairs, accuracy_figures, encode_pairs, wilson, without_rejected
from reclm_hf.tuning.rewards.training import train_reward
from tests.profiler.models import BASE, COMMIT, adapted, save_base, tokenizer
from tests.tuning.reward_parts import arguments, cached_base, rows, save_rows


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, an adapter profiler on it, and 40 planted pairs."""
    folder = tmp_path_factory.mktemp("reward")
    save_base(folder / "base")
    config = RecLMProfilerConfig(str(folder / "base"))
    RecLMProfiler(adapted(), tokenizer(), config).save_pretrained(folder / "profiler")
    save_rows(folder / "pairs")
    return folder


def margins(model: RewardModel, args: Any) -> np.ndarray:
    """What a loaded model says of the pairs that were held out, from their texts."""
    judged = rows()[reward.held_out(rows()["user_id"].tolist(), args.holdout, args.seed)]
    prompts = judged["prompt"].tolist()
    chosen, rejected = ([reply[0]["content"] for reply in judged[side]] for side in ("chosen", "rejected"))
    return model.score(prompts, chosen) - model.score(prompts, rejected)


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_thirty_steps_learn_what_was_planted(places: Path, tmp_path: Path) -> None:
    args = arguments(places / "base", places / "pairs", tmp_path / "out", max_steps=30, save_steps=100)
    manifest = train_reward(args, progress=False)
    figures = manifest["figures"]
    assert figures["steps"] == 30
    assert figures["loss_last"] < 0.5 * figures["loss_first"]
    assert figures["accuracy"] == 1.0 == require_accuracy(manifest, 0.65)
    assert set(figures["accuracy_by_kind"]) == {"neighbor", "diluted", "empty"}
    assert sum(found["pairs"] for found in figures["accuracy_by_kind"].values()) == figures["pairs"]
    assert figures["rows"] + figures["pairs"] == 40
    # As it will be loaded: the very margins that the manifest tells.
    loaded = RewardModel.from_pretrained((tmp_path / "out").rename(tmp_path / "moved"))
    assert margins(loaded, args).mean() == pytest.approx(figures["margin"], abs=1e-6)
    assert loaded.config.accuracy == 1.0
    written = {path.name for path in (tmp_path / "moved").iterdir()}
    assert {"manifest.json", "recipe.yaml", "training_log.parquet", "chat_template.jinja"} <= written
    assert "checkpoints" not in written
    for path in (tmp_path / "moved").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
        assert str(places).encode() not in path.read_bytes() or path.name == "recipe.yaml", path.name


def test_on_an_adapter_profiler_the_whole_model_is_written(places: Path, tmp_path: Path) -> None:
    args = arguments(places / "profiler", places / "pairs", tmp_path / "out", max_steps=3)
    figures = train_reward(args, progress=False)["figures"]
    loaded = RewardModel.from_pretrained((tmp_path / "out").rename(tmp_path / "moved"))
    assert (loaded.config.layout, loaded.config.base_model) == ("merged", "profiler")
    assert margins(loaded, args).mean() == pytest.approx(figures["margin"], abs=1e-6)
    body = load_for_training(args).model.model.state_dict()
    untouched = "layers.1.mlp.up_proj.weight"
    assert torch.equal(loaded.model.model.state_dict()[untouched], body[untouched])
    tuned = "layers.1.self_attn.k_proj.weight"  # of the profiler's adapter q and v, so k is the base's
    assert torch.equal(loaded.model.model.state_dict()[tuned], body[tuned])
    plain = load_for_training(replace(args, model=str(places / "base"))).model.model.state_dict()
    moved = loaded.model.model.state_dict()["layers.1.self_attn.q_proj.weight"]
    trained = (moved - body["layers.1.self_attn.q_proj.weight"]).norm()
    assert 0 < trained < (moved - plain["layers.1.self_attn.q_proj.weight"]).norm()


def test_on_a_model_of_the_hub_an_adapter_is_written(
    places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_base(tmp_path / "cache")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    args = arguments(BASE, places / "pairs", tmp_path / "out", max_steps=3)
    figures = train_reward(args, progress=False)["figures"]
    loaded = RewardModel.from_pretrained((tmp_path / "out").rename(tmp_path / "moved"))
    assert (loaded.config.layout, loaded.config.base_model, loaded.config.base_revision) == ("adapter", BASE, COMMIT)
    assert not (tmp_path / "moved" / "config.json").exists()
    assert margins(loaded, args).mean() == pytest.approx(figures["margin"], abs=1e-6)


def test_every_trainable_weight_moves_and_no_other(places: Path, tmp_path: Path) -> None:
    args = arguments(places / "base", places / "pairs", tmp_path / "out", save_steps=100)
    parts = load_for_training(args, head="score")
    parts.tokenizer.chat_template = without_trailing_newline(training_template(parts.tokenizer))
    pairs, left_out = encode_pairs(rows(16), parts.tokenizer, args.max_tokens, "pairs")
    assert (len(pairs), left_out) == (16, {})
    trainer = reward._trainer(args, parts, pairs)
    model: Any = trainer.model
    before = {name: (weight.requires_grad, weight.detach().clone()) for name, weight in model.named_parameters()}
    trainer.train()
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name][1])}
    assert moved == {name for name, (trainable, _) in before.items() if trainable}
    assert sum("lora_" in name for name in moved) == 8  # A and B of q and v in two layers
    assert [name for name in moved if "lora_" not in name] == ["base_model.model.score.modules_to_save.default.weight"]


class _Stop(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step == 5:
            raise RuntimeError("pulled the plug")


def stop_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    build = reward._trainer

    def stopping(*given: Any) -> Any:
        trainer = build(*given)
        trainer.add_callback(_Stop())
        return trainer

    monkeypatch.setattr(reward, "_trainer", stopping)


def stop_behind_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(*given: Any) -> Any:
        raise RuntimeError("pulled the plug")

    monkeypatch.setattr(reward, "_measure", stopping)


@pytest.fixture(scope="module")
def uninterrupted(places: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, dict[str, Any]]:
    """Settings, folder and manifest of a run of six steps."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "out"
    args = arguments(places / "base", places / "pairs", folder)
    return args, folder, train_reward(args, progress=False)


@pytest.mark.parametrize(("stop", "steps_left"), [("in", 2), ("in, torn", 4), ("behind", 0)])
def test_interrupted_and_gone_on_it_is_the_same_bit_for_bit(
    stop: str, steps_left: int, uninterrupted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder, expected = uninterrupted
    cut = replace(whole, output=str(tmp_path / "cut"))
    with monkeypatch.context() as patch:
        (stop_behind_training if stop == "behind" else stop_in_training)(patch)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            train_reward(cut, progress=False)
    kept = sorted((tmp_path / "cut" / "checkpoints").glob("checkpoint-*"))
    assert [path.name for path in kept] == (
        ["checkpoint-4", "checkpoint-6"] if stop == "behind" else ["checkpoint-2", "checkpoint-4"]
    )
    if "torn" in stop:  # killed while the last one was being written
        (kept[-1] / "trainer_state.json").write_text("{")
    with pytest.raises(ValueError, match="other settings"):
        train_reward(replace(cut, learning_rate=1e-3), progress=False)
    steps = []
    step = reward_trainer().training_step
    monkeypatch.setattr(
        reward_trainer(), "training_step", lambda *given, **more: steps.append(1) or step(*given, **more)
    )
    found = train_reward(cut, progress=False)
    assert len(steps) == steps_left, "it went on from the last whole checkpoint"
    assert weights(tmp_path / "cut") == weights(folder)
    assert found["figures"] == expected["figures"]


def reward_trainer() -> Any:
    from trl import RewardTrainer

    return RewardTrainer


def test_a_finished_run_returns_at_once(uninterrupted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    args, _, manifest = uninterrupted
    monkeypatch.setattr(reward, "load_for_training", lambda *given, **more: pytest.fail("it trains again"))
    assert train_reward(args, progress=False) == json.loads(json.dumps(manifest))


def test_script_and_function_write_the_same(
    uninterrupted: Any, tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder, manifest = uninterrupted
    spec = importlib.util.spec_from_file_location("train_reward_script", repository / "training" / "reward.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    capsys.readouterr()
    given = ["--config", str(folder / "recipe.yaml"), "--output", str(tmp_path / "again"), "--json"]
    assert script.main(given) == 0
    said = json.loads(capsys.readouterr().out)  # nothing but the object, progress and TRL's log lines included
    assert said["next"].startswith("reclm refine --reward-model")
    assert said["figures"] == manifest["figures"]
    assert weights(tmp_path / "again") == weights(folder)


@pytest.mark.slow
def test_two_processes_train_what_one_trains(
    uninterrupted: Any, tmp_path: Path, repository: Path, child_environment: dict[str, str]
) -> None:
    _, folder, manifest = uninterrupted
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    given = ["--config", str(folder / "recipe.yaml"), "--output", str(tmp_path / "out"), "--batch-size", "2"]
    script = str(repository / "training" / "reward.py")
    subprocess.run([*launch, script, *given], env=child_environment, check=True, timeout=300)
    found = json.loads((tmp_path / "out" / "manifest.json").read_text())["figures"]
    for name in ("accuracy", "loss_last", "margin", "steps", "rows"):
        assert found[name] == pytest.approx(manifest["figures"][name], rel=1e-4), name


@pytest.mark.slow
def test_the_bundled_model_becomes_a_reward_model(places: Path, tmp_path: Path) -> None:
    args = arguments(
        DEFAULT_MODEL, places / "pairs", tmp_path / "out", max_steps=2, batch_size=2, learning_rate=1e-3, autocast=True
    )
    figures = train_reward(args, progress=False)["figures"]
    loaded = RewardModel.from_pretrained((tmp_path / "out").rename(tmp_path / "moved"))
    assert (loaded.config.layout, loaded.config.base_model) == ("adapter", DEFAULT_MODEL)
    assert sum(path.stat().st_size for path in (tmp_path / "moved").iterdir()) < 12e6
    assert margins(loaded, args).mean() == pytest.approx(figures["margin"], abs=1e-6)
    assert_score_position(loaded.model, loaded.tokenizer)


def test_the_shipped_recipe_is_understood(repository: Path, tmp_path: Path) -> None:
    from reclm_hf.tuning.arguments import RewardArguments
    from reclm_hf.tuning.recipes import read_recipe

    given = read_recipe(repository / "training" / "configs" / "reward.yaml", RewardArguments)
    assert RewardArguments(**given, output=str(tmp_path)).learning_rate == 1e-4


def reward_tokenizer() -> Any:
    found = tokenizer()
    found.chat_template = without_trailing_newline(training_template(found))
    return found


def test_pairs_are_encoded_whole_and_told_apart(caplog: Any) -> None:
    table = rows(4)
    table.at[1, "prompt"] = [{"role": "user", "content": "word " * 400}]
    table.at[2, "rejected"] = table.at[2, "chosen"]
    found = reward_tokenizer()
    with caplog.at_level(logging.WARNING):
        pairs, left_out = encode_pairs(table, found, 300, "pairs")
    assert left_out == {"more than 300 tokens": 1, "the same reply twice": 1}
    assert "row 1 (user 'u1', diluted) with" in caplog.text
    assert "row 2 (user 'u2'" in caplog.text
    assert pairs.users == ["u0", "u3"]
    prompt = found.apply_chat_template(table["prompt"][0], tokenize=False, add_generation_prompt=True)
    for chats, column in ((pairs.chosen, "chosen"), (pairs.rejected, "rejected")):
        for chat, row in zip(chats, (0, 3), strict=True):
            assert found.decode(chat).endswith(table[column][row][0]["content"] + "<|im_end|>")
            assert max(map(len, (chat,))) <= 300
        assert found.decode(chats[0]).startswith(prompt)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (tokenizer().chat_template, "ends with .* not with an end token"),
        # Says how long the chat is: a prompt alone begins otherwise.
        ("{{ messages | length }}" + reward_tokenizer().chat_template, "begin with the tokens of its prompt"),
        (reward_tokenizer().chat_template.replace("['content']", "['content'][:20]"), "comes out of the chat template"),
    ],
)
def test_rows_that_would_be_scored_elsewhere_are_refused(template: str, message: str) -> None:
    found = reward_tokenizer()
    found.chat_template = template
    with pytest.raises(TableError, match=rf"pairs: row 0 \(user 'u0', neighbor\), chosen: .*{message}"):
        encode_pairs(rows(2), found, 1000, "pairs")


def test_a_reply_of_two_messages_is_refused() -> None:
    table = rows(1)
    table.at[0, "rejected"] = [*table.at[0, "rejected"], {"role": "user", "content": "More"}]
    with pytest.raises(TableError, match=r"row 0 .* rejected: is 2 messages"):
        encode_pairs(table, reward_tokenizer(), 1000, "pairs")


def test_what_a_person_did_not_accept_and_excluded_users_are_left_out(places: Path, tmp_path: Path) -> None:
    table = rows(12)
    table["accepted"] = [False, True, None] * 4
    kept, left_out = without_rejected(table, frozenset({"u0", "u1"}))
    assert left_out == {"users left out": 2, "not accepted by a person": 3}
    assert kept["user_id"].tolist() == ["u2", "u4", "u5", "u7", "u8", "u10", "u11"]
    save_rows(tmp_path / "judged", table)
    (tmp_path / "users.txt").write_text("u0\nu1\n")
    options = {"max_steps": 1, "holdout": 0.0, "without_users": str(tmp_path / "users.txt")}
    manifest = train_reward(
        arguments(places / "base", tmp_path / "judged", tmp_path / "out", **options), progress=False
    )
    assert manifest["figures"]["rows_left_out"] == left_out
    assert manifest["figures"]["rows"] == 7
    assert manifest["figures"]["accuracy"] is None
    assert RewardModelConfig.load(tmp_path / "out").accuracy is None


def test_held_out_users_and_draws(places: Path, tmp_path: Path) -> None:
    pairs, _ = encode_pairs(rows(40, pairs_per_user=2), reward_tokenizer(), 1000, "pairs")
    args = arguments(places / "base", places / "pairs", tmp_path / "out")
    train, judged = reward._divide(pairs, args)
    assert set(train.users).isdisjoint(judged.users)
    assert len(train) + len(judged) == 80
    drawn, same = reward._divide(pairs, replace(args, max_rows=5))
    assert (len(drawn), same.users) == (5, judged.users)
    with pytest.raises(ValueError, match="no pair is left"):
        reward._divide(Pairs([], [], [], []), args)
    with pytest.raises(ValueError, match="4bit"):
        train_reward(replace(args, load_in_4bit=True))


def test_accuracy_counts_ties_half_and_users_once() -> None:
    pairs = Pairs(["a", "a", "b", "c"], ["x", "y", "x", "x"], [[1, 2]] * 4, [[1]] * 3 + [[1, 2, 3]])
    figures = accuracy_figures(pairs, np.array([1.0, 1.0, 2.0, 0.0]), np.array([0.0, 1.0, 3.0, -2.0]))
    assert figures["accuracy"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert figures["margin"] == pytest.approx((1 + 0 - 1 + 2) / 4)
    assert (figures["pairs"], figures["users"]) == (4, 3)
    assert figures["longer_is_chosen"] == 0.75
    assert figures["accuracy_by_kind"]["x"]["accuracy"] == pytest.approx(2 / 3)
    assert figures["accuracy_by_kind"]["y"] == {
        "accuracy": 0.5, "low": figures["accuracy_by_kind"]["y"]["low"], "margin": 0.0, "pairs": 1, "users": 1,
        "high": figures["accuracy_by_kind"]["y"]["high"],
    }  # fmt: skip
    assert list(figures["accuracy_by_kind"]) == ["x", "y"]
    assert (figures["low"], figures["high"]) == wilson(figures["accuracy"], 3)


def test_wilson_interval() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 29 of 29.
    known = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0.0, 0.1611), (29, 29): (0.8830, 1.0)}
    for (hits, count), interval in known.items():
        assert wilson(hits / count, count) == pytest.approx(interval, abs=5e-5)
