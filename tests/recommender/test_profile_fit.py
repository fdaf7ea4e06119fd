"""Which profile a positive is trained with: never one that was written from it, where that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclm_hf.data.folds import fold_of_rows, time_folds
from reclm_hf.data.splits import Split
from reclm_hf.data.tables import TableError
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.profile_fit import CrossFit, LeaveOut, make_profile_fit
from reclm_hf.recommender.trainer import TripleEpochs, fit
from tests.checkerboard import N_USERS
from tests.recommender.models import OPTIONS, config, data, profiles

FOLDS = [np.roll(profiles(), shift, axis=0) for shift in (1, 3)]


def split() -> Split:
    return data()[0].test


def model(mode: str, profile_fit: str, preset: str = "standard") -> RecLMRecommender:
    values = config("bias_mf", preset, mode).to_diff_dict() | {"profile_fit": profile_fit}
    splits, vectors = data()
    given = None if mode in ("none", "raw_text") else profiles()
    return build_recommender(RecLMRecommenderConfig(**values), splits.data, splits.test, vectors, given)


def test_the_folds_divide_the_history_by_time() -> None:
    whole, (early, late) = split(), time_folds(split())
    assert early.history_time is not None
    assert late.history_time is not None
    assert early.history_time.max() < late.history_time.min()
    rows = [np.stack([part.history_user, part.history_item], axis=1) for part in (early, late)]
    expected = np.stack([whole.history_user, whole.history_item], axis=1)
    assert np.array_equal(np.concatenate(rows), expected)
    assert 0.4 < len(rows[0]) / len(expected) < 0.6
    assert early.cut == whole.cut
    assert not len(early.target_user)


def test_folds_need_times() -> None:
    with pytest.raises(TableError, match="profile_fit='full'"):
        fold_of_rows(replace(split(), history_time=None))


def test_leave_one_out_takes_the_positives_of_the_batch_out_of_the_mean() -> None:
    built = model("raw_text", "leave_one_out")
    found = make_profile_fit(built, split())
    assert isinstance(found, LeaveOut)
    own = split().history_item[split().history_user == 3]
    table = found.users(0, torch.tensor([3, 5, 3]), torch.tensor([own[0], 9, own[2]]))
    assert table is not None
    rest = built.item_text.numpy()[np.setdiff1d(own, own[[0, 2]])].sum(0)
    np.testing.assert_allclose(table[3], rest / np.linalg.norm(rest), atol=1e-5)
    others = np.setdiff1d(np.arange(N_USERS), [3, 5])
    np.testing.assert_allclose(table[others], built.user_profile[others], atol=1e-5)
    everything = found.users(0, torch.full((len(own),), 3), torch.from_numpy(own.astype(np.int64)))
    assert everything is not None
    assert not everything[3].any(), "nothing is left, and rounding is no direction"


def test_cross_fit_trains_every_row_with_the_profile_of_the_other_half() -> None:
    built = model("llm", "cross_fit")
    found = make_profile_fit(built, split(), FOLDS)
    assert isinstance(found, CrossFit)
    epochs = TripleEpochs(split(), 64, found)
    seen = np.zeros((2, N_USERS), dtype=np.int64)
    fold = fold_of_rows(split())
    for group, batch in epochs._batches(np.random.default_rng(0), torch.device("cpu")):
        for user, item in batch[:2].T.tolist():
            row = np.flatnonzero((split().history_user == user) & (split().history_item == item))
            assert fold[row] == group, "a batch is of one half"
            seen[group, user] += 1
        table = found.users(group, batch[0], batch[1])
        assert table is found.tables[1 - group]
    assert seen.sum() == len(fold), "every row once"
    # What a block is predicted with was written from the other half too.
    assert found.at(0) is found.tables[1]
    assert found.at(int(split().cut or 0)) is found.tables[0]


@pytest.mark.parametrize("preset", ["standard", "floor_residual"])
@pytest.mark.parametrize(
    ("mode", "profile_fit"), [("raw_text", "leave_one_out"), ("raw_text", "cross_fit"), ("llm", "cross_fit")]
)
def test_a_model_is_trained_with_it_and_served_with_its_own_profiles(preset: str, mode: str, profile_fit: str) -> None:
    built = model(mode, profile_fit, preset)
    before = {name: value.clone() for name, value in built.named_buffers()}
    result = fit(built, split(), 2, OPTIONS, fold_profiles=FOLDS)
    assert len(result.history) == 2
    assert all(torch.equal(value, before[name]) for name, value in built.named_buffers())
    plain = model(mode, "full", preset)
    fit(plain, split(), 2, OPTIONS)
    # The same start and the same triples: only the profiles of the positives differ. In episodes, the mean of a
    # history is always that of the block's start, so that leaving out changes nothing there.
    same = torch.equal(plain.user_embedding.weight, built.user_embedding.weight)
    assert same == (preset == "floor_residual" and profile_fit == "leave_one_out")


def test_what_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="raw_text"):
        RecLMRecommenderConfig(profile_mode="llm", profile_fit="leave_one_out")
    with pytest.raises(ValueError, match="use 'full'"):
        RecLMRecommenderConfig(profile_mode="shuffled", profile_fit="cross_fit")
    with pytest.raises(ValueError, match="profiles of users"):
        RecLMRecommenderConfig(profile_mode="llm", profile_fit="cross_fit", profile_sides="item")
    with pytest.raises(ValueError, match="--cross-fit"):
        make_profile_fit(model("llm", "cross_fit"), split())
    with pytest.raises(ValueError, match="even number"):
        fit(model("llm", "cross_fit", "floor_residual"), split(), 1, replace(OPTIONS, n_blocks=5), fold_profiles=FOLDS)
    times = split().history_time
    assert times is not None
    with pytest.raises(TableError, match="first instant"):
        fold_of_rows(replace(split(), history_time=np.minimum(times, times.min())))
