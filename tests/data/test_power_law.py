"""Made interactions of any number: sizes, no pair twice, a power law, the package's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reclm_hf.data.load import load_interactions, load_splits
from training.benchmarks.power_law import SIZES, main, power_law


def test_counts_are_those_asked_for_and_no_pair_is_there_twice() -> None:
    data = power_law(20_000, 3_000, 500)
    assert (len(data.user), data.n_users, data.n_items) == (20_000, 3_000, 500)
    assert len(np.unique(data.user * np.int64(500) + data.item)) == 20_000
    assert (data.user.dtype, data.item.dtype, data.timestamp.dtype) == (np.int32, np.int32, np.int64)
    assert (np.diff(data.timestamp) >= 0).all()
    for rows, count in ((data.user, 3_000), (data.item, 500)):
        assert np.bincount(rows, minlength=count).min() >= 1


def test_few_users_and_items_have_most() -> None:
    data = power_law(min(SIZES))
    for rows in (data.user, data.item):
        counts = np.sort(np.bincount(rows))[::-1]
        assert counts[: len(counts) // 10].sum() > 0.25 * counts.sum()
        assert counts[0] > 10 * np.median(counts)
    # Who is frequent does not show in the row.
    counts = np.bincount(data.item)
    assert abs(np.corrcoef(np.arange(len(counts)), counts)[0, 1]) < 0.1


def test_the_seed_decides() -> None:
    first, again, other = (power_law(5_000, 800, 300, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.user, again.user)
    np.testing.assert_array_equal(first.item, again.item)
    assert (first.item != other.item).any()


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="give users and items"):
        power_law(12_345)
    for users, items in ((20, 5), (5, 20), (3, 4)):
        with pytest.raises(ValueError, match="at most half of all pairs"):
            power_law(10, users, items)


def test_the_tables_are_read_as_they_were_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--interactions", "4000", "--users", "900", "--items", "200", "--output", str(tmp_path / "made")])
    assert "4,000 interactions of 900 users and 200 items" in capsys.readouterr().out
    made, read = power_law(4_000, 900, 200), load_interactions(str(tmp_path / "made"))
    assert read.user_ids[:2].tolist() == ["u0000000", "u0000001"]
    assert read.timestamp is not None
    order = np.lexsort((made.item, made.user, made.timestamp))
    np.testing.assert_array_equal(read.user, made.user[order])
    np.testing.assert_array_equal(read.item, made.item[order])
    np.testing.assert_array_equal(read.timestamp, made.timestamp)
    splits = load_splits(str(tmp_path / "made"))
    assert splits.test.history_matrix().nnz == 3_200
