"""Episodes: what they may see, and the loss they give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclm_hf.data.splits import Split, blocks
from reclm_hf.recommender.episodes import EpisodeEpochs, Ranking
from reclm_hf.recommender.graph import Adjacency
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.recommender.models import data, untrained

N_BLOCKS, FIRST = 6, 3
KINDS = [("bias_mf", "none"), ("bias_mf", "llm"), ("lightgcn", "llm")]


def episodes(backbone: str, mode: str, split: Split | None = None) -> tuple[RecLMRecommender, EpisodeEpochs]:
    model = untrained(backbone, "floor_residual", mode).eval()
    return model, EpisodeEpochs(model, data()[0].test if split is None else split, N_BLOCKS, FIRST)


def later_items_dealt_anew(split: Split, start: int) -> Split:
    """The same history before `start`; afterwards the items are dealt out anew among the rows."""
    assert split.history_time is not None
    late = np.flatnonzero(split.history_time >= start)
    item = split.history_item.copy()
    item[late] = item[np.random.default_rng(3).permutation(late)]
    return replace(split, history_item=item)


@pytest.mark.parametrize("backbone", ["bias_mf", "lightgcn"])
def test_an_episode_sees_nothing_of_its_own_block_or_later(backbone: str) -> None:
    split = data()[0].test
    cuts = [part.cut for part in blocks(split, N_BLOCKS)[FIRST - 1 :]]
    _, true = episodes(backbone, "none")
    assert len(true.episodes) == len(cuts)
    for number, cut in enumerate(cuts):
        assert cut is not None
        _, other = episodes(backbone, "none", later_items_dealt_anew(split, cut))
        for name, value in true.episodes[number].state._asdict().items():
            changed = getattr(other.episodes[number].state, name)
            if value is not None:
                dense = [part.matrix.to_dense() if isinstance(part, Adjacency) else part for part in (value, changed)]
                assert torch.equal(*dense), f"{name} of episode {number} knows later rows"
        # Warm candidates and their seen items come from before the block; who is asked for them does not.
        warm, changed = (found.episodes[number].rankings[0] for found in (true, other))
        assert torch.equal(warm.candidates, changed.candidates)
        assert not torch.equal(warm.target, changed.target), "the test must change what is to be predicted"


def test_the_history_grows_from_episode_to_episode_and_never_holds_a_target() -> None:
    _, found = episodes("lightgcn", "none")
    split = data()[0].test
    known = []
    for episode, part in zip(found.episodes, blocks(split, N_BLOCKS)[FIRST - 1 :], strict=True):
        adjacency = episode.state.adjacency
        assert adjacency is not None
        dense = adjacency.matrix.to_dense()[: split.n_users, split.n_users :]
        assert int((dense > 0).sum()) == len(part.history_user)
        assert not dense[part.target_user, part.target_item].any()
        known.append(len(part.history_user))
    assert known == sorted(set(known))


def direct(ranking: Ranking, user: torch.Tensor, item: torch.Tensor, bias: torch.Tensor) -> float:
    """The loss, user by user: mean over the targets of -log softmax among unseen candidates."""
    seen = set(zip(*ranking.seen.tolist(), strict=True))
    targets = list(zip(*ranking.target.tolist(), strict=True))
    losses = []
    for row, person in enumerate(ranking.users.tolist()):
        scores = {
            place: float(user[person] @ item[row_of_item] + bias[row_of_item])
            for place, row_of_item in enumerate(ranking.candidates.tolist())
            if (row, place) not in seen
        }
        total = np.log(np.sum(np.exp(list(scores.values()))))
        own = [place for other, place in targets if other == row]
        losses.append(np.mean([total - scores[place] for place in own]))
    return float(np.mean(losses))


@pytest.mark.parametrize(("backbone", "mode"), KINDS)
def test_the_loss_equals_a_direct_computation(backbone: str, mode: str) -> None:
    model, found = episodes(backbone, mode)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        # At the start the gate of the backbone and the profile's gain are zero: give every term a weight.
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        for episode in (found.episodes[0], found.episodes[-1]):
            user, item, bias, _ = model.encode(episode.state)
            parts = model.encode_parts(episode.state)
            for ranking in episode.rankings:
                assert float(ranking.loss(parts, model.backbone)) == pytest.approx(
                    direct(ranking, user, item, bias), rel=1e-4
                )


def test_warm_and_cold_candidates_are_ranked_apart_and_every_target_once() -> None:
    _, found = episodes("bias_mf", "none")
    parts = blocks(data()[0].test, N_BLOCKS)[FIRST - 1 :]
    for episode, part in zip(found.episodes, parts, strict=True):
        pairs = []
        for ranking in episode.rankings:
            warm = part.warm[ranking.candidates.numpy()]
            assert warm.all() or not warm.any()
            users, items = ranking.users[ranking.target[0]], ranking.candidates[ranking.target[1]]
            pairs += list(zip(users.tolist(), items.tolist(), strict=True))
            for place in range(len(ranking.users)):
                assert ranking.weight[ranking.target[0] == place].sum() == pytest.approx(1.0)
        expected = list(zip(part.target_user.tolist(), part.target_item.tolist(), strict=True))
        assert sorted(pairs) == sorted(expected)


def test_too_few_rows_say_what_to_do() -> None:
    split = data()[0].test
    assert split.history_time is not None
    few = replace(
        split,
        history_user=split.history_user[:3],
        history_item=split.history_item[:3],
        history_time=split.history_time[:3],
    )
    with pytest.raises(ValueError, match=r"too few interactions for 6 time blocks.*'standard'"):
        episodes("bias_mf", "none", few)
