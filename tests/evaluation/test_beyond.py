"""What is said of the lists, by hand, against a naive re-implementation, and against the evaluation's own recall."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclm_hf.data.splits import Split
from reclm_hf.evaluation import BeyondAccuracy, beyond_accuracy, beyond_table, evaluate, scoring
from reclm_hf.evaluation.beyond import BEYOND_COLUMNS, gini
from reclm_hf.recommender.catalog import Catalog, CatalogRecommender, tie_order
from tests.evaluation.planted import FixedScores, make_split, random_scores, random_split

NAMES = {"dataset": "tiny", "fingerprint": "0123abcd"}


@pytest.fixture(scope="module")
def split() -> Split:
    return random_split()


def small_split(seed: int) -> Split:
    """Twelve users, each with history, and eighteen items, the last four of them cold."""
    rng = np.random.default_rng(seed)
    known = rng.random((12, 18)) < 0.2
    known[:, 14:] = False
    known[np.arange(12), rng.integers(0, 14, 12)] = True
    wanted = (rng.random((12, 18)) < 0.15) & ~known
    wanted[0, 14:] = True
    return make_split(np.argwhere(known).tolist(), np.argwhere(wanted).tolist(), n_users=12, n_items=18)


def naive_lists(scores: np.ndarray, split: Split, setting: str, k: int, seed: int) -> dict[int, list[int]]:
    """User -> list, by sorting one user after the other."""
    ties = tie_order(split.n_items, seed)
    known = set(zip(split.history_user.tolist(), split.history_item.tolist(), strict=True))
    candidates = split.candidates(setting).tolist()
    users = sorted(
        {user for user, item in zip(split.target_user, split.target_item, strict=True) if item in candidates}
    )
    lists = {}
    for user in users:
        free = [item for item in candidates if (user, item) not in known and scores[user, item] > -np.inf]
        lists[int(user)] = sorted(free, key=lambda item: (-scores[user, item], ties[item]))[:k]
    return lists


def naive_metrics(lists: dict[int, list[int]], split: Split, n_candidates: int) -> dict[str, float]:
    """The definitions, written as loops."""
    popularity = dict.fromkeys(range(split.n_items), 0)
    histories: dict[int, list[int]] = {}
    for user, item in zip(split.history_user.tolist(), split.history_item.tolist(), strict=True):
        popularity[item] += 1
        histories.setdefault(user, []).append(item)
    places = [item for listed in lists.values() for item in listed]
    filled = {user: listed for user, listed in lists.items() if listed}
    counts = sorted([places.count(item) for item in set(places)] + [0] * (n_candidates - len(set(places))))
    # Half the mean absolute difference of two things, over their mean, stretched to reach 1.
    apart = sum(abs(a - b) for a in counts for b in counts)

    def mean(values: list[float]) -> float:
        return sum(values) / len(values) if values else math.nan

    def over_lists(quantity: dict[int, float]) -> float:
        return mean([mean([quantity[item] for item in listed]) for listed in filled.values()])

    share = {item: (count + 1) / (len(histories) + 1) for item, count in popularity.items()}
    chosen = mean([mean([popularity[item] for item in histories[user]]) for user in filled])
    recommended = over_lists({item: float(count) for item, count in popularity.items()})
    return {
        "coverage": len(set(places)) / n_candidates,
        "gini": apart / (2 * (n_candidates - 1) * sum(counts)) if places and n_candidates > 1 else math.nan,
        "novelty": over_lists({item: -math.log2(value) for item, value in share.items()}),
        "popularity": recommended,
        "popularity_lift": recommended / chosen - 1,
        "cold_share": over_lists({item: float(count == 0) for item, count in popularity.items()}),
    }


def values(found: BeyondAccuracy) -> dict[str, float]:
    """Metric -> value from the table."""
    table = beyond_table({"row": [found]}, **NAMES, draws=5)
    return {name.partition("@")[0]: value for name, value in zip(table["metric"], table["value"], strict=True)}


def test_a_small_case_by_hand() -> None:
    # Items 0, 1 and 2 are known to 3, 2 and 1 of three users, item 3 is cold.
    history = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 2)]
    split = make_split(history, [(0, 2), (1, 3), (2, 1)], n_users=3, n_items=4)
    scores = np.array([[9, 9, 2, 1], [9, 9, 2, -np.inf], [9, 2, 9, 3]])
    found = beyond_accuracy(FixedScores(scores), split, k=2)
    # The lists are (2, 3), (2) and (3, 1).
    assert found.counts.tolist() == [0, 1, 2, 2]
    assert found.users.tolist() == [0, 1, 2]
    assert found.popularity.tolist() == [0.5, 1, 1]
    assert found.history_popularity.tolist() == [2.5, 2.5, 2]
    assert found.cold_share.tolist() == [0.5, 0, 0.5]
    bits = {1: math.log2(4 / 3), 2: 1.0, 3: 2.0}
    np.testing.assert_allclose(found.novelty, [(bits[2] + bits[3]) / 2, bits[2], (bits[3] + bits[1]) / 2])
    assert found.coverage == 3 / 4
    # Shares 0, 1/5, 2/5, 2/5 with the weights -3, -1, 1, 3.
    assert found.gini == pytest.approx((-1 / 5 + 2 / 5 + 6 / 5) / 3)
    assert values(found)["popularity_lift"] == pytest.approx(2.5 / 7 - 1)


@pytest.mark.parametrize(
    ("counts", "value"),
    [
        ([5, 5, 5], 0),
        ([0, 0, 7], 1),
        ([0, 1], 1),
        ([1, 3], 0.5),
        ([1, 2, 3], 2 * 2 / (6 * 2)),
        ([0, 0], None),
        ([3], None),
    ],
)
def test_gini_by_hand(counts: list[int], value: float | None) -> None:
    assert gini(np.array(counts)) == pytest.approx(math.nan if value is None else value, nan_ok=True)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 30),
    kind=st.sampled_from(["random", "ties", "minus infinity", "almost nothing"]),
    setting=st.sampled_from(["catalogue", "zero_shot", "test_items"]),
    block_size=st.integers(1, 20),
)
def test_everything_equals_the_naive_definitions(seed: int, k: int, kind: str, setting: str, block_size: int) -> None:
    split = small_split(seed)
    scores = random_scores(split, seed)
    if kind == "ties":
        scores = np.round(scores)
    if kind == "minus infinity":
        scores[np.random.default_rng(seed).random(scores.shape) < 0.5] = -np.inf
    if kind == "almost nothing":
        scores[1:] = -np.inf
    found = beyond_accuracy(FixedScores(scores), split, k=k, setting=setting, block_size=block_size, seed=seed % 3)
    lists = naive_lists(scores, split, setting, k, seed % 3)
    candidates = split.candidates(setting).tolist()
    assert found.users.tolist() == list(lists)
    places = [item for listed in lists.values() for item in listed]
    assert found.counts.tolist() == [places.count(item) for item in candidates]
    assert np.isnan(found.novelty).tolist() == [not listed for listed in lists.values()]
    expected = naive_metrics(lists, split, len(candidates))
    got = values(found)
    if not places:
        assert got.pop("popularity_lift") != got["coverage"]  # NaN: nothing was recommended
        del expected["popularity_lift"]
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, nan_ok=True), name


@pytest.mark.parametrize("setting", ["catalogue", "zero_shot"])
def test_recall_of_the_lists_is_that_of_the_evaluation(split: Split, setting: str) -> None:
    scores = np.round(random_scores(split), 1)
    hits = evaluate(FixedScores(scores), split, ks=(7,), seed=3)[setting]
    lists = naive_lists(scores, split, setting, 7, 3)
    targets = split.targets_matrix(setting).toarray() > 0
    recall = [targets[user, listed].sum() / targets[user].sum() for user, listed in lists.items()]
    np.testing.assert_allclose(hits.metrics["recall@7"], recall)
    counts = np.bincount(np.concatenate(list(lists.values())), minlength=split.n_items)
    found = beyond_accuracy(FixedScores(scores), split, k=7, setting=setting, seed=3)
    assert found.counts.tolist() == counts[split.candidates(setting)].tolist()


def test_the_lists_are_those_that_are_recommended(split: Split) -> None:
    class Served(FixedScores, CatalogRecommender):
        catalog = Catalog.from_split(None, split)

    model = Served(np.round(random_scores(split)))
    found = beyond_accuracy(model, split, k=5)
    candidates = [split.item_ids[item] for item in split.candidates("catalogue")]
    lists = model.recommend([split.user_ids[user] for user in found.users], 5, candidates=candidates).item_ids
    assert found.counts.tolist() == [sum(item in listed for listed in lists) for item in candidates]


def test_equal_scores_give_one_list_whatever_the_blocks(split: Split) -> None:
    model = FixedScores(np.zeros((split.n_users, split.n_items)))
    first, second = (beyond_accuracy(model, split, k=3, setting="zero_shot", block_size=size) for size in (500, 7))
    assert first.counts.tolist() == second.counts.tolist()
    assert first.coverage == 3 / 15
    assert set(first.cold_share.tolist()) == {1.0}
    other = beyond_accuracy(model, split, k=3, setting="zero_shot", seed=1)
    assert other.counts.tolist() != first.counts.tolist()


def test_scores_stay_as_they_are_and_may_be_read_only(split: Split) -> None:
    class Flat:
        name = "flat"
        row = np.arange(90, dtype=np.float32)

        def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
            return np.broadcast_to(self.row[items], (len(users), len(items)))

    beyond_accuracy(Flat(), split)
    model = FixedScores(random_scores(split))
    before = model.scores.copy()
    beyond_accuracy(model, split)
    np.testing.assert_array_equal(model.scores, before)


def test_a_large_catalogue_gets_smaller_blocks(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_BLOCK_CELLS", 3 * len(split.candidates("catalogue")))
    model = FixedScores(random_scores(split))
    beyond_accuracy(model, split)
    assert max(map(len, model.asked)) == 3
    assert np.concatenate(model.asked).tolist() == np.unique(split.target_user).tolist()


def test_the_table_averages_seeds_within_users_and_has_intervals_over_users(split: Split) -> None:
    seeds = [beyond_accuracy(FixedScores(random_scores(split, seed)), split) for seed in range(3)]
    popular = np.bincount(split.history_item, minlength=split.n_items)
    flat = [beyond_accuracy(FixedScores(np.tile(popular, (split.n_users, 1))), split)]
    table = beyond_table({"noise": seeds, "popular": flat}, **NAMES, draws=2000)
    assert tuple(table.columns) == BEYOND_COLUMNS
    assert table["row"].tolist() == ["noise"] * 6 + ["popular"] * 6
    lines = table.set_index(["row", "metric"])
    novelty = np.mean([part.novelty for part in seeds], axis=0)
    line = lines.loc["noise", "novelty@20"]
    assert line["value"] == pytest.approx(novelty.mean())
    assert line["n_seeds"] == 3
    assert line["n_users"] == len(novelty)
    drawn = np.random.default_rng(9).choice(novelty, (2000, len(novelty))).mean(axis=1)
    assert (line["low"], line["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.02)
    assert line["high"] - line["low"] > 0.1
    assert lines.loc["noise", "coverage@20"]["value"] == pytest.approx(np.mean([part.coverage for part in seeds]))
    for metric in ("coverage@20", "gini@20"):
        assert lines.loc["noise", metric][["low", "high"]].isna().all()
    lift = lines.loc["popular", "popularity_lift@20"]
    assert lift["value"] == pytest.approx(flat[0].popularity.sum() / flat[0].history_popularity.sum() - 1)
    assert 0 < lift["low"] < lift["value"] < lift["high"]
    assert lines.loc["noise", "popularity_lift@20"]["high"] < 0.1
    again = beyond_table({"noise": seeds, "popular": flat}, **NAMES, draws=2000)
    assert again.equals(table)
    alone = beyond_table({"popular": flat}, **NAMES, draws=2000).set_index("metric")
    assert alone["low"].tolist() == pytest.approx(lines.loc["popular"]["low"].tolist(), nan_ok=True)


def test_users_without_a_list_do_not_count(split: Split) -> None:
    scores = random_scores(split)
    whole = beyond_accuracy(FixedScores(scores), split)
    half = len(whole.users) // 2
    scores[whole.users[:half]] = -np.inf
    found = beyond_accuracy(FixedScores(scores), split)
    table = beyond_table({"row": [found]}, **NAMES, draws=300).set_index("metric")
    assert table["n_users"].unique().tolist() == [len(whole.users) - half]
    assert table.loc["novelty@20", "value"] == pytest.approx(whole.novelty[half:].mean())
    lift = whole.popularity[half:].sum() / whole.history_popularity[half:].sum() - 1
    assert table.loc["popularity_lift@20", "value"] == pytest.approx(lift)
    # A seed with a list stands alone where the other seed has none.
    both = beyond_table({"row": [found, whole]}, **NAMES, draws=300).set_index("metric")
    assert both.loc["novelty@20", "value"] == pytest.approx(whole.novelty.mean())
    nothing = beyond_accuracy(FixedScores(np.full_like(scores, -np.inf)), split)
    empty = beyond_table({"row": [nothing]}, **NAMES, draws=20).set_index("metric")
    assert empty.loc["coverage@20", "value"] == 0
    assert empty["value"].isna().sum() == 5
    assert empty[["low", "high"]].isna().all(axis=None)
    assert empty["n_users"].unique().tolist() == [0]


def test_a_setting_without_targets_says_why() -> None:
    split = make_split([(0, 0), (1, 1)], [(0, 1)], n_users=2, n_items=2)
    model = FixedScores(np.zeros((2, 2)))
    found = [beyond_accuracy(model, split, setting=setting) for setting in ("zero_shot", "catalogue")]
    table = beyond_table({"row": found}, **NAMES, draws=10).set_index("setting")
    assert table.loc["zero_shot", "value"].isna().all()
    assert set(table.loc["zero_shot", "reason"]) == {"no cold items: every target of the test split has history"}
    assert table.loc["catalogue", "value"].notna().all()
    # One user is no sample.
    assert table["low"].isna().all()


def test_bad_arguments_are_refused(split: Split) -> None:
    model = FixedScores(random_scores(split), "half-trained")
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        beyond_accuracy(model, split, k=0)
    with pytest.raises(ValueError, match="block_size=0"):
        beyond_accuracy(model, split, block_size=0)
    with pytest.raises(ValueError, match="Unknown setting 'everything'"):
        beyond_accuracy(model, split, setting="everything")
    for bad in (np.nan, np.inf):
        model.scores[split.target_user[0], 0] = bad
        with pytest.raises(ValueError, match="half-trained: the scores contain"):
            beyond_accuracy(model, split)


def test_rows_that_do_not_belong_together_are_refused(split: Split) -> None:
    model = FixedScores(random_scores(split))
    found = beyond_accuracy(model, split)
    with pytest.raises(ValueError, match="b: its lists in catalogue are of another split, k"):
        beyond_table({"a": [found], "b": [beyond_accuracy(model, split, k=5)]}, **NAMES, draws=5)
    other = random_split(seed=5)
    elsewhere = beyond_accuracy(FixedScores(random_scores(other)), other)
    with pytest.raises(ValueError, match="b: its lists in catalogue are of another"):
        beyond_table({"a": [found], "b": [elsewhere]}, **NAMES, draws=5)
    with pytest.raises(ValueError, match="b: no lists in catalogue, but a has some"):
        beyond_table({"a": [found], "b": []}, **NAMES, draws=5)
