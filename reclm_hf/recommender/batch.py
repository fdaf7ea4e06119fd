"""Recommendations for everybody, streamed to one Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from .files import write_atomically
from .ranking import RankedBlock

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of a row group: large enough to compress well, small enough to hold in memory and to read in parts.
ROW_GROUP = 2**17


class Names(Protocol):
    """Ids and titles by position; a `Catalog` is one."""

    user_ids: list[str]
    item_ids: list[str]
    titles: list[str]


class Written(NamedTuple):
    """What a file of recommendations holds.

    users: how many were asked for. rows: recommendations in the file. empty: users with nothing left to recommend.
    """

    users: int
    rows: int
    empty: int


def write_recommendations(
    path: Path, blocks: Iterator[RankedBlock], names: Names, n_users: int, progress: bool = True
) -> Written:
    """Write ranked lists as they come, in row groups; the file appears whole or not at all.

    The columns are user_id, rank (int32, from 1), item_id, title and score (float32). n_users is for the progress bar.

    Raises:
        OSError: the file cannot be written; nothing half-written is left behind, and an older file stays.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tqdm.auto import tqdm

    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name the file to write in it, such as {path / 'lists.parquet'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"user_id": pa.string(), "rank": pa.int32(), "item_id": pa.string(), "title": pa.string()}
    schema = pa.schema(kinds | {"score": pa.float32()})
    users, items, titles = (pa.array(texts, pa.string()) for texts in (names.user_ids, names.item_ids, names.titles))
    rows = empty = 0

    def write(temporary: str) -> None:
        nonlocal rows, empty
        waiting: list[pa.Table] = []
        with (
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
            tqdm(total=n_users, desc="recommendations", unit="user", disable=not progress) as bar,
        ):
            for block in blocks:
                columns = [users.take(_index(np.repeat(block.users, block.counts))), _index(_ranks(block.counts))]
                taken = _index(block.items)
                columns += [items.take(taken), titles.take(taken), pa.array(block.scores, pa.float32())]
                waiting.append(pa.Table.from_arrays(columns, schema=schema))
                rows += len(taken)
                empty += int(np.count_nonzero(block.counts == 0))
                if sum(map(len, waiting)) >= ROW_GROUP:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting.clear()
                bar.update(len(block.users))
            if waiting:
                writer.write_table(pa.concat_tables(waiting))

    write_atomically(path, write)
    return Written(n_users, rows, empty)


def _ranks(counts: np.ndarray) -> np.ndarray:
    """1, 2, ... within each list, int64 [sum(counts)]."""
    starts = np.cumsum(counts) - counts
    return np.arange(1, counts.sum() + 1) - np.repeat(starts, counts)


def _index(positions: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(positions, pa.int32())
