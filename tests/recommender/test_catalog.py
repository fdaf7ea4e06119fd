"""The catalogue and `recommend()`: ids, ties, masks, files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from reclm_hf.recommender import ranking
from reclm_hf.recommender.catalog import Catalog, CatalogRecommender, eligible_items


class Table(CatalogRecommender):
    """Scores read from a matrix."""

    def __init__(self, catalog: Catalog, scores: np.ndarray) -> None:
        self.catalog = catalog
        self.scores = scores.astype(np.float32)
        self.calls: list[int] = []

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        self.calls.append(len(users))
        return self.scores[np.ix_(users, items)]


@pytest.fixture
def catalog() -> Catalog:
    # Ann has seen 007 and 010, Bob nothing, Cem everything.
    return Catalog(
        item_ids=["007", "010", "7", "é 4"],
        titles=["Seven", "Ten", "", "Four\nlines"],
        user_ids=["ann", "bob", "cem"],
        seen_indptr=np.array([0, 2, 2, 6]),
        seen_indices=np.array([0, 1, 0, 1, 2, 3]),
        categories=[["Drama", "Sci-Fi"], ["Drama"], [], ["drama", "Sci-Fi"]],
    )


@pytest.fixture
def model(catalog: Catalog) -> Table:
    return Table(catalog, np.array([[9, 8, 1, 2], [4, 3, 2, 1], [1, 2, 3, 4]]))


def test_recommend_ranks_unseen_items_by_score(model: Table) -> None:
    found = model.recommend(["bob", "ann"], k=3)
    assert found.user_ids == ["bob", "ann"]
    assert found.item_ids == [["007", "010", "7"], ["é 4", "7"]]
    assert found.titles[1] == ["Four\nlines", ""]
    assert found.scores == [[4.0, 3.0, 2.0], [2.0, 1.0]]


def test_a_user_who_has_seen_everything_gets_an_empty_list(model: Table) -> None:
    assert model.recommend(["cem"]).item_ids == [[]]
    assert model.recommend(["cem"], k=2, exclude_seen=False).item_ids == [["é 4", "7"]]


def test_seen_items_are_masked_among_given_candidates_too(model: Table) -> None:
    found = model.recommend(["ann", "bob"], k=9, candidates=["é 4", "007", "007"])
    assert found.item_ids == [["é 4"], ["007", "é 4"]]


@pytest.mark.parametrize("candidates", [None, ["007", "7"]])
def test_items_that_cannot_be_scored_are_left_out(catalog: Catalog, candidates: list[str] | None) -> None:
    scores = np.array([[-np.inf, 1, -np.inf, 3]] * 3)
    found = Table(catalog, scores).recommend(["bob"], candidates=candidates)
    assert found.item_ids == [["é 4", "010"]] if candidates is None else [[]]
    assert all(np.isfinite(row).all() for row in found.scores)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_scores_are_an_error(catalog: Catalog, bad: float) -> None:
    scores = np.zeros((3, 4))
    scores[1, 2] = bad
    with pytest.raises(ValueError, match="NaN" if np.isnan(bad) else "inf"):
        Table(catalog, scores).recommend(["bob"])


def test_only_recommendable_items_are_returned(model: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "recommendable", lambda: np.array([False, True, True, False]))
    assert model.recommend(["bob"]).item_ids == [["010", "7"]]
    assert model.recommend(["bob"], candidates=["007"]).item_ids == [[]]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"categories": ["Drama"]}, ["007", "010"]),
        ({"categories": ["drama", "Sci-Fi"]}, ["007", "é 4"]),
        ({"deny": ["007", "7", "7"]}, ["010", "é 4"]),
        ({"deny": []}, ["007", "010", "7", "é 4"]),
        ({"candidates": []}, []),
        ({"candidates": ["é 4", "010", "7"], "categories": ["Drama", "Sci-Fi"]}, ["010", "é 4"]),
        ({"candidates": ["é 4", "010", "7"], "categories": ["Drama", "Sci-Fi"], "deny": ["010", "007"]}, ["é 4"]),
        ({"candidates": ["7"], "deny": ["7"]}, []),
    ],
)
def test_filters_combine(model: Table, filters: dict[str, list[str]], expected: list[str]) -> None:
    assert model.recommend(["bob"], **filters).item_ids == [expected]
    assert [model.catalog.item_ids[item] for item in model.eligible_items(**filters)] == expected


def test_filters_do_not_let_through_what_cannot_be_recommended(catalog: Catalog) -> None:
    recommendable = np.array([True, False, True, True])
    assert eligible_items(catalog, categories=["Drama"], deny=["7"], recommendable=recommendable).tolist() == [0]
    assert recommendable.tolist() == [True, False, True, True], "the model's own array is left alone"
    assert eligible_items(catalog).dtype == np.int64


def test_an_unknown_category_names_those_that_are_meant(model: Table) -> None:
    with pytest.raises(ValueError, match="unknown category 'SCI-FI': did you mean 'Sci-Fi'"):
        model.recommend(["bob"], categories=["Drama", "SCI-FI"])
    with pytest.raises(ValueError, match="'Drama' or 'drama'"):
        model.recommend(["bob"], categories=["DRAMA"])
    with pytest.raises(ValueError, match="most common of the 3 here are 'Drama', 'Sci-Fi', 'drama'"):
        model.recommend(["bob"], categories=["Western"])
    model.catalog.categories = [[] for _ in model.catalog.item_ids]
    with pytest.raises(ValueError, match="items of this catalogue have no categories"):
        model.recommend(["bob"], categories=["Drama"])


def test_unknown_ids_are_named(model: Table) -> None:
    with pytest.raises(KeyError, match=r"'dan', 'eve': .*recommend_for_history\(item_ids\) or recommend_for_profile"):
        model.recommend(["dan", "ann", "eve"])
    with pytest.raises(KeyError, match=r"'x4' and 2 more"):
        model.recommend([f"x{number}" for number in range(7)])
    with pytest.raises(KeyError, match="'70'"):
        model.recommend(["ann"], candidates=["7", "70"])
    with pytest.raises(KeyError, match="'70'"):
        model.recommend(["ann"], deny=["70"])
    with pytest.raises(KeyError, match="unknown item 7"):
        model.recommend(["ann"], candidates=[7])  # type: ignore[list-item]


def test_bad_arguments_say_what_to_do(model: Table) -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        model.recommend(["ann"], k=0)
    with pytest.raises(ValueError, match=r"give a list of ids, \['ann'\]"):
        model.recommend("ann")
    with pytest.raises(ValueError, match=r"give a list of categories, \['Drama'\]"):
        model.recommend(["ann"], categories="Drama")
    with pytest.raises(ValueError, match="list of categories is empty"):
        model.recommend(["ann"], categories=[])


def test_no_users_give_no_lists(model: Table) -> None:
    assert model.recommend([]).item_ids == []
    assert model.recommend([]).to_frame().empty


def test_users_are_scored_in_blocks(model: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = model.recommend(["ann", "bob", "cem", "bob"], k=2)
    monkeypatch.setattr(ranking, "BLOCK_CELLS", 2 * 4)
    monkeypatch.setattr(ranking, "BLOCK_USERS", 1)
    model.calls.clear()
    assert model.recommend(["ann", "bob", "cem", "bob"], k=2) == whole
    assert model.calls == [2, 2]


def test_recommend_leaves_the_models_scores_alone(model: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model.scores.copy()
    monkeypatch.setattr(model, "score", lambda users, items: model.scores[users])
    model.recommend(["cem"])
    np.testing.assert_array_equal(model.scores, before)


def test_frame_has_one_row_a_recommendation(model: Table) -> None:
    frame = model.recommend(["ann", "bob", "cem"], k=2).to_frame()
    expected = pd.DataFrame(
        [
            ("ann", 1, "é 4", "Four\nlines", 2.0),
            ("ann", 2, "7", "", 1.0),
            ("bob", 1, "007", "Seven", 4.0),
            ("bob", 2, "010", "Ten", 3.0),
        ],
        columns=["user_id", "rank", "item_id", "title", "score"],
    )
    pd.testing.assert_frame_equal(frame, expected)


def test_added_items_can_be_recommended(model: Table) -> None:
    assert model.catalog.add_items(["011", "012"], ["Eleven", "Twelve"]).tolist() == [4, 5]
    model.scores = np.concatenate([model.scores, np.full((3, 2), [5.0, 6.0], dtype=np.float32)], axis=1)
    found = model.recommend(["cem"])
    assert found.item_ids == [["012", "011"]]
    assert found.titles == [["Twelve", "Eleven"]]


def test_added_items_bring_their_categories(catalog: Catalog) -> None:
    catalog.add_items(["011", "012"], ["Eleven", "Twelve"], [["Western", "Drama"], []])
    assert catalog.categories[-2:] == [["Western", "Drama"], []]
    assert eligible_items(catalog, categories=["Western"]).tolist() == [4]
    catalog.add_items(["013"], ["Thirteen"])
    assert catalog.categories[-1] == []
    with pytest.raises(ValueError, match="1 item ids but 2 lists of categories"):
        catalog.add_items(["014"], ["Fourteen"], [[], []])
    assert catalog.n_items == len(catalog.categories) == 7


@pytest.mark.parametrize("ids", [["011", "007"], ["011", "011"]])
def test_an_item_is_added_once_or_nothing_is(catalog: Catalog, ids: list[str]) -> None:
    with pytest.raises(ValueError, match=repr(ids[1])):
        catalog.add_items(ids, ["a", "b"])
    assert catalog.item_ids == ["007", "010", "7", "é 4"]
    with pytest.raises(ValueError, match="1 item ids but 2 titles"):
        catalog.add_items(["011"], ["a", "b"])


def test_files_keep_ids_titles_and_seen_items(catalog: Catalog, tmp_path: Path) -> None:
    catalog.save(tmp_path / "new" / "folder")
    loaded = Catalog.load(tmp_path / "new" / "folder")
    assert loaded.item_ids == catalog.item_ids
    assert loaded.titles == catalog.titles
    assert loaded.user_ids == catalog.user_ids
    assert loaded.categories == catalog.categories
    assert loaded.item_index(["007", "7"]).tolist() == [0, 2]
    np.testing.assert_array_equal(loaded.seen_indptr, catalog.seen_indptr)
    np.testing.assert_array_equal(loaded.seen_indices, catalog.seen_indices)
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["catalog.parquet", "catalog.safetensors", "users.parquet"]


def test_files_without_categories_load(catalog: Catalog, tmp_path: Path) -> None:
    catalog.save(tmp_path)
    table = pd.read_parquet(tmp_path / "catalog.parquet")
    table.drop(columns="categories").to_parquet(tmp_path / "catalog.parquet")
    assert Catalog.load(tmp_path).categories == [[], [], [], []]
    table.assign(categories=[["Drama"], None, [], ["x"]]).to_parquet(tmp_path / "catalog.parquet")
    assert Catalog.load(tmp_path).categories == [["Drama"], [], [], ["x"]]
    table.assign(categories=1.5).to_parquet(tmp_path / "catalog.parquet")
    with pytest.raises(ValueError, match=r"catalog\.parquet is not a readable table of categories"):
        Catalog.load(tmp_path)


def test_a_failed_save_keeps_the_old_files(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    catalog.add_items(["new"], ["New"])

    def full_disk(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full_disk)
    with pytest.raises(OSError, match="no space"):
        catalog.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["catalog.parquet", "users.parquet", "catalog.safetensors"])
def test_missing_and_broken_files_are_named(catalog: Catalog, tmp_path: Path, name: str) -> None:
    catalog.save(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=name):
        Catalog.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        Catalog.load(tmp_path)


def test_files_of_two_models_do_not_mix(catalog: Catalog, tmp_path: Path) -> None:
    catalog.save(tmp_path / "a")
    Catalog(["007"], ["Seven"], ["ann", "bob", "cem"], np.zeros(4), np.empty(0)).save(tmp_path / "b")
    (tmp_path / "b" / "catalog.parquet").replace(tmp_path / "a" / "catalog.parquet")
    with pytest.raises(ValueError, match="different models"):
        Catalog.load(tmp_path / "a")


def test_ids_must_be_unique() -> None:
    with pytest.raises(ValueError, match="item id 'a' occurs more than once"):
        Catalog(["a", "b", "a"], ["", "", ""], [], np.zeros(1), np.empty(0))


def test_from_split_takes_history_as_seen_and_titles_from_the_data() -> None:
    history = csr_array(np.array([[0, 1, 1], [1, 0, 0]], dtype=np.float32))
    split = SimpleNamespace(
        n_items=3,
        item_ids=np.array(["007", "1", "2"], dtype=object),
        user_ids=np.array(["a", "b"], dtype=object),
        history_matrix=lambda: history,
    )
    data = SimpleNamespace(
        items=pd.DataFrame({"title": ["x", "y", "z"], "categories": [["Drama"], [], ["Drama", "War"]]})
    )
    catalog = Catalog.from_split(data, split)
    assert catalog.item_ids == ["007", "1", "2"]
    assert catalog.titles == ["x", "y", "z"]
    assert catalog.seen(0).tolist() == [1, 2]
    assert catalog.seen_indices.dtype == np.int32
    assert catalog.categories == [["Drama"], [], ["Drama", "War"]]
    without = Catalog.from_split(None, split)
    assert (without.titles, without.categories) == (["", "", ""], [[], [], []])
