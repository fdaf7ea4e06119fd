"""The placebo table finds a profile that carries the signal, nothing in noise, and repeats what is known of ML-1M.

The experiments are those of training/benchmarks/placebo.py.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.features import history_mean, normalize_rows
from reclm_hf.data.folder import write_dataset
from reclm_hf.data.synthetic import Synthetic, synthetic_interactions
from reclm_hf.evaluation import comparisons_table
from reclm_hf.pipeline import profile_stage
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine

# A script finds the files beside it because its folder is on the path; so must they be here.
sys.path.insert(0, str(Path(__file__).parents[2] / "training" / "benchmarks"))
placebo: Any = import_module("placebo")
placebo_data: Any = import_module("placebo_data")
placebo_profiles: Any = import_module("placebo_profiles")
placebo_scores: Any = import_module("placebo_scores")
placebo_statistics: Any = import_module("placebo_statistics")
placebo_vectors: Any = import_module("placebo_vectors")

ITEM_PLACEBOS, USER_PLACEBOS = ("none", "constant", "shuffled", "raw_text"), ("none", "constant", "shuffled")
DRAWS = 1_000


@cache
def synthetic() -> Synthetic:
    """Users who choose by the first half of an item's vector and, more, by the second."""
    return synthetic_interactions(0.5, 2.0, n_users=900, n_items=800, dim=32, events=9, seed=3)


def problem(data: Synthetic) -> Any:
    folds = [placebo_data.Fold(data.splits.validation, data.splits.test)]
    near = {row: [(row + 1) % data.splits.test.n_users] for row in range(data.splits.test.n_users)}
    return placebo_data.Problem("synthetic", "", "", folds, data.splits.data.items["text"].tolist(), neighbors=near)


def vectors(data: Synthetic, planted: bool) -> Any:
    """Metadata tell the first half of an item's vector; its profile tells the second, or nothing. Users likewise."""
    rng = np.random.default_rng(1)
    full, half = data.items.vectors, data.items.vectors.shape[1] // 2
    metadata, rest = full.copy(), full.copy()
    metadata[:, half:], rest[:, :half] = 0, 0
    metadata = normalize_rows(metadata + 0.02 * rng.standard_normal(full.shape))
    noise = [normalize_rows(rng.standard_normal(part.shape)) for part in (full, data.users.profiles)]
    items, users = (normalize_rows(rest), data.users.profiles) if planted else noise
    return placebo_data.Vectors(metadata, metadata, items, normalize_rows(metadata + 0.1 * items), users)


@cache
def measured(planted: bool) -> pd.DataFrame:
    data = synthetic()
    side = vectors(data, planted)
    # A user's profile can only be matched with items that tell what it speaks of.
    users = placebo.measure(problem(data), replace(side, metadata=data.items.vectors, item_profiles=None), DRAWS)
    items = placebo.measure(problem(data), replace(side, user_profiles=None), DRAWS)
    return pd.concat([items, users], ignore_index=True)


def against(table: pd.DataFrame, side: str, placebos: tuple[str, ...]) -> pd.DataFrame:
    """The judged lines `llm` - placebo of one side, both recommenders, recall@20."""
    table = placebo_statistics.judge(table)
    others = [f"{side}/{recommender}/{other}" for recommender in ("cosine", "map") for other in placebos]
    return table[table["asked"] & (table["metric"] == "recall@20") & table["b"].isin(others)]


@pytest.mark.parametrize(("side", "placebos"), [("item", (*ITEM_PLACEBOS, "neighbour")), ("user", USER_PLACEBOS)])
def test_a_profile_that_carries_the_signal_is_found(side: str, placebos: tuple[str, ...]) -> None:
    found = against(measured(planted=True), side, placebos)
    assert len(found) == 2 * len(placebos)
    assert (found["low_users"] > 0).all()
    assert (found["low_items"] > 0).all()
    assert set(found["verdict"]) == {"better"}


@pytest.mark.parametrize(("side", "placebos"), [("item", ITEM_PLACEBOS), ("user", USER_PLACEBOS)])
def test_a_profile_of_noise_is_worth_no_more_than_its_placebo(side: str, placebos: tuple[str, ...]) -> None:
    found = against(measured(planted=False), side, placebos)
    assert "better" not in set(found["verdict"])
    shuffled = found[found["b"].str.endswith("shuffled")]
    assert set(shuffled["verdict"]) == {"not shown"}
    assert (shuffled["low"] < 0).all()
    assert (shuffled["high"] > 0).all()


