"""The command `reclm refine`: what goes in is checked, what comes out loads, and nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.folder import write_dataset
from reclm_hf.data.tables import INSTRUCTION_COLUMNS, PREFERENCE_COLUMNS, PROFILE_COLUMNS, TableError, write_parquet
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.tuning.arguments import RefineArguments
from reclm_hf.tuning.outputs import input_digest
from reclm_hf.tuning.policies.inputs import Prompts, divide, load_histories, read_prompts
from reclm_hf.tuning.policies.refine import compare, require_rewards, train_refined
from reclm_hf.tuning.recipes import read_recipe
from tests.checkerboard import checkerboard
from tests.profiler.models import logits, save_base, tokenizer
from tests.profiles.tiny import WordEngine
from tests.tuning.group_parts import reward_model
from tests.tuning.sft_parts import chats

USERS = 24


class Hashed:
    """Sentence vectors of the letters of a text; counts the texts."""

    def __init__(self) -> None:
        self.texts = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += len(texts)
        counts = np.array([[text.count(chr(97 + letter)) + 0.1 for letter in range(26)] for text in texts])
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, profiles as of its validation cut, prompts, a model and a reward model."""
    folder = tmp_path_factory.mktemp("home")
    splits, _ = checkerboard()
    write_dataset(splits.data, folder / "data", {"test_cut": splits.test.cut})
    split = load_split(folder)
    users = np.arange(split.n_users)
    near = np.stack([(users + 2) % USERS, (users + 4) % USERS], axis=1).astype(np.int32)
    table = generate_user_profiles(
        split, splits.data.items, near, WordEngine(), folder / "shards", users=users[:USERS], progress=False
    )
    write_parquet(table, folder / "profiles" / "validation" / "user_profiles.parquet", PROFILE_COLUMNS)
    write_parquet(preferences(split.user_ids[:USERS]), folder / "prompts" / "preferences.parquet", PREFERENCE_COLUMNS)
    save_base(folder / "base")
    reward_model().save_pretrained(folder / "reward")
    return folder


def load_split(home: Path) -> Any:
    from reclm_hf.data.load import load_splits

    return load_splits(str(home / "data")).validation


def preferences(users: Sequence[str]) -> pd.DataFrame:
    """Two pairs a user with one short prompt; that of the last user is long."""
    rows = []
    for place, user in enumerate(users):
        asked = f"{user} chose old maps" + " and jazz" * (60 if place == len(users) - 1 else place % 3)
        for kind in ("empty", "neighbor"):
            pair = {"prompt": [{"role": "user", "content": asked}], "chosen": [], "rejected": [], "accepted": None}
            rows.append({**pair, "rejected_kind": kind, "user_id": user})
    return pd.DataFrame(rows, columns=list(PREFERENCE_COLUMNS))


def settings(home: Path, output: Path, **changes: Any) -> RefineArguments:
    usual: dict[str, Any] = {
        "model": str(home / "base"), "output": str(output), "preferences": str(home / "prompts"),
        "data": str(home / "data"), "profiles": str(home / "profiles"), "algorithm": "rloo", "reward": "verifiable",
        "autocast": False, "use_cpu": True, "batch_size": 4, "num_generations": 2, "episodes": 8,
        "response_length": 6, "learning_rate": 1e-2, "alarm_every": 2, "alarm_users": 2, "max_prompt_tokens": 100,
        "seed": 3,
    }  # fmt: skip
    return RefineArguments(**{**usual, **changes})


@pytest.fixture(scope="module")
def refined(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RefineArguments, dict[str, Any]]:
    """A run with both rewards."""
    args = settings(home, tmp_path_factory.mktemp("out") / "rloo", reward="mix", reward_model=str(home / "reward"))
    return args, train_refined(args, False, encoder=Hashed())


