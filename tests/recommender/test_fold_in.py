"""People who were never seen, ranked for by the items they chose."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from reclm_hf.recommender.fold_in import PRIOR_ITEMS, PRIOR_USERS, fit_history_map
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.new_users import Histories, new_user_tables
from tests.checkerboard import N_ITEMS, N_USERS, answers
from tests.recommender.models import KINDS, data, profiles, trained, untrained

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)
QUICK = ("bias_mf", "ncf", "lightgcn")
every_kind = pytest.mark.parametrize(
    ("backbone", "preset", "mode"),
    [pytest.param(*kind, marks=() if kind[0] in QUICK and kind[2] == "llm" else pytest.mark.slow) for kind in KINDS],
)


def histories() -> list[list[str]]:
    """What each user of the test split has chosen."""
    split = data()[0].test
    matrix = split.history_matrix()
    return [[str(item) for item in split.item_ids[row]] for row in np.split(matrix.indices, matrix.indptr[1:-1])]


def found_again(lists: list[list[str]]) -> float:
    """Recall of the two held-out items of each user."""
    expected = [{f"{item:03d}" for item in answers(int(user), "test")} for user in USERS]
    return float(np.mean([len(wanted & set(items)) / 2 for wanted, items in zip(expected, lists, strict=True)]))


@every_kind
def test_known_users_given_as_new_ones_keep_their_recall(backbone: str, preset: str, mode: str) -> None:
    model = trained(backbone, preset, mode)
    users = [str(user) for user in data()[0].test.user_ids]
    reference = found_again(model.recommend(users, k=4).item_ids)
    folded = model.recommend_for_histories(histories(), k=4, user_ids=users)
    assert folded.user_ids == users
    assert found_again(folded.item_ids) >= 0.8 * reference
    if mode == "llm":
        # Nine users in ten have a profile; the rest are folded in without.
        vectors = profiles() * (USERS % 10 > 0)[:, None]
        assert found_again(model.recommend_for_histories(histories(), k=4, vectors=vectors).item_ids) >= 0.8 * reference


@pytest.mark.parametrize("preset", ["standard", "floor_residual"])
@pytest.mark.parametrize("backbone", ["bias_mf", "lightgcn"])
def test_three_items_tell_the_taste_of_a_stranger(backbone: str, preset: str) -> None:
    model = trained(backbone, preset, "llm")
    for parity in (0, 1):
        chosen = [f"{item:03d}" for item in (4 + parity, 10 + parity, 20 + parity)]
        found = model.recommend_for_history(chosen, k=10)
        assert found.user_ids == ["new user"]
        assert np.mean([int(item) % 2 == parity for item in found.item_ids[0]]) >= 0.8
        assert found.titles[0] == [f"Title {item}" for item in found.item_ids[0]]
        assert not set(chosen) & set(found.item_ids[0])


@pytest.mark.parametrize("backbone", ["simgcl", "lightgcn"])
def test_a_known_user_joins_the_graph_at_the_own_place(backbone: str) -> None:
    """SimGCL scores a user by what the neighbours bring alone: given again, the user is the same node."""
    model = untrained(backbone, "standard", "none")
    matrix = data()[0].test.history_matrix()
    encoded = model.encode_histories(Histories(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)))
    scores = encoded.scores(model.backbone, torch.from_numpy(USERS), torch.from_numpy(ITEMS)).detach().numpy()
    if backbone == "simgcl":
        np.testing.assert_allclose(scores, model.score(USERS, ITEMS), atol=1e-5)
    else:
        # The ID part of these untrained users is noise, which no history tells.
        assert not np.allclose(scores, model.score(USERS, ITEMS), atol=1e-3)


def test_the_map_is_a_ridge_regression_over_users() -> None:
    rng = np.random.default_rng(0)
    n_users, n_items, width = 200, 30, 4
    item = rng.standard_normal((n_items, width))
    chosen = rng.random((n_users, n_items)) < 0.3
    chosen[:5] = False  # without history: to be left out
    planted = rng.standard_normal((width, width))
    rows = chosen @ item / np.maximum(chosen.sum(1, keepdims=True), 1) @ planted
    rows[:5] = 1e3
    sparse = torch.from_numpy(chosen.astype(np.float64)).to_sparse_csr()
    found = fit_history_map(sparse, torch.from_numpy(item), torch.from_numpy(rows))

    count = chosen[5:].sum(1, keepdims=True)
    prior = ((chosen[5:] @ item) / count).mean(0)
    shrunk = (chosen[5:] @ item + PRIOR_ITEMS * prior) / (count + PRIOR_ITEMS)
    centred, target = shrunk - shrunk.mean(0), rows[5:] - rows[5:].mean(0)
    penalty = PRIOR_USERS / 195 * np.trace(centred.T @ centred) / width
    extended = np.concatenate([centred, np.sqrt(penalty) * np.eye(width)])
    weight = np.linalg.lstsq(extended, np.concatenate([target, np.zeros((width, width))]), rcond=None)[0]
    np.testing.assert_allclose(found.weight.numpy(), weight, atol=1e-8)
    expected = rows[5:].mean(0) + (shrunk - shrunk.mean(0)) @ weight
    np.testing.assert_allclose(found.rows(sparse, torch.from_numpy(item)).numpy()[5:], expected, atol=1e-8)
    with pytest.raises(ValueError, match="No user of this model has a history"):
        fit_history_map(torch.zeros(3, n_items).to_sparse_csr(), torch.ones(n_items, width), torch.ones(3, width))


def test_one_by_one_is_as_together_and_order_means_nothing() -> None:
    model = trained("bias_mf", "floor_residual", "llm")
    people = [["000", "002", "004"], ["041"], ["001", "046"]]
    together = model.recommend_for_histories(people, k=7)
    assert together.user_ids == ["new user 1", "new user 2", "new user 3"]
    for row, history in enumerate(people):
        alone = model.recommend_for_history([*reversed(history), history[0]], k=7)
        assert alone.item_ids[0] == together.item_ids[row]
        np.testing.assert_allclose(alone.scores[0], together.scores[row], atol=1e-5)
    assert model.recommend_for_histories([]).to_frame().empty


def test_filters_and_seen_items() -> None:
    model = trained("bias_mf", "standard", "none")

    def asked(**options: Any) -> set[str]:
        return set(model.recommend_for_history(["000", "002"], k=N_ITEMS, **options).item_ids[0])

    everything = {str(item) for item in data()[0].test.item_ids}
    assert asked() == everything - {"000", "002"}
    assert asked(exclude_seen=False) == everything
    assert asked(candidates=["000", "004", "006"], deny=["006"]) == {"004"}
    assert {int(item) % 2 for item in asked(categories=["beta"])} == {1}


def test_an_item_added_later_counts_in_a_history() -> None:
    model = copy.deepcopy(trained("bias_mf", "standard", "none"))
    new = pd.DataFrame({"item_id": ["even", "odd"], "title": ["Even", "Odd"]})
    with pytest.raises(KeyError, match=r"unknown item 'even'.*add the item first"):
        model.recommend_for_history(["even"])
    model.add_items(new, vectors=data()[1][[46, 47]])
    cold = ["046", "047", "048", "049"]
    assert {int(i) % 2 for i in model.recommend_for_history(["even"], k=2, candidates=cold).item_ids[0]} == {0}
    assert {int(i) % 2 for i in model.recommend_for_history(["odd"], k=2, candidates=cold).item_ids[0]} == {1}


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        ({"item_ids": ["000", "x", "y"]}, KeyError, "unknown item 'x', 'y'"),
        ({"item_ids": []}, ValueError, r"history of 'new user' is empty.*recommend_for_profile"),
        ({"item_ids": "000"}, ValueError, "not the single string '000'"),
        ({"item_ids": ["000"], "k": 0}, ValueError, "k must be at least 1"),
        ({"item_ids": ["000"], "profile": "likes"}, ValueError, "no use for a profile.*Leave the profile out"),
        ({"item_ids": ["000"], "candidates": ["x"]}, KeyError, "unknown item 'x'"),
    ],
)
def test_what_cannot_be_folded_in_is_said(arguments: dict[str, Any], error: type[Exception], expected: str) -> None:
    model = untrained("bias_mf", "standard", "none")
    with pytest.raises(error, match=expected):
        model.recommend_for_history(**arguments)


def test_what_does_not_fit_a_batch_is_said() -> None:
    model = untrained("bias_mf", "standard", "llm")
    people = [["000"], ["001"]]
    for options, expected in (
        ({"user_ids": ["a"]}, "1 user_ids for 2 histories"),
        ({"profiles": ["a"]}, "1 profiles for 2 histories"),
        ({"vectors": np.ones((3, 16))}, "3 vectors for 2 histories"),
        ({"vectors": np.ones((2, 3))}, r"\[2, 16\], got \(2, 3\)"),
        ({"vectors": np.full((2, 16), np.nan)}, "finite"),
        ({"profiles": "ab"}, "not the single string 'ab'"),
    ):
        with pytest.raises(ValueError, match=expected):
            model.recommend_for_histories(people, **options)
    with pytest.raises(ValueError, match="not the single string '000'"):
        model.recommend_for_histories("000")
    with pytest.raises(ValueError, match="history of 'b' is empty"):
        model.recommend_for_histories([["000"], []], user_ids=["a", "b"])


class _Encoder:
    """Texts to vectors, as the table of profiles has them."""

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([profiles()[["even", "odd"].index(text)] for text in texts])


def test_a_profile_beside_a_history_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained("bias_mf", "standard", "llm")
    monkeypatch.setattr(model, "text_encoder", _Encoder)
    history = ["000", "001"]  # says nothing of the parity
    for parity, text in enumerate(("even", "odd")):
        found = model.recommend_for_history(history, k=6, profile=text)
        assert np.mean([int(item) % 2 == parity for item in found.item_ids[0]]) >= 0.8
        assert found == model.recommend_for_history(history, k=6, vector=profiles()[parity])
    pair = model.recommend_for_histories([history, history], k=6, profiles=["odd", " "])
    assert pair.item_ids[0] == found.item_ids[0]
    assert pair.item_ids[1] == model.recommend_for_history(history, k=6).item_ids[0]


@pytest.mark.parametrize("mode", ["constant", "raw_text", "shuffled"])
def test_new_users_have_in_place_of_a_profile_what_known_ones_have(mode: str) -> None:
    model = trained("bias_mf", "floor_residual", mode)
    encoded = model.encode_histories(Histories(np.array([0, 2]), np.array([0, 2])))
    profile = encoded.user[:, -16:]
    if mode == "raw_text":
        text = torch.nn.functional.normalize(model.item_text[[0, 2]].sum(0), dim=0)
        assert torch.allclose(profile[0], text, atol=1e-6)
    else:
        assert torch.equal(profile, model.user_profile[:1] if mode == "constant" else torch.zeros(1, 16))


def test_training_mode_changes_nothing_and_weights_do() -> None:
    model = copy.deepcopy(trained("lightgcn", "floor_residual", "llm"))
    before = model.recommend_for_history(["000", "002"], k=5)
    model.train()
    new_user_tables(model)
    assert model.recommend_for_history(["000", "002"], k=5) == before
    assert model.training, "and the mode is left as it was"
    with torch.no_grad():
        model.user_embedding.weight.mul_(3)
    after = model.recommend_for_history(["000", "002"], k=5)
    assert after.scores != before.scores, "nothing is remembered of other weights"


def test_a_folded_user_survives_saving(tmp_path: Any) -> None:
    model = trained("ncf", "floor_residual", "llm")
    model.save_pretrained(tmp_path)
    loaded = RecLMRecommender.from_pretrained(tmp_path)
    assert loaded.recommend_for_history(["001", "003"], k=9) == model.recommend_for_history(["001", "003"], k=9)
