from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reclm_hf.data.splits import Split
from reclm_hf.data.tables import TableError
from reclm_hf.profiles.neighbors import top_neighbors
from reclm_hf.tuning.held_out import draw_users, has_neighbor_inside, hash_order, measured, read_users, write_users


def a_split(n_users: int = 300, each: int = 6, seed: int = 0) -> tuple[Split, np.ndarray]:
    """Users with `each` items and three neighbours; the last ten have one item only."""
    rng = np.random.default_rng(seed)
    counts = np.full(n_users, each)
    counts[-10:] = 1
    user = np.repeat(np.arange(n_users), counts)
    split = Split(
        name="validation",
        cut=None,
        user_ids=np.array([f"u{row:04d}" for row in range(n_users)]),
        item_ids=np.array([f"i{row}" for row in range(40)]),
        history_user=user.astype(np.int32),
        history_item=np.concatenate([rng.choice(40, size, replace=False) for size in counts]).astype(np.int32),
        history_time=None,
        target_user=np.array([0], dtype=np.int32),
        target_item=np.array([0], dtype=np.int32),
        warm=np.ones(40, dtype=bool),
        cold=np.zeros(40, dtype=bool),
        users_without_history=0,
    )
    return split, top_neighbors(rng.standard_normal((n_users, 8)), 3)


@pytest.mark.parametrize("n", [6, 60, 61, 150])
def test_two_thirds_have_a_neighbour_inside(n: int) -> None:
    split, neighbors = a_split()
    users = draw_users(split, neighbors, n)
    assert len(users) == n == len(np.unique(users))
    assert (np.diff(users) > 0).all()
    assert has_neighbor_inside(users, neighbors).sum() >= 2 * n // 3
    # What chance would give for so small a part is far less.
    if n <= 61:
        alone = np.array(sorted(hash_order(split.user_ids, 0)[:n]))
        assert has_neighbor_inside(alone, neighbors).sum() < has_neighbor_inside(users, neighbors).sum()


def test_draw_depends_on_ids_and_seed_not_on_rows() -> None:
    split, neighbors = a_split()
    users = draw_users(split, neighbors, 60)
    names = set(split.user_ids[users])
    assert set(split.user_ids[draw_users(split, neighbors, 60, seed=1)]) != names
    order = np.random.default_rng(3).permutation(split.n_users)  # new row r is the old row order[r]
    new_row = np.argsort(order).astype(np.int32)
    moved = replace(split, user_ids=split.user_ids[order], history_user=new_row[split.history_user])
    near = np.where(neighbors[order] >= 0, new_row[neighbors[order]], -1)
    again = draw_users(moved, near, 60)
    assert set(moved.user_ids[again]) == names
    assert set(moved.user_ids[measured(moved, again, near, 20)]) == set(
        split.user_ids[measured(split, users, neighbors, 20)]
    )


def test_users_with_little_history_are_drawn_as_neighbours_at_most() -> None:
    split, neighbors = a_split()
    users = draw_users(split, neighbors, 300)
    short = set(range(290, 300))
    needed = {int(other) for user in users for other in neighbors[user]}
    assert short & set(users.tolist()) <= needed
    nobody = np.full_like(neighbors, -1)
    with pytest.raises(ValueError, match="only 0 of 30 drawn users have a neighbour"):
        draw_users(split, nobody, 30)
    with pytest.raises(ValueError, match="no user has 50 interactions"):
        draw_users(split, neighbors, 30, fewest_items=50)


def test_measured_users_have_a_neighbour_among_the_drawn() -> None:
    split, neighbors = a_split()
    users = draw_users(split, neighbors, 90)
    some = measured(split, users, neighbors, 40)
    assert len(some) == 40
    assert set(some) <= set(users)
    drawn = set(users.tolist())
    assert all(drawn & set(neighbors[user].tolist()) for user in some)
    everybody = measured(split, users, neighbors, 1000)
    assert set(some) < set(everybody)


def test_a_file_of_users_comes_back(tmp_path) -> None:
    split, neighbors = a_split()
    users = draw_users(split, neighbors, 30)
    path = tmp_path / "held" / "users.txt"
    write_users(split, users, path)
    assert len(path.read_text().splitlines()) == 30
    np.testing.assert_array_equal(read_users(split, path), users)
    path.write_text("u0001\n\nsomebody\n")
    with pytest.raises(TableError, match="1 ids are of no user of the data, 'somebody'"):
        read_users(split, path)
    path.write_text("\n")
    with pytest.raises(TableError, match="names no user"):
        read_users(split, path)
    with pytest.raises(TableError, match="cannot be read"):
        read_users(split, tmp_path / "absent")
