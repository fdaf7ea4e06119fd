"""What every recommender carries beside its weights: ids, titles and seen items, and `recommend()` over them.

The file imports no other part of the package, because custom code on the Hub travels with its own folder only.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

if TYPE_CHECKING:
    import pandas as pd

CATALOG_FILE = "catalog.parquet"
USERS_FILE = "users.parquet"
TENSORS_FILE = "catalog.safetensors"
# One block of scores: 2**24 float32 cells are 64 MiB, whatever the size of the catalogue.
BLOCK_CELLS = 2**24


def tie_order(n_items: int, seed: int = 0) -> np.ndarray:
    """Rank of each item among items of equal score, int64 [n_items]: a permutation, the lower rank comes first.

    Ids often carry age, so ties must not be broken by position. The ranks come from one stream of random numbers,
    so items appended later do not change the order among the earlier ones.
    """
    draws = np.random.default_rng(seed).random(n_items)
    order = np.empty(n_items, dtype=np.int64)
    order[np.argsort(draws, kind="stable")] = np.arange(n_items, dtype=np.int64)
    return order


def top_k(scores: np.ndarray, k: int, tie_order: np.ndarray) -> np.ndarray:
    """Columns of the k highest scores of each row, best first, int64 [B, min(k, C)].

    `scores` is [B, C]; `tie_order` [C] decides among equal scores (lower first), also at the k-th place, so the
    result depends on nothing else. Entries of -inf are allowed and come last.

    Raises ValueError where k < 1, where the shapes disagree, or where a score is NaN.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if scores.ndim != 2 or tie_order.shape != (scores.shape[1],):
        raise ValueError(f"scores must be [B, C] and tie_order [C], got {scores.shape} and {tie_order.shape}")
    n_rows, n_columns = scores.shape
    k = min(k, n_columns)
    if n_rows == 0 or k == 0:
        return np.empty((n_rows, k), dtype=np.int64)
    if np.isnan(scores).any():
        raise ValueError("scores contain NaN: they cannot be ranked; check the model's weights and features")
    # With the columns in tie order, "the earlier column wins" is the tie rule.
    columns = np.argsort(tie_order, kind="stable")
    ordered = scores[:, columns]
    threshold = np.partition(ordered, n_columns - k, axis=1)[:, n_columns - k, None]
    above = ordered > threshold
    level = ordered == threshold
    free = k - above.sum(axis=1, keepdims=True)
    chosen = above | (level & (np.cumsum(level, axis=1, dtype=np.int32) <= free))
    positions = np.nonzero(chosen)[1].reshape(n_rows, k)
    best_first = np.argsort(-np.take_along_axis(ordered, positions, axis=1), axis=1, kind="stable")
    return columns[np.take_along_axis(positions, best_first, axis=1)]


@dataclass
class Recommendations:
    """Ranked lists, one a user, best item first; a list is shorter than k where fewer items could be recommended."""

    user_ids: list[str]
    item_ids: list[list[str]]
    titles: list[list[str]]
    scores: list[list[float]]

    def to_frame(self) -> pd.DataFrame:
        """One row a recommendation: user_id, rank (from 1), item_id, title, score."""
        import pandas as pd

        rows = [
            (user, rank, *entry)
            for user, *lists in zip(self.user_ids, self.item_ids, self.titles, self.scores, strict=True)
            for rank, entry in enumerate(zip(*lists, strict=True), start=1)
        ]
        return pd.DataFrame(rows, columns=["user_id", "rank", "item_id", "title", "score"])


