"""A reward model's scores stand where they should, and survive saving, moving and being opened by others."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from reclm_hf.tuning.arguments import ModelArguments
from reclm_hf.tuning.chat_templates import training_template, without_trailing_newline
from reclm_hf.tuning.models import lora_config, with_score_head
from reclm_hf.tuning.rewards.configuration import REWARD_CONFIG, RewardModelConfig, require_accuracy
from reclm_hf.tuning.rewards.files import AdapterParts, merge
from reclm_hf.tuning.rewards.model import RewardModel, assert_score_position, batch_scores
from tests.profiler.models import BASE, COMMIT, base_model, save_base, tokenizer
from tests.tuning.reward_parts import BAD, GOOD, cached_base, profile, rows

PROMPTS = rows(6)["prompt"].tolist()
REPLIES = [profile(GOOD), profile(BAD), "", "Yes", profile(GOOD) * 2, profile(BAD)]


def reward_tokenizer() -> Any:
    found = tokenizer()
    found.chat_template = without_trailing_newline(training_template(found))
    return found


def scorer(seed: int = 0) -> Any:
    """The tiny model under a random head."""
    model = with_score_head(base_model(), seed).eval()
    model.config.pad_token_id = tokenizer().pad_token_id
    return model


def whole(**options: Any) -> RewardModel:
    config = RewardModelConfig(BASE, layout="merged", accuracy=0.9, pairs=10, **options)
    return RewardModel(scorer(), reward_tokenizer(), config)


def adapted() -> RewardModel:
    """One with an adapter and a head that are both random."""
    from peft import get_peft_model

    model = get_peft_model(scorer(), lora_config(ModelArguments(lora_rank=4), "SEQ_CLS"))
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.2)
    parts = AdapterParts.of(model)
    return RewardModel(merge(model, "float32"), reward_tokenizer(), RewardModelConfig(BASE, COMMIT), parts)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hub cache that has the base model."""
    place = tmp_path / "cache"
    cached_base(place)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place))
    return place


def head_at_end(model: RewardModel, prompt: Any, reply: str) -> float:
    """The head on the hidden state of the reply's end token, token by token and without any padding."""
    ids = model.encode(prompt, reply)
    assert model.tokenizer.decode(ids).endswith(f"assistant\n{reply}<|im_end|>")
    with torch.inference_mode():
        hidden = model.model.model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        return float(hidden[-1] @ model.model.score.weight[0])


def test_a_reply_is_scored_at_its_end_token_however_it_is_padded() -> None:
    model = whole()
    wanted = np.array([head_at_end(model, prompt, reply) for prompt, reply in zip(PROMPTS, REPLIES, strict=True)])
    assert np.ptp(wanted) > 0.1
    for batch_size in (1, 4, 6):
        assert np.allclose(model.score(PROMPTS, REPLIES, batch_size), wanted, atol=1e-5)
    chats = [model.encode(prompt, reply) for prompt, reply in zip(PROMPTS, REPLIES, strict=True)]
    pad = model.tokenizer.pad_token_id
    assert np.allclose(batch_scores(model.model, chats, pad, left=True), wanted, atol=1e-5)
    # At any other token of the end it would be another score.
    assert np.abs(batch_scores(model.model, [chat[:-1] for chat in chats], pad) - wanted).min() > 1e-3


def test_ppo_reads_the_same_score() -> None:
    from trl.experimental.utils import get_reward

    model = whole()
    wanted = model.score(PROMPTS[:1] * 3, REPLIES[:3])
    pad = model.tokenizer.pad_token_id
    query = model.tokenizer.apply_chat_template(PROMPTS[0], add_generation_prompt=True, return_dict=True)["input_ids"]
    chats = [model.encode(PROMPTS[0], reply) for reply in REPLIES[:3]]
    width = 2 + max(map(len, chats))
    assert all(chat[: len(query)] == query for chat in chats)
    for shift in (0, 5):  # shorter prompts of a batch are padded on the left
        rows = torch.tensor([[pad] * shift + chat + [pad] * (width - len(chat)) for chat in chats])
        with torch.inference_mode():
            _, scores, places = get_reward(model.model, rows, pad, shift + len(query))
        assert np.allclose(scores.numpy(), wanted, atol=1e-5)
        assert places.tolist() == [shift + len(chat) - 1 for chat in chats]


