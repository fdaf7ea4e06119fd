"""What every recommender must do, on data with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoConfig, AutoModel, Trainer, TrainingArguments

import reclm_hf.auto  # noqa: F401 (registers the Auto classes)
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.sampling import NegativeSampler
from tests.checkerboard import N_ITEMS, N_USERS, answers
from tests.recommender.models import KINDS, data, profiles, trained, untrained

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)
every_kind = pytest.mark.parametrize(("backbone", "preset", "mode"), KINDS)


@every_kind
def test_the_checkerboard_is_solved(backbone: str, preset: str, mode: str) -> None:
    model = trained(backbone, preset, mode)
    splits, _ = data()
    cold = splits.test.candidates("zero_shot")
    found = model.recommend([splits.test.user_ids[user] for user in USERS], k=4)
    own_first, answered = [], []
    for user in USERS:
        scores = model.score(np.array([user]), cold)[0]
        own = cold % 2 == user % 2
        own_first.append(scores[own].min() > scores[~own].max())
        # Four unseen items of the own parity remain in test; two of them are the answers.
        expected = {f"{item:03d}" for item in answers(int(user), "test")}
        answered.append(len(expected & set(found.item_ids[user])) / 2)
    assert np.mean(own_first) >= 0.95, "cold items of the own parity must come first"
    assert np.mean(answered) >= 0.9, "the held-out items must be among the four unseen ones of the own parity"


@every_kind
def test_save_load_gives_equal_scores(backbone: str, preset: str, mode: str, tmp_path: Path) -> None:
    model = trained(backbone, preset, mode)
    model.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".parquet"}
    for loaded in (RecLMRecommender.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(loaded, RecLMRecommender)
        np.testing.assert_allclose(loaded.score(USERS, ITEMS), model.score(USERS, ITEMS), atol=1e-6)
        assert loaded.recommend(["user-07"], k=3) == model.recommend(["user-07"], k=3)
    stored = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(stored, RecLMRecommenderConfig)
    assert stored.to_dict() | {"_name_or_path": ""} == model.config.to_dict() | {"_name_or_path": ""}


@every_kind
def test_seen_items_are_never_recommended_and_ids_survive(backbone: str, preset: str, mode: str) -> None:
    model = trained(backbone, preset, mode)
    splits, _ = data()
    users = [str(user) for user in splits.test.user_ids]
    found = model.recommend(users, k=N_ITEMS)
    history = splits.test.history_matrix()
    for row, items in enumerate(found.item_ids):
        positions = history.indices[history.indptr[row] : history.indptr[row + 1]]
        seen = {str(splits.test.item_ids[item]) for item in positions}
        assert not seen & set(items)
        assert len(items) == N_ITEMS - len(seen)
        assert all(len(item) == 3 for item in items), "'007' must stay '007'"
    with pytest.raises(KeyError, match=r"nobody.*recommend_for_profile"):
        model.recommend(["nobody"])


@every_kind
def test_a_cold_item_is_added_and_ranked(backbone: str, preset: str, mode: str, tmp_path: Path) -> None:
    trained(backbone, preset, mode).save_pretrained(tmp_path)
    model = RecLMRecommender.from_pretrained(tmp_path)
    before = model.score(USERS, ITEMS)
    _, vectors = data()
    new = pd.DataFrame({"item_id": ["new-even", "new-odd"], "title": ["Even", "Odd"], "text": ["alpha", "beta"]})
    model.add_items(new, vectors=vectors[[46, 47]])
    np.testing.assert_allclose(model.score(USERS, ITEMS), before, atol=1e-5)
    users = ["user-00", "user-01"]
    found = model.recommend(users, k=1, candidates=["new-even", "new-odd"])
    assert found.item_ids == [["new-even"], ["new-odd"]]
    assert found.titles == [["Even"], ["Odd"]]
    with pytest.raises(ValueError, match="new-even"):
        model.add_items(new.head(1), vectors=vectors[[46]])
    again = tmp_path / "again"
    model.save_pretrained(again)
    loaded = RecLMRecommender.from_pretrained(again)
    assert loaded.recommend(users, k=50) == model.recommend(users, k=50)


@pytest.mark.parametrize(("backbone", "preset"), [("bias_mf", "standard"), ("lightgcn", "floor_residual")])
def test_a_profile_alone_is_enough_to_recommend(backbone: str, preset: str) -> None:
    model = trained(backbone, preset, "llm")
    vector = np.zeros(16, dtype=np.float32)
    for parity in (0, 1):
        vector[:2] = [1 - parity, parity]
        found = model.recommend_for_profile("User identity: ...", k=10, vector=vector)
        assert np.mean([int(item) % 2 == parity for item in found.item_ids[0]]) >= 0.8
    with pytest.raises(ValueError, match="empty"):
        model.recommend_for_profile("  ")
    with pytest.raises(ValueError, match="profile_mode"):
        trained(backbone, "standard", "none").recommend_for_profile("User identity: ...", vector=vector)


def test_the_mean_user_is_one_list_for_everybody_and_knows_no_parity() -> None:
    model = trained("bias_mf", "standard", "llm")
    scores = model.mean_user_scores(ITEMS)
    assert scores.shape == (N_ITEMS,)
    np.testing.assert_allclose(scores, model.score(USERS, ITEMS).mean(0), atol=1e-4)


@every_kind
def test_twenty_steps_of_the_transformers_trainer_lower_the_loss(
    backbone: str, preset: str, mode: str, tmp_path: Path
) -> None:
    model = untrained(backbone, preset, mode)
    split = data()[0].test
    sampler = NegativeSampler(split.history_matrix(), np.flatnonzero(split.warm))
    negative = sampler.sample(split.history_user, np.random.default_rng(0))
    rows = [
        {"user_index": int(user), "positive_index": int(item), "negative_index": int(other)}
        for user, item, other in zip(split.history_user, split.history_item, negative, strict=True)
    ]
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=20,
        per_device_train_batch_size=256,
        learning_rate=2e-2,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    trainer.save_model(tmp_path / "saved")
    np.testing.assert_allclose(
        RecLMRecommender.from_pretrained(tmp_path / "saved").score(USERS, ITEMS), model.score(USERS, ITEMS), atol=1e-5
    )


def test_floor_residual_starts_as_its_floors() -> None:
    model = untrained("lightgcn", "floor_residual", "llm")
    scores = torch.from_numpy(model.score(USERS, ITEMS))
    warm = model.item_warm > 0
    assert torch.allclose(scores[:, warm], model.popularity[warm].expand(N_USERS, -1), atol=1e-5)
    state = model.state()
    expected = 3.5 * model.user_text @ model.item_text.T + state.text_popularity + model.config.cold_offset
    assert torch.allclose(scores[:, ~warm], expected[:, ~warm], atol=1e-4)


def test_the_base_has_as_many_parameters_as_its_twin() -> None:
    models = [untrained("bias_mf", "floor_residual", mode) for mode in ("constant", "shuffled", "llm")]
    assert len({sum(p.numel() for p in model.parameters()) for model in models}) == 1


@pytest.mark.parametrize("field", ["backbone", "preset", "profile_mode"])
def test_an_unknown_choice_names_the_known_ones(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field}='other'.*choose one of"):
        RecLMRecommenderConfig(**{field: "other"})


@pytest.mark.parametrize("preset", ["reference", "standard", "floor_residual"])
@pytest.mark.parametrize("sides", ["item", "both"])
def test_item_profiles_enter_the_score_and_cold_ones_no_mean(preset: str, sides: str, tmp_path: Path) -> None:
    splits, vectors = data()
    rng = np.random.default_rng(2)
    items = (vectors + 0.1 * rng.standard_normal(vectors.shape)).astype(np.float32)

    def built(item_profiles: np.ndarray) -> RecLMRecommender:
        config = RecLMRecommenderConfig(
            backbone="bias_mf", preset=preset, profile_mode="llm", profile_sides=sides, embedding_dim=8
        )
        users = None if sides == "item" else profiles()
        return build_recommender(config, splits.data, splits.test, vectors, users, item_profiles)

    model = built(items)
    if model.floors is not None:
        model.floors.gate.data.fill_(1.0)
    before = model.score(USERS, ITEMS)
    model.item_profile.zero_()
    assert not np.allclose(model.score(USERS, ITEMS), before, atol=1e-4)
    moved = items.copy()
    moved[~splits.test.warm] += 5.0
    again, plain = built(moved), built(items)
    assert torch.equal(again.item_profile_mean, plain.item_profile_mean)
    assert torch.equal(again.item_profile[splits.test.warm], plain.item_profile[splits.test.warm])
    again.save_pretrained(tmp_path)
    loaded = RecLMRecommender.from_pretrained(tmp_path)
    np.testing.assert_allclose(loaded.score(USERS, ITEMS), again.score(USERS, ITEMS), atol=1e-6)
    config = RecLMRecommenderConfig(profile_mode="llm", profile_sides="item")
    with pytest.raises(ValueError, match="item_profiles"):
        build_recommender(config, splits.data, splits.test, vectors)
