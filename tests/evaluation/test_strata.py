"""Strata of users and of targets: what they hold, that they add up, and that their intervals cover."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclm_hf.data.splits import Split
from reclm_hf.evaluation import Row, evaluate, results_table, strata_table
from reclm_hf.evaluation.strata import STRATA_COLUMNS, quantile_bins
from tests.evaluation.planted import FixedScores, make_split, random_scores, random_split

NAMES = {"dataset": "tiny", "fingerprint": "0123abcd"}
PAIRS = [("good", "noise"), ("noise", "good")]


@pytest.fixture(scope="module")
def split() -> Split:
    return random_split(n_users=90, n_items=150, n_cold=30)


@pytest.fixture(scope="module")
def rows(split: Split) -> list[Row]:
    wanted = split.targets_matrix("catalogue").toarray()
    good = [evaluate(FixedScores(random_scores(split, seed) + wanted), split) for seed in (1, 2)]
    return [Row("good", "model", good), Row("noise", "floor", [evaluate(FixedScores(random_scores(split)), split)])]


@pytest.mark.parametrize(
    ("values", "parts", "labels"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], 4, ["1-2", "3-4", "5-6", "7+"]),
        ([1, 1, 1, 1, 1, 9], 3, ["1", "2+"]),
        ([1, 1, 1, 5, 5, 5], 2, ["1", "2+"]),
        ([4, 4, 4], 3, ["4"]),
        ([3, 9], 1, ["3-9"]),
        ([1, 2, 2, 2, 2, 3], 3, ["1-2", "3"]),
        ([7], 4, ["7"]),
    ],
)
def test_bins_by_hand(values: list[int], parts: int, labels: list[str]) -> None:
    code, found = quantile_bins(np.array(values), parts)
    assert found == labels
    assert sorted(set(code.tolist())) == list(range(len(labels)))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=80), st.integers(1, 6))
def test_bins_divide_and_hold_what_their_labels_say(drawn: list[int], parts: int) -> None:
    values = np.array(drawn)
    code, labels = quantile_bins(values, parts)
    assert 1 <= len(labels) <= parts
    assert sorted(set(code.tolist())) == list(range(len(labels)))
    for number, label in enumerate(labels):
        low, _, high = label.rstrip("+").partition("-")
        inside = values[code == number]
        assert int(low) <= inside.min()
        if not label.endswith("+"):
            assert inside.max() <= int(high or low)
    # A bin may be too large only by values that are equal.
    for number in range(len(labels)):
        inside = values[code == number]
        assert (inside < inside.max()).sum() < len(values) / parts + 1


def test_a_small_case_by_hand() -> None:
    # Users know 2, 1, 1 and 3 items; item 4 is cold, items 1 and 3 are known to one user each.
    split = make_split(
        history=[(0, 0), (0, 1), (1, 0), (2, 0), (3, 0), (3, 2), (3, 3)],
        targets=[(0, 3), (0, 4), (1, 1), (2, 4), (3, 1)],
        n_users=4,
        n_items=5,
    )
    nothing = np.tile([0.0, 1, 9, 2, 3], (4, 1))
    better = nothing.copy()
    better[0, 4] = better[1, 1] = 99  # user 0 gains half of its targets, user 1 all
    rows = [
        Row(name, "floor", [evaluate(FixedScores(scores), split, ks=(1,))])
        for name, scores in (("better", better), ("nothing", nothing))
    ]
    gain, base = (row.evaluations[0]["catalogue"].metrics["recall@1"].tolist() for row in rows)
    assert (gain, base) == ([0.5, 1, 0, 0], [0, 0, 0, 0])
    table = strata_table(rows, [("better", "nothing")], split, **NAMES, metric="recall@1", draws=50)
    assert tuple(table.columns) == STRATA_COLUMNS
    history = table[table["by"] == "history"].set_index("stratum")
    assert history.index.tolist() == ["1", "2", "3"]
    assert history["n_users"].tolist() == [2, 1, 1]
    assert history["difference"].tolist() == [0.5, 0.5, 0]
    assert history["contribution"].tolist() == [0.25, 0.125, 0]
    popularity = table[table["by"] == "popularity"].set_index("stratum")
    assert popularity.index.tolist() == ["cold", "1"]
    assert popularity[["n_users", "n_targets", "n_items"]].to_numpy().tolist() == [[2, 2, 1], [3, 3, 2]]
    # Cold targets weigh 1/2 (user 0, gained) and 1 (user 2), warm ones 1/2 (user 0), 1 (user 1, gained) and 1 (user 3).
    assert popularity["difference"].tolist() == pytest.approx([0.5 / 1.5, 1 / 2.5])
    assert popularity["share"].tolist() == pytest.approx([1.5 / 4, 2.5 / 4])
    # One item is no sample of items.
    assert popularity.loc["cold", ["low_items", "high_items"]].isna().all()
    assert popularity.loc["cold", "interval"] == "users"


@pytest.mark.parametrize("metric", ["recall@20", "ndcg@40", "mrr"])
@pytest.mark.parametrize("setting", ["catalogue", "zero_shot", "catalogue_warm"])
def test_strata_add_up_to_the_whole_difference(split: Split, rows: list[Row], metric: str, setting: str) -> None:
    table = strata_table(rows, PAIRS, split, **NAMES, setting=setting, metric=metric, draws=20)
    results = results_table(rows, **NAMES, metrics=(metric,), draws=5).set_index(["setting", "row"])["value"]
    whole = results[setting, "good"] - results[setting, "noise"]
    sums = table.groupby(["a", "by"])[["contribution", "share", "n_targets"]].sum()
    for a, sign in (("good", 1), ("noise", -1)):
        for by in ("history", "popularity"):
            contribution, share, n_targets = sums.loc[a, by]
            assert contribution == pytest.approx(sign * whole)
            assert share == pytest.approx(1)
            assert n_targets == len(rows[0].evaluations[0][setting].rank)


def test_strata_hold_the_right_users_and_targets(split: Split, rows: list[Row]) -> None:
    table = strata_table(rows, PAIRS[:1], split, **NAMES, draws=200)
    part, noise = rows[0].evaluations[0]["catalogue"], rows[1].evaluations[0]["catalogue"]
    seeds = np.mean([evaluation["catalogue"].metrics["recall@20"] for evaluation in rows[0].evaluations], axis=0)
    gain = seeds - noise.metrics["recall@20"]
    length = np.bincount(split.history_user, minlength=split.n_users)[part.users]
    history = table[table["by"] == "history"]
    assert len(history) == 4
    assert history["place"].tolist() == [0, 1, 2, 3]
    for line in history.to_dict("records"):
        low, _, high = line["stratum"].rstrip("+").partition("-")
        inside = (length >= int(low)) & (length <= (int(high) if high else 10**9))
        assert line["n_users"] == inside.sum()
        assert line["difference"] == pytest.approx(gain[inside].mean())
        assert line["low_users"] <= line["difference"] <= line["high_users"]
        half = 1.96 * gain[inside].std() / inside.sum() ** 0.5
        assert line["high_users"] - line["low_users"] == pytest.approx(2 * half, rel=0.3)
    popularity = table[table["by"] == "popularity"]
    assert popularity["stratum"].tolist()[0] == "cold"
    cold = popularity.iloc[0]
    assert cold["n_targets"] == (~split.warm[part.target_item]).sum()
    assert cold["n_items"] == split.cold.sum()
    assert popularity["n_targets"].iloc[1:].max() < 2 * popularity["n_targets"].iloc[1:].min()


def test_a_gain_on_cold_targets_is_seen_there_only(split: Split, rows: list[Row]) -> None:
    wanted = split.targets_matrix("catalogue").toarray() * split.cold
    noise = random_scores(split)
    below = np.where(split.cold & (wanted == 0), -9, noise)  # nobody is pushed out of the first twenty
    cold = Row("cold", "model", [evaluate(FixedScores(np.where(wanted > 0, noise + 9, below)), split)])
    base = Row("base", "floor", [evaluate(FixedScores(below * 1.0), split)])
    table = strata_table([cold, base], [("cold", "base")], split, **NAMES, draws=200)
    lines = table[table["by"] == "popularity"].set_index("stratum")
    assert lines.loc["cold", "low"] > 0.3
    assert lines.drop("cold")["difference"].abs().max() < lines.loc["cold", "difference"] / 5


def test_an_interval_over_users_covers_the_truth() -> None:
    """Means of ratios over users whose weights differ: 95 % intervals from 60 users hold the true ratio most times."""
    from reclm_hf.evaluation.statistics import bootstrap

    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        weights = rng.choice([0.2, 0.5, 1.0], 60)
        sums = weights * (rng.random(60) < 0.3)
        sample = bootstrap(sums[:, None], np.ones((2, 1)), np.ones(2), user_weights=weights, draws=300, seed=seed)
        assert sample.point[0] == pytest.approx(sums.sum() / weights.sum())
        found = sample.intervals()
        covered += bool(found.low_users[0] <= 0.3 <= found.high_users[0])
    assert 175 <= covered <= 199


def test_pairs_are_counted_once_and_nothing_asked_is_an_empty_table(split: Split, rows: list[Row]) -> None:
    once, twice = (strata_table(rows, PAIRS[:1] * times, split, **NAMES, draws=10) for times in (1, 2))
    assert once.equals(twice)
    nothing = strata_table(rows, [], split, **NAMES, draws=10)
    assert nothing.empty
    assert tuple(nothing.columns) == STRATA_COLUMNS


def test_what_does_not_fit_is_refused(split: Split, rows: list[Row]) -> None:
    with pytest.raises(ValueError, match="'ease' cannot be compared"):
        strata_table(rows, [("good", "ease")], split, **NAMES)
    with pytest.raises(ValueError, match="'test_items' was not evaluated: choose from catalogue"):
        strata_table(rows, PAIRS, split, **NAMES, setting="test_items")
    with pytest.raises(ValueError, match="good was evaluated on another split than 'validation'"):
        strata_table(rows, PAIRS, replace(split, name="validation"), **NAMES)
    with pytest.raises(ValueError, match="or other users and items"):
        strata_table(rows, PAIRS, random_split(), **NAMES)
    with pytest.raises(ValueError, match="Unknown metric 'map@20'"):
        strata_table(rows, PAIRS, split, **NAMES, metric="map@20")