def test_equal_folds_are_no_more_evidence_than_one() -> None:
    """A user and an item that come twice are still one user and one item; one fold alone is `comparisons_table`."""
    data = synthetic()
    case = problem(data)
    _, rows = placebo_scores.rows_of(case, case.folds[0], vectors(data, planted=True))
    pair = ("item/map/llm", "item/map/none")
    once = placebo_statistics.difference_lines(rows, [pair], placebo_statistics.pool([rows], DRAWS), DRAWS)
    twice = placebo_statistics.difference_lines(rows, [pair], placebo_statistics.pool([rows, rows], DRAWS), DRAWS)
    known = comparisons_table(
        rows, [pair], dataset="", fingerprint="", settings=("zero_shot",), metrics=("recall@20", "ndcg@20"), draws=DRAWS
    )
    for line, same, expected in zip(once, twice, known.to_dict("records"), strict=True):
        for name in ("low_users", "high_users", "low_items", "high_items", "p"):
            assert line[name] == pytest.approx(expected[name], abs=1e-12)
            assert same[name] == pytest.approx(expected[name], abs=1e-12)
        assert line["value"] == pytest.approx(expected["difference"])
        assert same["by_fold"] == pytest.approx([line["value"]] * 2)


def test_the_same_call_gives_the_same_rows() -> None:
    data = synthetic()
    tables = [placebo.measure(problem(data), replace(vectors(data, True), user_profiles=None), 50) for _ in range(2)]
    first, second = (table.drop(columns="cpu_seconds") for table in tables)
    assert first.equals(second)


def test_metadata_a_second_time_or_a_constant_leave_the_cosine_alone() -> None:
    data = synthetic()
    split, both = data.splits.test, vectors(data, planted=True)
    lists = []
    for variant in ("none", "raw_text", "constant"):
        (items,) = placebo_vectors.item_blocks(variant, both, split)
        cold = np.flatnonzero(split.cold)
        users = history_mean(split, items)[:50]
        lists.append(np.argsort(-np.round(users @ items[cold].T, 5), axis=1, kind="stable")[:, :5])
    assert (lists[0] == lists[1]).mean() > 0.99  # equal but for the order of equal scores
    assert (lists[0] == lists[2]).mean() > 0.95


def test_deals_stay_in_their_group_and_move_profiles() -> None:
    members = np.arange(60) % 6 != 0
    groups = np.repeat([-1, 0, 1], 20)
    source = placebo_vectors.dealt(members, groups, seed=0)
    assert sorted(source) == list(range(60))
    assert (groups[source] == groups).all()
    assert (source[~members] == np.flatnonzero(~members)).all()
    assert (source[members] != np.flatnonzero(members)).mean() > 0.8


def test_neighbours_are_others_with_a_profile() -> None:
    known = np.array([True, True, False, True])
    assert placebo_vectors.first_neighbors(known, {0: [2, 3], 1: [2], 3: [3]}).tolist() == [3, 3, 2, 0]
    line = np.array([[1.0, 0.0], [0.9, 0.1], [1.0, 0.01], [0.0, 1.0]], dtype=np.float32)
    assert placebo_vectors.nearest_other(line, known).tolist() == [1, 0, 0, 1]


def test_items_without_a_profile_get_no_placebo_either() -> None:
    data = synthetic()
    both = vectors(data, planted=True)
    profiles = both.item_profiles.copy()
    profiles[::3] = 0
    for variant in ("llm", "constant", "shuffled", "neighbour"):
        block = placebo_vectors.item_blocks(variant, replace(both, item_profiles=profiles), data.splits.test)[0]
        assert (np.abs(block[:, 32:]).sum(axis=1) > 0).tolist() == [row % 3 != 0 for row in range(len(profiles))]


def test_data_that_are_not_here_are_skipped_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(placebo_data.AbsentError, match="RECLM_SHARED_DATA"):
        placebo_data.load("ml-1m", None, None, 10)
    with pytest.raises(placebo_data.AbsentError, match=r"placebo_profiles\.py online-retail"):
        placebo_data.load("online-retail", None, tmp_path, 10)
    with pytest.raises(placebo_data.AbsentError, match="name a data set"):
        placebo.collect(tmp_path)


def test_the_report_shows_what_was_measured(tmp_path: Path) -> None:
    table = measured(planted=True).drop_duplicates(["kind", "a", "b", "metric"]).assign(dataset="ml-1m")
    placebo.write_parquet(table, tmp_path / "placebo-ml-1m.parquet")
    text = placebo.report(placebo.collect(tmp_path))
    value = table[(table["a"] == "item/map/llm") & (table["kind"] == "value")].iloc[0]["value"]
    assert f"{value:.4f}" in text
    assert "llm - shuffled" in text
    assert "better" in text