@dataclass
class Catalog:
    """Ids, titles and seen items of one recommender; positions in the lists are the model's indices.

    `seen_indptr` int64 [U + 1] and `seen_indices` int32 [nnz] hold the items each user has interacted with,
    in the layout of a CSR matrix.
    """

    item_ids: list[str]
    titles: list[str]
    user_ids: list[str]
    seen_indptr: np.ndarray
    seen_indices: np.ndarray
    _item_index: dict[str, int] = field(init=False, repr=False, compare=False)
    _user_index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.seen_indptr = np.asarray(self.seen_indptr, dtype=np.int64)
        self.seen_indices = np.asarray(self.seen_indices, dtype=np.int32)
        if len(self.titles) != len(self.item_ids):
            raise ValueError(f"{len(self.item_ids)} item ids but {len(self.titles)} titles: give one title an item")
        fits = len(self.seen_indptr) == self.n_users + 1 and self.seen_indptr[-1] == len(self.seen_indices)
        if fits and len(self.seen_indices):
            fits = 0 <= self.seen_indices.min() <= self.seen_indices.max() < self.n_items
        if not fits:
            raise ValueError("the seen items do not fit the users and items: the files come from different models")
        self._item_index = _index(self.item_ids, "item")
        self._user_index = _index(self.user_ids, "user")

    @classmethod
    def from_split(cls, data: Any, split: Any) -> Catalog:
        """Catalogue of a split's id space, seen items from its history; `data` (Interactions) gives the titles.

        Without `data` (None) the titles are empty strings.
        """
        history = split.history_matrix()
        titles = [""] * split.n_items if data is None else [str(title) for title in data.items["title"]]
        items, users = ([str(identity) for identity in ids] for ids in (split.item_ids, split.user_ids))
        return cls(items, titles, users, history.indptr, history.indices)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def user_index(self, user_ids: Sequence[str]) -> np.ndarray:
        """Positions of the users, int64 [B]. Raises KeyError naming an unknown id."""
        return _lookup(
            self._user_index,
            user_ids,
            "unknown user {id!r}: for somebody who was not in the training data use recommend_for_profile(text)",
        )

    def item_index(self, item_ids: Sequence[str]) -> np.ndarray:
        """Positions of the items, int64 [C]. Raises KeyError naming an unknown id."""
        return _lookup(self._item_index, item_ids, "unknown item {id!r}: it is not in the catalogue; add it first")

    def seen(self, user: int) -> np.ndarray:
        """Positions of the items that the user at position `user` has interacted with, int32 [n]."""
        return self.seen_indices[self.seen_indptr[user] : self.seen_indptr[user + 1]]

    def add_items(self, item_ids: Sequence[str], titles: Sequence[str]) -> np.ndarray:
        """Append items that nobody has seen yet and return their positions, int64 [n].

        The model must be able to score the new positions. Raises ValueError naming an id that is there already
        (nothing is added then), or where ids and titles differ in number.
        """
        if len(item_ids) != len(titles):
            raise ValueError(f"{len(item_ids)} item ids but {len(titles)} titles: give one title an item")
        known = set(self._item_index)
        for item in item_ids:
            if item in known:
                raise ValueError(f"item {item!r} is in the catalogue already: give new items only, each of them once")
            known.add(item)
        first = self.n_items
        self.item_ids.extend(item_ids)
        self.titles.extend(titles)
        self._item_index.update({item: first + offset for offset, item in enumerate(item_ids)})
        return np.arange(first, self.n_items, dtype=np.int64)

    def save(self, folder: str | Path) -> None:
        """Write catalog.parquet, users.parquet and catalog.safetensors; each file appears whole or not at all."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"seen_indptr": self.seen_indptr, "seen_indices": self.seen_indices}
        write_atomically(folder / TENSORS_FILE, lambda path: save_file(tensors, path))
        _write_strings(folder / CATALOG_FILE, {"item_id": self.item_ids, "title": self.titles})
        _write_strings(folder / USERS_FILE, {"user_id": self.user_ids})

    @classmethod
    def load(cls, folder: str | Path) -> Catalog:
        """Read what `save` wrote. Raises FileNotFoundError or ValueError naming the file that is missing or broken."""
        folder = Path(folder)
        items = _read_strings(folder / CATALOG_FILE, ("item_id", "title"))
        users = _read_strings(folder / USERS_FILE, ("user_id",))
        tensors = read_tensors(folder / TENSORS_FILE, ("seen_indptr", "seen_indices"))
        return cls(items["item_id"], items["title"], users["user_id"], tensors["seen_indptr"], tensors["seen_indices"])


class CatalogRecommender:
    """Mixin that turns `score` into recommendations. It needs `self.catalog` and `self.score`."""

    catalog: Catalog

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores of users (int64 [B]) for items (int64 [C]), both positions in the catalogue: float32 [B, C].

        -inf says that the item cannot be scored; such an item is never recommended.
        """
        raise NotImplementedError(f"{type(self).__name__} must define score(users, items)")

    def recommendable(self) -> np.ndarray | None:
        """Items that this model may recommend, bool [n_items]; None stands for all of them."""
        return None

    def recommend(
        self,
        user_ids: Sequence[str],
        k: int = 20,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
    ) -> Recommendations:
        """The k best items for each user, out of `candidates` (item ids; None: the whole catalogue).

        Seen items are left out unless `exclude_seen` is False, and so are items that the model cannot score:
        a list is shorter than k where fewer items remain. Memory is bounded by scoring users in blocks.

        Raises KeyError naming an unknown user or candidate, ValueError for k < 1 or a single string of ids.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        catalog = self.catalog
        users = catalog.user_index(user_ids)
        items = self._candidate_positions(candidates)
        ties = tie_order(catalog.n_items)[items]
        ranked: list[tuple[np.ndarray, np.ndarray]] = []
        block_size = max(1, BLOCK_CELLS // max(1, len(items)))
        for start in range(0, len(users), block_size):
            block = users[start : start + block_size]
            scores = np.array(self.score(block, items), dtype=np.float32)
            if exclude_seen:
                _mask_seen(scores, catalog, block, items)
            ranked.extend(_finite_rows(scores, top_k(scores, k, ties)))
        lists = [items[columns] for columns, _ in ranked]
        return Recommendations(
            user_ids=list(user_ids),
            item_ids=[[catalog.item_ids[item] for item in row] for row in lists],
            titles=[[catalog.titles[item] for item in row] for row in lists],
            scores=[[float(value) for value in values] for _, values in ranked],
        )

    def _candidate_positions(self, candidates: Sequence[str] | None) -> np.ndarray:
        catalog = self.catalog
        items = np.arange(catalog.n_items) if candidates is None else np.unique(catalog.item_index(candidates))
        allowed = self.recommendable()
        return items if allowed is None else items[allowed[items]]


def write_atomically(path: Path, write: Callable[[str], Any]) -> None:
    """Call `write` with the name of a file beside `path`, then move it there whole; an OSError names `path`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        write(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)  # mkstemp makes private files; others may read this one as far as the umask lets them
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"{path} could not be written ({error}): free some space and try again") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_tensors(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file. Raises FileNotFoundError, or ValueError naming a broken file or missing arrays."""
    from safetensors.numpy import load_file

    _require(path)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}): save or fetch it again") from error
    missing = [name for name in names or () if name not in tensors]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: save or fetch it again")
    return tensors


def _write_strings(path: Path, columns: Mapping[str, list[str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(values, type=pa.string()) for name, values in columns.items()})
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


def _read_strings(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _require(path)
    try:
        table = pq.ParquetFile(path).read()
        return {name: table.column(name).cast(pa.string()).to_pylist() for name in columns}
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(f"{path} is not a readable table of {', '.join(columns)} ({error}): fetch it again") from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the folder does not hold a whole saved recommender")


def _index(ids: list[str], what: str) -> dict[str, int]:
    index = {identity: position for position, identity in enumerate(ids)}
    if len(index) != len(ids):
        repeated = next(identity for position, identity in enumerate(ids) if index[identity] != position)
        raise ValueError(f"{what} id {repeated!r} occurs more than once in the catalogue: ids must be unique")
    return index


def _lookup(index: Mapping[str, int], ids: Sequence[str], message: str) -> np.ndarray:
    if isinstance(ids, str):
        raise ValueError(f"give a list of ids, [{ids!r}], not the single string {ids!r}")
    positions = np.empty(len(ids), dtype=np.int64)
    for place, identity in enumerate(ids):
        position = index.get(identity)
        if position is None:
            raise KeyError(message.format(id=identity))
        positions[place] = position
    return positions


def _mask_seen(scores: np.ndarray, catalog: Catalog, users: np.ndarray, items: np.ndarray) -> None:
    column = np.full(catalog.n_items, -1, dtype=np.int64)
    column[items] = np.arange(len(items))
    for row, user in enumerate(users):
        seen = column[catalog.seen(user)]
        scores[row, seen[seen >= 0]] = -np.inf


def _finite_rows(scores: np.ndarray, columns: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    values = np.take_along_axis(scores, columns, axis=1)
    for row_columns, row_values in zip(columns, values, strict=True):
        if np.isposinf(row_values).any():
            raise ValueError("scores contain +inf: they cannot be shown; check the model's weights and features")
        kept = np.isfinite(row_values)
        yield row_columns[kept], row_values[kept]