def test_it_writes_a_whole_model_and_the_adapter_beside_it(refined: tuple, home: Path) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    args, _ = refined
    folder = Path(args.output)
    profiler = RecLMProfiler.from_pretrained(folder, dtype="float32", device="cpu")
    assert (profiler.config.layout, profiler.config.base_model, profiler.config.form) == ("merged", "base", "plain")
    base = AutoModelForCausalLM.from_pretrained(home / "base", dtype=torch.float32)
    start = logits(base)
    adapted = peft.PeftModel.from_pretrained(base, str(folder / "adapter"))
    assert torch.allclose(logits(adapted), logits(profiler.model), atol=1e-4)
    assert not torch.allclose(start, logits(profiler.model), atol=1e-4)
    assert not (folder / "checkpoints").exists()
    written = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.json"))
    assert str(home) not in written, "where files lie on this machine is nobody's business"
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_the_manifest_says_what_it_brought(refined: tuple, home: Path) -> None:
    args, manifest = refined
    figures = manifest["figures"]
    assert (figures["updates"], figures["stopped_by"], figures["watched"]) == (2, None, True)
    assert abs(figures["kl_first"]) < 1e-6
    names = {"reward_model", "verifiable", "similarity", "format", "diversity"}
    assert set(figures["before"]) == set(figures["after"]) == set(figures["change"]) == names
    for name in names:
        mean, low, high = figures["change"][name]
        assert mean == pytest.approx(figures["after"][name] - figures["before"][name])
        assert low <= mean <= high
    assert figures["judged_on"] == "held-out users"
    assert figures["prompts"] + figures["judged"] == USERS - 1
    assert figures["prompts_left_out"] == {"longer than max_prompt_tokens": 1}
    assert manifest["inputs"]["preferences"] == input_digest(str(home / "prompts"))
    log = pd.read_parquet(Path(args.output) / "training_log.parquet")
    assert {"reward", "kl", "watch/format", "rewards/reward_model/mean", "rewards/verifiable/mean"} <= set(log["name"])


def test_the_same_call_again_returns_at_once(refined: tuple) -> None:
    args, manifest = refined
    encoder = Hashed()
    assert train_refined(args, False, encoder=encoder) == json.loads(json.dumps(manifest))
    assert encoder.texts == 0
    with pytest.raises(ValueError, match="other settings"):
        train_refined(replace(args, kl_coef=0.5), False, encoder=encoder)


def test_an_interrupted_run_goes_on(home: Path, tmp_path: Path) -> None:
    args = settings(home, tmp_path / "killed", episodes=16, save_steps=1, alarm_every=3)
    reference = replace(args, output=str(tmp_path / "reference"))

    class Dies(Hashed):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            done = list((tmp_path / "killed" / "checkpoints").glob("checkpoint-2"))
            if done:
                raise KeyboardInterrupt
            return super().encode(texts)

    with pytest.raises(KeyboardInterrupt):
        train_refined(args, False, encoder=Dies())
    assert (tmp_path / "killed" / "checkpoints" / "before.json").is_file()
    again, wanted = train_refined(args, False, encoder=Hashed()), train_refined(reference, False, encoder=Hashed())
    assert again["figures"] == wanted["figures"]
    same = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path / "killed", tmp_path / "reference")]
    assert same[0] == same[1]


def test_ppo_is_dispatched_with_the_reward_model(home: Path, tmp_path: Path) -> None:
    args = settings(
        home, tmp_path / "ppo", algorithm="ppo", reward="model", reward_model=str(home / "reward"), data=None,
        batch_size=4, rollout_batch_size=4, ppo_epochs=1, episodes=8,
    )  # fmt: skip
    figures = train_refined(args, False)["figures"]
    assert (figures["algorithm"], figures["updates"], figures["watched"]) == ("ppo", 2, False)
    assert set(figures["before"]) == {"reward_model"}
    assert RecLMProfiler.from_pretrained(tmp_path / "ppo", device="cpu").config.layout == "merged"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algorithm": "ppo", "reward": "verifiable"}, "takes a reward model only"),
        ({"algorithm": "ppo", "reward": "mix", "reward_model": "r"}, "takes a reward model only"),
        ({"algorithm": "ppo", "reward": "model"}, "needs reward_model"),
        ({"reward": "mix"}, "or choose reward verifiable"),
        ({"data": None}, "name the data set"),
    ],
)
def test_rewards_that_cannot_be_computed_are_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        require_rewards(settings(tmp_path, tmp_path / "out", **changes))


def test_a_weak_reward_model_is_refused_unless_told_so(home: Path, tmp_path: Path) -> None:
    reward_model(accuracy=0.6).save_pretrained(tmp_path / "weak")
    args = settings(home, tmp_path / "out", reward="model", reward_model=str(tmp_path / "weak"), max_steps=1, data=None)
    with pytest.raises(ValueError, match="accept-weak-reward"):
        train_refined(args, False)
    assert not (tmp_path / "out").exists()
    assert train_refined(replace(args, accept_weak_reward=True), False)["figures"]["updates"] == 1