def test_the_position_is_asserted() -> None:
    model = whole().model
    assert_score_position(model.train(), reward_tokenizer())
    assert model.training
    with pytest.raises(ValueError, match="end with the reply's end token"):
        assert_score_position(model, tokenizer())
    padded_by_end = reward_tokenizer()
    padded_by_end.pad_token = padded_by_end.eos_token
    model.config.pad_token_id = padded_by_end.pad_token_id
    with pytest.raises(ValueError, match="padding"):
        assert_score_position(model, padded_by_end)


def test_a_score_that_is_read_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = scorer()

    def at_the_last_place(**inputs: Any) -> Any:
        inputs.pop("use_cache")
        hidden = model.model(**inputs).last_hidden_state
        return type("Out", (), {"logits": model.score(hidden[:, -1])})

    monkeypatch.setattr(model, "forward", at_the_last_place)
    with pytest.raises(ValueError, match="scores padded on the right"):
        assert_score_position(model, reward_tokenizer())


def test_the_newline_behind_a_reply_would_change_its_score() -> None:
    model = whole()
    broken = RewardModel(model.model, tokenizer(), model.config)
    assert np.abs(broken.score(PROMPTS, REPLIES) - model.score(PROMPTS, REPLIES)).min() > 1e-3


@pytest.mark.parametrize("layout", ["adapter", "merged"])
def test_saved_and_moved_it_scores_the_same(layout: str, tmp_path: Path, cache: Path) -> None:
    model = adapted() if layout == "adapter" else whole()
    wanted = model.score(PROMPTS, REPLIES)
    model.save_pretrained(tmp_path / "made")
    shutil.move(tmp_path / "made", tmp_path / "elsewhere")
    loaded = RewardModel.from_pretrained(tmp_path / "elsewhere")
    assert np.abs(loaded.score(PROMPTS, REPLIES) - wanted).max() < 1e-6
    assert loaded.config == model.config
    assert loaded.tokenizer.pad_token_id != loaded.tokenizer.eos_token_id
    assert_score_position(loaded.model, loaded.tokenizer)
    loaded.save_pretrained(tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        if path.name == "tokenizer_config.json":
            continue  # says whether the tokenizer was read from a folder
        assert path.read_bytes() == (tmp_path / "elsewhere" / path.name).read_bytes(), path.name


def test_stock_libraries_open_both_layouts(tmp_path: Path, cache: Path) -> None:
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoModelForSequenceClassification

    for name, model in (("adapter", adapted()), ("merged", whole())):
        model.save_pretrained(tmp_path / name)
        wanted = model.score(PROMPTS, REPLIES)
        if name == "adapter":
            stock = AutoPeftModelForSequenceClassification.from_pretrained(str(tmp_path / name), num_labels=1)
        else:
            stock = AutoModelForSequenceClassification.from_pretrained(str(tmp_path / name))
        pad = model.tokenizer.pad_token_id
        stock.config.pad_token_id = pad
        chats = [model.encode(prompt, reply) for prompt, reply in zip(PROMPTS, REPLIES, strict=True)]
        assert np.allclose(batch_scores(stock.eval(), chats, pad), wanted, atol=1e-5), name


def test_no_file_names_a_place(tmp_path: Path, cache: Path) -> None:
    adapted().save_pretrained(tmp_path / "adapter")
    RewardModel.from_pretrained(tmp_path / "adapter").save_pretrained(tmp_path / "again")
    whole().save_pretrained(tmp_path / "merged")
    for path in (path for name in ("adapter", "again", "merged") for path in (tmp_path / name).iterdir()):
        for forbidden in (str(tmp_path), os.path.expanduser("~") + "/", "snapshots"):
            assert forbidden.encode() not in path.read_bytes(), path
    stated = json.loads((tmp_path / "again" / "adapter_config.json").read_text())
    assert (stated["base_model_name_or_path"], stated["revision"], stated["task_type"]) == (BASE, COMMIT, "SEQ_CLS")


def test_what_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    save_base(tmp_path / "chat")
    with pytest.raises(FileNotFoundError, match=f"no reward model: it has no {REWARD_CONFIG}.*reclm reward"):
        RewardModel.from_pretrained(tmp_path / "chat")
    RewardModelConfig(BASE, layout="merged").save(tmp_path / "chat")
    with pytest.raises(ValueError, match=r"no weights of the head \(score.weight\)"):
        RewardModel.from_pretrained(tmp_path / "chat")
    with pytest.raises(ValueError, match="no head `score`"):
        RewardModel(base_model(), reward_tokenizer(), RewardModelConfig(BASE, layout="merged"))
    (tmp_path / "chat" / "profiler_config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="holds a profiler"):
        whole().save_pretrained(tmp_path / "chat")


def test_an_adapter_without_a_head_is_refused(tmp_path: Path, cache: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapted().save_pretrained(tmp_path / "made")
    file = tmp_path / "made" / "adapter_model.safetensors"
    tensors = load_file(file)
    (head,) = [name for name in tensors if name.endswith("score.weight")]
    save_file({name: tensor for name, tensor in tensors.items() if name != head}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="no weights of the head"):
        RewardModel.from_pretrained(tmp_path / "made")


def test_an_adapter_that_does_not_fit_is_refused(tmp_path: Path, cache: Path) -> None:
    adapted().save_pretrained(tmp_path / "made")
    path = tmp_path / "made" / "adapter_config.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, "task_type": "CAUSAL_LM"}))
    with pytest.raises(ValueError, match="SEQ_CLS and LORA"):
        RewardModel.from_pretrained(tmp_path / "made")
    path.write_text(json.dumps(stated))
    shutil.rmtree(cache / "models--somebody--tiny-chat" / "snapshots" / COMMIT)
    save_base(cache / "models--somebody--tiny-chat" / "snapshots" / COMMIT, hidden=64)
    with pytest.raises(ValueError, match="does not fit the base model somebody/tiny-chat"):
        RewardModel.from_pretrained(tmp_path / "made")


def test_chats_that_cannot_be_read_are_refused() -> None:
    model = whole()
    assert model.score([], []).shape == (0,)
    with pytest.raises(ValueError, match="2 prompts for 1 replies"):
        model.score(PROMPTS[:2], REPLIES[:1])
    with pytest.raises(ValueError, match=r"chat 1 has \d+ tokens, the reward model reads 2048"):
        model.score(PROMPTS[:2], ["Yes", "word " * 3000])


def test_configuration_round_trip_and_refusals(tmp_path: Path, caplog: Any) -> None:
    made = RewardModelConfig(BASE, COMMIT, "label", accuracy_by_kind={"empty": {"accuracy": 1.0}}, prompt="7")
    made.save(tmp_path)
    assert RewardModelConfig.load(tmp_path) == made
    stated = json.loads((tmp_path / REWARD_CONFIG).read_text())
    for change, message in (
        ({"layout": "half"}, "layout='half'"),
        ({"accuracy": 2}, "accuracy=2"),
        ({"base_model": ""}, "base_model=''"),
        ({"format": 99}, "format=99 is newer"),
    ):
        (tmp_path / REWARD_CONFIG).write_text(json.dumps({**stated, **change}))
        with pytest.raises(ValueError, match=message):
            RewardModelConfig.load(tmp_path)
    (tmp_path / REWARD_CONFIG).write_text(json.dumps({**stated, "later": 1}))
    with caplog.at_level(logging.WARNING):
        kept = RewardModelConfig.load(tmp_path)
    assert kept.extra == {"later": 1}
    assert "later" in caplog.text


def test_a_weak_reward_model_is_refused_unless_accepted(caplog: Any) -> None:
    weak = RewardModelConfig(BASE, accuracy=0.6, pairs=40)
    with pytest.raises(ValueError, match=r"accuracy of 0.600 on 40 held-out pairs; 0.65 is asked for.*accept-weak"):
        require_accuracy(weak, 0.65)
    with pytest.raises(ValueError, match="no known accuracy"):
        require_accuracy({"figures": {"accuracy": None, "pairs": 0}}, 0.65)
    with caplog.at_level(logging.WARNING):
        assert require_accuracy(weak, 0.65, accept_weak=True) == 0.6
        assert require_accuracy(RewardModelConfig(BASE), 0.65, accept_weak=True) is None
    assert caplog.text.count("used all the same") == 2
    assert require_accuracy(weak, 0.6) == 0.6
    assert require_accuracy({"figures": {"accuracy": 0.7, "pairs": 3}}, 0.65) == 0.7
