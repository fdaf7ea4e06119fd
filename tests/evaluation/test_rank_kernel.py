"""The compiled ranks are those of `target_ranks`, which are compared with a full sort elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_array

from reclm_hf.evaluation import MeanUser, evaluate, rank_kernel
from reclm_hf.evaluation.metrics import target_ranks
from reclm_hf.evaluation.scoring import candidate_columns, stored_pairs
from tests.evaluation.planted import FixedScores, make_split, random_scores, random_split


@pytest.fixture(scope="module", autouse=True)
def always() -> Iterator[None]:
    """Small evaluations go through the kernel too."""
    numba = pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank_kernel, "WORTH_CELLS", 0)
        patch.setattr(numba.config, "DISABLE_JIT", 0)  # other tests may have switched it off by the environment
        yield


def both(
    scores: np.ndarray, seen: np.ndarray, targets: np.ndarray, items: np.ndarray, ties: np.ndarray, users: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """Compiled and plain ranks of `users` [B]. scores: [B, C] of the candidates `items`; seen, targets: bool [U, I]."""
    history, wanted = csr_array(seen.astype(np.float32)), csr_array(targets.astype(np.float32))
    column = candidate_columns(items, seen.shape[1])
    before = scores.copy()
    counter = rank_kernel.RankCounter(history, wanted, column, ties, scores.size)
    compiled = counter.ranks(users, scores)
    np.testing.assert_array_equal(scores, before)
    pairs = stored_pairs(history[users], column), stored_pairs(wanted[users], column)
    return compiled, target_ranks(scores, *pairs, ties, "m")


def check(*args: np.ndarray) -> None:
    compiled, plain = both(*args)
    assert compiled is not None
    assert compiled.dtype == plain.dtype == np.int32
    assert compiled.tolist() == plain.tolist()


def problem(seed: int, n_users: int, n_items: int, n_candidates: int) -> tuple[np.ndarray, ...]:
    """Candidates are some of the items, the asked users some of the users; some have no targets."""
    rng = np.random.default_rng(seed)
    items = np.sort(rng.permutation(n_items)[:n_candidates])
    users = rng.permutation(n_users)[: max(1, n_users * 2 // 3)]
    kind = rng.random((n_users, n_items))
    kind[rng.random(n_users) < 0.3] = 0.5
    scores = rng.standard_normal((len(users), n_candidates)).astype(np.float32)
    return scores, kind < 0.3, kind > 0.8, items, rng.permutation(n_items)[items], users


SHAPES = [(1, 1, 1), (2, 1, 1), (1, 50, 50), (30, 70, 40), (9, 300, 299), (64, 5, 3), (3, 2000, 1025)]


@pytest.mark.parametrize(("n_users", "n_items", "n_candidates"), SHAPES)
@pytest.mark.parametrize("kind", ["distinct", "few values", "all equal", "holes", "nothing", "huge", "zeros"])
def test_equals_the_plain_path(kind: str, n_users: int, n_items: int, n_candidates: int) -> None:
    for seed in range(3):
        scores, *rest = problem(seed, n_users, n_items, n_candidates)
        holes = np.random.default_rng(seed).random(scores.shape) < 0.4
        changed = {
            "distinct": scores,
            "few values": np.round(scores),
            "all equal": np.ones_like(scores),
            "holes": np.where(holes, -np.inf, np.round(scores)).astype(np.float32),
            "nothing": np.full_like(scores, -np.inf),
            "huge": scores * np.float32(8e37),
            "zeros": np.where(holes, np.float32(-0.0), np.float32(0.0)),
        }
        check(changed[kind], *rest)


values = st.sampled_from([-np.inf, -3e38, -1.0, -0.0, 0.0, 1e-45, 0.5, 1.0, 3e38])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n_rows=st.integers(1, 4), n_columns=st.integers(1, 20))
def test_equals_the_plain_path_for_any_scores(data: st.DataObject, n_rows: int, n_columns: int) -> None:
    shape = (n_rows, n_columns)
    scores = data.draw(arrays.arrays(np.float32, shape, elements=values.map(np.float32)))
    kind = data.draw(arrays.arrays(np.int8, shape, elements=st.integers(0, 2)))
    ties = np.array(data.draw(st.permutations(range(n_columns))))
    check(scores, kind == 1, kind == 2, np.arange(n_columns), ties, np.arange(n_rows))


@pytest.mark.parametrize("layout", ["read-only", "columns of another", "every other column", "by column", "one row"])
def test_the_layout_of_the_scores_does_not_matter(layout: str) -> None:
    scores, *rest = problem(0, 20, 60, 40)
    given = {
        "read-only": scores.copy(),
        "columns of another": np.concatenate([scores, scores], axis=1)[:, : scores.shape[1]],
        "every other column": np.repeat(scores, 2, axis=1)[:, ::2],
        "by column": np.asfortranarray(scores),
        "one row": np.broadcast_to(scores[0], scores.shape),
    }[layout]
    if layout == "read-only":
        given.flags.writeable = False
    check(given, *rest)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (4, 7), (12, 39)])
def test_scores_without_an_order_are_left_to_the_plain_path(bad: float, place: tuple[int, int]) -> None:
    scores, seen, targets, items, ties, users = problem(1, 20, 60, 40)
    scores[place] = bad
    column = candidate_columns(items, 60)
    matrices = csr_array(seen.astype(np.float32)), csr_array(targets.astype(np.float32))
    assert rank_kernel.RankCounter(*matrices, column, ties, scores.size).ranks(users, scores) is None


def test_a_seen_target_is_left_to_the_plain_path() -> None:
    seen = csr_array(np.eye(2, dtype=np.float32))
    for score in (1.0, -np.inf):
        counter = rank_kernel.RankCounter(seen, seen, np.arange(2), np.arange(2), 4)
        assert counter.ranks(np.arange(2), np.full((2, 2), score, dtype=np.float32)) is None


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, r"\+inf")])
def test_errors_of_an_evaluation_are_the_same(bad: float, word: str) -> None:
    split = random_split()
    scores = random_scores(split)
    scores[split.target_user.max(), split.target_item[0]] = bad
    with pytest.raises(ValueError, match=f"fixed: the scores contain {word}"):
        evaluate(FixedScores(scores), split, settings=("catalogue",))
    known = make_split(history=[(0, 0), (1, 1)], targets=[(0, 0), (1, 0)], n_users=2, n_items=2)
    with pytest.raises(ValueError, match="also in its user's history"):
        evaluate(FixedScores(np.zeros((2, 2))), known, settings=("test_items",))


@pytest.mark.parametrize("block_size", [1, 7, 512])
def test_an_evaluation_is_the_same(block_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    split = random_split()
    model = FixedScores(np.round(random_scores(split)))
    means = type("Means", (), {"mean_user_scores": lambda self, items: model.scores[0, items]})()
    for scorer in (model, MeanUser(means, split)):
        ours = evaluate(scorer, split, settings=("catalogue", "zero_shot", "test_items"), block_size=block_size)
        with monkeypatch.context() as patch:
            patch.setattr(rank_kernel.Kernel, "compiled", lambda kernel: None)
            plain = evaluate(scorer, split, settings=("catalogue", "zero_shot", "test_items"))
        assert ours.settings.keys() == plain.settings.keys()
        for name, part in plain.settings.items():
            np.testing.assert_array_equal(ours[name].rank, part.rank)
            np.testing.assert_array_equal(ours[name].group, part.group)
            for metric, expected in part.metrics.items():
                np.testing.assert_array_equal(ours[name].metrics[metric], expected)


def test_small_work_does_not_start_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_kernel, "WORTH_CELLS", 10)
    monkeypatch.setattr(rank_kernel, "_RANK_ROWS", rank_kernel.Kernel(rank_kernel._RANK_ROWS.function))
    scores, seen, targets, items, ties, users = problem(0, 1, 3, 3)
    counter = rank_kernel.RankCounter(csr_array(seen * 1.0), csr_array(targets * 1.0), items, ties, 9)
    assert counter.ranks(users, scores) is None
    assert not rank_kernel._RANK_ROWS.started()


class Prepared(FixedScores):
    """Scores blocks into one buffer."""

    prepared = 0

    def block_scorer(self, items: np.ndarray):  # type: ignore[no-untyped-def]
        self.prepared += 1
        buffer = np.empty((self.scores.shape[0], len(items)), dtype=np.float32)

        def score(users: np.ndarray) -> np.ndarray:
            buffer[: len(users)] = self.scores[np.ix_(users, items)]
            return buffer[: len(users)]

        return score


def test_a_model_may_prepare_for_its_candidates() -> None:
    split = random_split()
    scores = random_scores(split)
    prepared, plain = Prepared(scores), FixedScores(scores)
    ours, theirs = (evaluate(model, split, settings=("catalogue",), block_size=7) for model in (prepared, plain))
    np.testing.assert_array_equal(ours["catalogue"].rank, theirs["catalogue"].rank)
    assert prepared.prepared == 1
    assert not prepared.asked