def test_prompts_are_read_from_either_table_one_of_each_user(home: Path, tmp_path: Path) -> None:
    found, origin = read_prompts(str(home / "prompts"))
    assert (len(found.users), len(set(found.users)), origin.form) == (USERS, USERS, "plain")
    table = chats(5, "distill")
    write_parquet(table, tmp_path / "instructions.parquet", INSTRUCTION_COLUMNS)
    found, origin = read_prompts(str(tmp_path / "instructions.parquet"))
    assert (found.users, origin.form) == ([f"u{n}" for n in range(5)], "own")
    assert all(chat[-1]["role"] == "user" for chat in found.messages)
    (tmp_path / "instructions.json").write_text('{"form": "plain"}')
    assert read_prompts(str(tmp_path))[1].form == "plain"
    (tmp_path / "preferences.json").write_text('{"form": "dialogue", "cut": 5, "max_tokens": 400}')
    assert read_prompts(str(tmp_path))[1].form == "plain", "of the other table in the folder"
    with pytest.raises(TableError, match="no column"):
        read_prompts(str(home / "profiles" / "validation" / "user_profiles.parquet"))
    with pytest.raises(OSError, match="no table"):
        read_prompts(str(tmp_path / "nothing.parquet"))


def test_sides_are_of_different_users_and_leave_out_who_must_be(home: Path, tmp_path: Path) -> None:
    prompts = read_prompts(str(home / "prompts"))[0]
    gone = frozenset(prompts.users[:3])
    sides = divide(prompts, settings(home, tmp_path), gone, tokenizer())
    assert sides.apart
    assert not set(sides.learn.users) & set(sides.judge.users)
    assert not gone & {*sides.learn.users, *sides.judge.users}
    assert sides.left_out == {"user left out": 3, "longer than max_prompt_tokens": 1}
    few = divide(prompts.take([0, 1]), settings(home, tmp_path), frozenset(), tokenizer())
    assert (few.apart, few.learn, few.judge) == (False, few.judge, few.learn)
    with pytest.raises(ValueError, match="no prompt is left of 24"):
        divide(prompts, settings(home, tmp_path, max_prompt_tokens=3), frozenset(), tokenizer())


def test_prompts_end_where_the_reply_begins() -> None:
    found = Prompts(["u"], [[{"role": "user", "content": "Hello?"}]]).token_ids(tokenizer())[0]
    assert tokenizer().decode(found).endswith("Hello?<|im_end|>\n<|im_start|>assistant\n")


def test_profiles_of_a_later_cut_are_refused(home: Path, tmp_path: Path) -> None:
    assert load_histories(settings(home, tmp_path, data=None)) is None
    with pytest.raises(ValueError, match="as of another time than the validation cut"):
        load_histories(settings(home, tmp_path), Hashed(), cut=5)
    table = pd.read_parquet(home / "profiles" / "validation" / "user_profiles.parquet")
    table["as_of"] = table["as_of"] + pd.Timedelta(days=30)
    write_parquet(table, tmp_path / "late.parquet", PROFILE_COLUMNS)
    with pytest.raises(TableError, match="after the cut"):
        load_histories(settings(home, tmp_path, profiles=str(tmp_path / "late.parquet")), Hashed())
    with pytest.raises(TableError, match="comes without profiles"):
        load_histories(settings(home, tmp_path, profiles=None), Hashed())


def test_changes_are_paired() -> None:
    before = {"a": np.array([0.0, 1.0, 2.0])}
    found = compare(before, {"a": before["a"] + 0.5})
    assert found["change"]["a"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("algorithm", ["ppo", "rloo", "grpo"])
def test_the_recipes_fit_together(algorithm: str, repository: Path) -> None:
    given = read_recipe(repository / "training" / "configs" / f"refine-{algorithm}.yaml", RefineArguments)
    args = RefineArguments(output="out", **given)
    require_rewards(args)
    assert args.algorithm == algorithm


def test_command_and_script_run_it(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib.util
    import sys

    place = Path(__file__).parents[3] / "training" / "refine.py"
    spec = importlib.util.spec_from_file_location("refine_script", place)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules["refine_script"] = script
    spec.loader.exec_module(script)
    flags = ["--model", home / "base", "--preferences", home / "prompts", "--reward-model", home / "reward", "--reward"]
    flags += ["model", "--algorithm", "rloo", "--no-autocast", "--use-cpu", "--batch-size", 4, "--num-generations", 2]
    flags += ["--episodes", 4, "--response-length", 4, "--output", tmp_path / "out", "--json"]
    assert script.main([str(flag) for flag in flags]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["figures"]["updates"] == 1
    assert said["next"].startswith("reclm profiles build")
