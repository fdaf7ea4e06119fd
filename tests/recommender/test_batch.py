"""Recommendations for everybody, in one Parquet file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reclm_hf.recommender import batch
from reclm_hf.recommender.catalog import Catalog, CatalogRecommender

N_USERS, N_ITEMS = 40, 15


class Factors(CatalogRecommender):
    """Inner products; the last user has seen everything."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.user, self.item = rng.standard_normal((N_USERS, 4)), rng.standard_normal((N_ITEMS, 4))
        seen = rng.random((N_USERS, N_ITEMS)) < 0.2
        seen[-1] = True
        self.catalog = Catalog(
            [f"{item:03d}" for item in range(N_ITEMS)],
            [f"Tïtle {item}" for item in range(N_ITEMS)],
            [f"u{user}" for user in range(N_USERS)],
            np.append(0, seen.sum(axis=1).cumsum()),
            np.nonzero(seen)[1],
            [["even" if item % 2 == 0 else "odd"] for item in range(N_ITEMS)],
        )

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return (self.user[users] @ self.item[items].T).astype(np.float32)


@pytest.fixture
def model() -> Factors:
    return Factors()


def frame_of(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path).astype({"rank": "int64", "score": "float64"})


@pytest.mark.parametrize("block", [None, 1, 7, 40, 1000])
def test_the_file_holds_what_recommend_gives(model: Factors, tmp_path: Path, block: int | None) -> None:
    path = tmp_path / "new" / "all.parquet"
    written = model.recommend_all(path, k=4, block=block, progress=False)
    pd.testing.assert_frame_equal(
        frame_of(path), model.recommend(model.catalog.user_ids, k=4).to_frame(), check_dtype=False
    )
    assert written == (N_USERS, pq.read_metadata(path).num_rows, 1)
    kinds = {"user_id": pa.string(), "rank": pa.int32(), "item_id": pa.string(), "title": pa.string()}
    assert pq.read_schema(path) == pa.schema(kinds | {"score": pa.float32()})
    assert [file.name for file in path.parent.iterdir()] == ["all.parquet"]


def test_users_and_filters_are_those_of_recommend(model: Factors, tmp_path: Path) -> None:
    options = {"categories": ["even"], "deny": ["000"], "candidates": ["000", "001", "002", "004"]}
    for exclude_seen in (True, False):
        users = ["u7", "u3", "u39", "u7"]
        model.recommend_all(tmp_path / "some.parquet", 9, users, exclude_seen=exclude_seen, progress=False, **options)
        expected = model.recommend(users, 9, exclude_seen=exclude_seen, **options).to_frame()
        pd.testing.assert_frame_equal(frame_of(tmp_path / "some.parquet"), expected, check_dtype=False)
    assert set(expected["item_id"]) == {"002", "004"}


def test_rows_go_out_in_row_groups(model: Factors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "ROW_GROUP", 50)
    written = model.recommend_all(tmp_path / "all.parquet", k=4, block=5, progress=False)
    metadata = pq.read_metadata(tmp_path / "all.parquet")
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    # Blocks have 20 rows: three make a group; the rest comes last.
    assert sizes == [60, 60, 36]
    assert sum(sizes) == written.rows


def test_nobody_to_recommend_to_gives_an_empty_table(model: Factors, tmp_path: Path) -> None:
    for users, options in (([], {}), (["u1"], {"candidates": []})):
        written = model.recommend_all(tmp_path / "none.parquet", 4, users, progress=False, **options)
        assert written == (len(users), 0, len(users))
        table = pq.read_table(tmp_path / "none.parquet")
        assert (len(table), table.column_names) == (0, ["user_id", "rank", "item_id", "title", "score"])


def test_a_run_that_fails_leaves_the_old_file(model: Factors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "all.parquet"
    model.recommend_all(path, k=2, progress=False)
    before = path.read_bytes()
    model.user[-2] = np.nan  # in the last of the blocks
    with pytest.raises(ValueError, match="NaN"):
        model.recommend_all(path, k=4, block=10, progress=False)
    monkeypatch.setattr(model, "score", lambda users, items: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(path, k=4, progress=False)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["all.parquet"]


def test_bad_arguments_are_said_before_anything_is_written(model: Factors, tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    with pytest.raises(ValueError, match="k must be at least 1"):
        model.recommend_all(path, k=0)
    with pytest.raises(ValueError, match="block must be at least 1"):
        model.recommend_all(path, block=0)
    with pytest.raises(KeyError, match="'nobody'"):
        model.recommend_all(path, user_ids=["nobody"])
    with pytest.raises(ValueError, match="did you mean 'even'"):
        model.recommend_all(path, categories=["evens"])
    with pytest.raises(OSError, match="is a folder"):
        model.recommend_all(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_users(model: Factors, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.recommend_all(tmp_path / "all.parquet", block=16)
    assert "40/40" in capsys.readouterr().err
    model.recommend_all(tmp_path / "all.parquet", progress=False)
    assert capsys.readouterr().err == ""
