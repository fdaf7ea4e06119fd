"""Interactions of any number with power-law users and items, as arrays or as the package's tables.

`python training/benchmarks/power_law.py --interactions 10000000 --output runs/power-law-1e7`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

# Interactions -> users, items.
SIZES = {100_000: (57_000, 2_400), 1_000_000: (117_000, 20_000), 10_000_000: (1_000_000, 100_000)}
# The weight of the r-th most frequent user or item is about r ** -exponent.
USER_EXPONENT = 0.6
ITEM_EXPONENT = 1.0
_START = 1_577_836_800_000_000  # 2020-01-01 UTC, in microseconds
_YEAR = 365 * 86_400_000_000


@dataclass(frozen=True)
class PowerLaw:
    """user, item: int32 [n] rows, a pair only once, in order of time. timestamp: int64 [n] microseconds UTC."""

    n_users: int
    n_items: int
    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray


def power_law(interactions: int, users: int | None = None, items: int | None = None, seed: int = 0) -> PowerLaw:
    """Every user and every item has one interaction at least; who is frequent does not show in the row.

    Args:
        users, items: None takes those of `SIZES`.

    Raises:
        ValueError: a size that `SIZES` does not have and no users or items, or more interactions than there is room
            for, or too few for every user and item.
    """
    known = SIZES.get(interactions, (None, None))
    n_users, n_items = users or known[0], items or known[1]
    if n_users is None or n_items is None:
        raise ValueError(f"{interactions} interactions: give users and items; only {list(SIZES)} have them by default.")
    if not max(n_users, n_items) <= interactions <= n_users * n_items // 2:
        raise ValueError(
            f"{interactions} interactions of {n_users} users and {n_items} items: give at least one a user and one an "
            "item, and at most half of all pairs."
        )
    rng = np.random.default_rng(seed)
    each = np.arange(max(n_users, n_items))
    keys = np.sort((each % n_users) * n_items + each % n_items)
    while len(keys) < interactions:
        missing = interactions - len(keys)
        drawn = _ranks(n_users, missing, USER_EXPONENT, rng) * n_items + _ranks(n_items, missing, ITEM_EXPONENT, rng)
        keys = np.sort(np.concatenate([keys, drawn]))
        keys = keys[np.append(True, keys[1:] != keys[:-1])]
    user, item = np.divmod(rng.permutation(keys), n_items)
    shown = [rng.permutation(count).astype(np.int32) for count in (n_users, n_items)]
    timestamp = _START + np.sort(rng.integers(0, _YEAR, interactions))
    return PowerLaw(n_users, n_items, shown[0][user], shown[1][item], timestamp)


def _ranks(count: int, n: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """int64 [n] in [0, count): the inverse of the distribution with density x ** -exponent over [1, count + 1)."""
    share = rng.random(n)
    if exponent == 1:
        x = (count + 1) ** share
    else:
        rest = 1 - exponent
        x = (1 + share * ((count + 1) ** rest - 1)) ** (1 / rest)
    return np.minimum(x.astype(np.int64) - 1, count - 1)


def write_tables(data: PowerLaw, folder: Path) -> None:
    """`items.parquet` and `interactions.parquet`, which `reclm train --data FOLDER` reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from reclm_hf.data.folder import INTERACTIONS_FILE, ITEMS_FILE

    user_ids, item_ids = _ids("u", data.n_users), _ids("i", data.n_items)
    times = pa.array(data.timestamp, pa.timestamp("us", tz="UTC"))
    columns = {"user_id": user_ids.take(pa.array(data.user)), "item_id": item_ids.take(pa.array(data.item))}
    title = pa.array([f"Item {row}" for row in range(data.n_items)])
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns | {"timestamp": times}), folder / INTERACTIONS_FILE, compression="zstd")
    pq.write_table(pa.table({"item_id": item_ids, "title": title}), folder / ITEMS_FILE, compression="zstd")


def _ids(letter: str, count: int) -> pa.Array:
    import pyarrow as pa

    return pa.array([f"{letter}{row:07d}" for row in range(count)])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interactions", type=int, required=True, help=f"how many; users and items of {list(SIZES)}")
    parser.add_argument("--output", type=Path, required=True, help="folder of the two tables")
    parser.add_argument("--users", type=int, help="how many users, for another number of interactions")
    parser.add_argument("--items", type=int, help="how many items")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    started = time.perf_counter()
    try:
        data = power_law(args.interactions, args.users, args.items, args.seed)
    except ValueError as error:
        parser.error(str(error))
    write_tables(data, args.output)
    print(
        f"{args.output}: {len(data.user):,} interactions of {data.n_users:,} users and {data.n_items:,} items in "
        f"{time.perf_counter() - started:.1f} s"
    )


if __name__ == "__main__":
    main()