def test_prepared_data_are_read_with_their_profiles(tmp_path: Path) -> None:
    data = synthetic().splits.data
    write_dataset(data, tmp_path / "data", {"rule": "all of it"})
    ids = data.user_ids[:3].tolist()
    users = pd.DataFrame({"user_id": ids, "profile": ["a ", "", "c"], "neighbors": [ids[1:], [], [ids[0], "gone"]]})
    placebo.write_parquet(users, tmp_path / "user_profiles.parquet")
    read = placebo_data.load("online-retail", None, tmp_path, 10)
    assert list(read.user_profiles[:4]) == ["a", "", "c", ""]
    assert read.neighbors == {0: [1, 2], 1: [], 2: [0]}
    assert read.item_profiles is None
    assert read.metadata[0] == data.items["title"].iloc[0]
    assert read.raw_texts == data.items["text"].tolist()
    placebo.write_parquet(users.assign(user_id="x"), tmp_path / "user_profiles.parquet")
    with pytest.raises(ValueError, match="unknown user_ids"):
        placebo_data.load("online-retail", None, tmp_path, 10)


class Encoder:
    """Vectors from the words of a text."""

    dimension = 16

    def encode(self, texts: list[str]) -> np.ndarray:
        sums = [sum(self._word(word) for word in text.split()) for text in texts]
        return normalize_rows(np.stack(sums))

    def _word(self, word: str) -> np.ndarray:
        return np.random.default_rng(list(word.encode())).standard_normal(self.dimension)


def test_profiles_are_written_from_what_is_not_held_out_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody asks who made the vectors that neighbours are found with; these need no training.
    monkeypatch.setattr(profile_stage, "neighbor_vectors", lambda data, split, vectors: history_mean(split, vectors))
    splits, _ = checkerboard()
    write_dataset(splits.data, tmp_path / "data", {"rule": "all of it"})
    data = placebo_profiles.prepare("online-retail", tmp_path, tmp_path)
    assert data.fingerprint() == splits.data.fingerprint()
    engine = WordEngine()
    lines = placebo_profiles.write("online-retail", data, tmp_path, engine, Encoder())
    case = placebo_data.load("online-retail", None, tmp_path, 10)
    cold = case.folds[0].test.cold
    assert 0 < cold.sum() < len(cold) / 2
    assert all(case.item_profiles[row] for row in np.flatnonzero(cold))
    assert f"items: {sum(map(bool, case.item_profiles))} profiles" in lines[1]
    held_out = data.items["title"][cold].tolist()
    shown = [request.messages[-1]["content"] for request in engine.asked if request.key in set(data.user_ids)]
    assert len(shown) == data.n_users
    assert not [title for title in held_out for text in shown if f"{title}\n" in text]
    table = placebo.measure(case, placebo_data.embed(case, Encoder()), 50)
    assert table["value"].notna().all()
    assert {"item/map/joined", "user/map/neighbour", "user, w=0.5/cosine/llm"} <= set(table["a"])
    before = len(engine.asked)
    placebo_profiles.write("online-retail", data, tmp_path, engine, Encoder())
    assert len(engine.asked) == before, "a second run writes nothing again"


def test_plots_lose_the_marks_of_their_links() -> None:
    plot = "A program \"_GoldenEye_ (qv)\" is stolen from 'Tim Roth' (qv),  a thief's thief."
    assert placebo_profiles.plain(plot) == 'A program "GoldenEye" is stolen from Tim Roth, a thief\'s thief.'


@pytest.mark.slow
@pytest.mark.shared_data
def test_profiles_of_ml_1m_beside_the_metadata_are_worth_more_than_placebos(shared_data: Path) -> None:
    """Known from other code: +.034, +.022, +.040 over title and genres, +.040, +.037, +.047 over shuffled ones."""
    from reclm_hf.recommender.text_encoder import TextEncoder

    case = placebo_data.load("ml-1m", shared_data, None, 1_500)
    table = placebo.measure(case, placebo_data.embed(case, TextEncoder(max_length=placebo_data.MAX_LENGTH)), DRAWS)
    found = against(table, "item", ("none", "shuffled"))
    assert len(found) == 4
    for line in found.to_dict("records"):
        assert min(line["by_fold"]) > 0, line
        assert line["low_users"] > 0, line
