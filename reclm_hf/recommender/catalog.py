"""What every recommender carries beside its weights (ids, titles, categories, seen items), and `recommend()` over it.

The rest of the package takes what `files` and `ranking` hold from here. None of these files imports another part of
it, because custom code on the Hub travels with its own folder only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import read_string_lists, read_strings, read_tensors, require_short, write_atomically, write_strings
from .integrity import renew_hashes
from .lookup import index_of, positions_of, unknown_category
from .ranking import BLOCK_CELLS, RankedBlock, Recommendations, block_users, every_item, rank_blocks, tie_order, top_k

if TYPE_CHECKING:
    from .batch import Written

__all__ = [
    "BLOCK_CELLS",
    "CATALOG_FILE",
    "TENSORS_FILE",
    "USERS_FILE",
    "Catalog",
    "CatalogRecommender",
    "RankedBlock",
    "Recommendations",
    "eligible_items",
    "rank_blocks",
    "read_tensors",
    "tie_order",
    "top_k",
    "write_atomically",
]

CATALOG_FILE = "catalog.parquet"
USERS_FILE = "users.parquet"
TENSORS_FILE = "catalog.safetensors"


@dataclass
class Catalog:
    """Ids, titles, categories and seen items of one recommender; positions in the lists are the model's indices.

    `seen_indptr` int64 [U + 1] and `seen_indices` int32 [nnz] hold the items each user has interacted with,
    in the layout of a CSR matrix. `categories` has a list of names for each item; left out, no item has any.
    """

    item_ids: list[str]
    titles: list[str]
    user_ids: list[str]
    seen_indptr: np.ndarray
    seen_indices: np.ndarray
    categories: list[list[str]] = field(default_factory=list)
    _item_index: dict[str, int] = field(init=False, repr=False, compare=False)
    _user_index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.seen_indptr = np.asarray(self.seen_indptr, dtype=np.int64)
        self.seen_indices = np.asarray(self.seen_indices, dtype=np.int32)
        self.categories = self.categories or [[] for _ in self.item_ids]
        _require_one_each(self.item_ids, self.titles, self.categories)
        for what, texts in (("item id", self.item_ids), ("title", self.titles), ("user id", self.user_ids)):
            require_short(what, texts)
        require_short("category", list(chain.from_iterable(self.categories)))
        fits = self.seen_indptr.shape == (self.n_users + 1,) and self.seen_indices.ndim == 1
        fits = fits and self.seen_indptr[0] == 0 and self.seen_indptr[-1] == len(self.seen_indices)
        fits = fits and bool((np.diff(self.seen_indptr) >= 0).all())
        if fits and len(self.seen_indices):
            fits = 0 <= self.seen_indices.min() <= self.seen_indices.max() < self.n_items
        if not fits:
            raise ValueError("the seen items do not fit the users and items: the files come from different models")
        self._item_index = index_of(self.item_ids, "item")
        self._user_index = index_of(self.user_ids, "user")

    @classmethod
    def from_split(cls, data: Any, split: Any) -> Catalog:
        """Catalogue of a split's id space, seen items from its history; `data` (Interactions) gives the rest.

        Without `data` (None) the titles are empty strings, and no item has a category.
        """
        history = split.history_matrix()
        items, users = ([str(identity) for identity in ids] for ids in (split.item_ids, split.user_ids))
        if data is None:
            return cls(items, [""] * len(items), users, history.indptr, history.indices)
        titles = [str(title) for title in data.items["title"]]
        categories = [[str(name) for name in names] for names in data.items["categories"]]
        return cls(items, titles, users, history.indptr, history.indices, categories)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def user_index(self, user_ids: Sequence[str]) -> np.ndarray:
        """Positions of the users, int64 [B]. Raises KeyError naming the unknown ids."""
        return positions_of(
            self._user_index,
            user_ids,
            "unknown user {ids}: for somebody who was not in the training data use recommend_for_history(item_ids) or "
            "recommend_for_profile(text)",
        )

    def item_index(self, item_ids: Sequence[str]) -> np.ndarray:
        """Positions of the items, int64 [C]. Raises KeyError naming the unknown ids."""
        return positions_of(
            self._item_index,
            item_ids,
            "unknown item {ids}: not in the catalogue; correct the id, leave it out, or add the item first",
        )

    def seen(self, user: int) -> np.ndarray:
        """Positions of the items that the user at position `user` has interacted with, int32 [n]."""
        return self.seen_indices[self.seen_indptr[user] : self.seen_indptr[user + 1]]

    def in_categories(self, categories: Sequence[str]) -> np.ndarray:
        """Which items have at least one of the categories (exact names), bool [n_items].

        Raises ValueError for a category that no item has, naming close ones or the most common, for an empty list,
        and for a single string.
        """
        if isinstance(categories, str):
            raise ValueError(f"give a list of categories, [{categories!r}], not the single string {categories!r}")
        wanted = set(categories)
        if not wanted:
            raise ValueError("the list of categories is empty: name at least one, or leave it out for all items")
        outside = np.fromiter(map(wanted.isdisjoint, self.categories), dtype=bool, count=self.n_items)
        unknown = wanted.difference(chain.from_iterable(compress(self.categories, ~outside)))
        if unknown:
            raise ValueError(unknown_category(min(unknown), self.categories))
        return ~outside

    def add_items(
        self, item_ids: Sequence[str], titles: Sequence[str], categories: Sequence[Sequence[str]] | None = None
    ) -> np.ndarray:
        """Append items that nobody has seen yet and return their positions, int64 [n].

        The model must be able to score the new positions. Without `categories` (None) the new items have none.
        Raises ValueError naming an id that is there already (nothing is added then), or where ids, titles and
        categories differ in number.
        """
        categories = [[] for _ in item_ids] if categories is None else categories
        _require_one_each(item_ids, titles, categories)
        known = set(self._item_index)
        for item in item_ids:
            if item in known:
                raise ValueError(f"item {item!r} is in the catalogue already: give new items only, each of them once")
            known.add(item)
        first = self.n_items
        self.item_ids.extend(item_ids)
        self.titles.extend(titles)
        self.categories.extend(list(names) for names in categories)
        self._item_index.update({item: first + offset for offset, item in enumerate(item_ids)})
        return np.arange(first, self.n_items, dtype=np.int64)

    def save(self, folder: str | Path) -> None:
        """Write catalog.parquet, users.parquet and catalog.safetensors; each file appears whole or not at all.

        A manifest of the folder that states hashes gets the new ones.
        """
        from safetensors.numpy import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"seen_indptr": self.seen_indptr, "seen_indices": self.seen_indices}
        write_atomically(folder / TENSORS_FILE, lambda path: save_file(tensors, path))
        columns = {"item_id": self.item_ids, "title": self.titles}
        write_strings(folder / CATALOG_FILE, columns, {"categories": self.categories})
        write_strings(folder / USERS_FILE, {"user_id": self.user_ids})
        renew_hashes(folder, (CATALOG_FILE, USERS_FILE, TENSORS_FILE))

    @classmethod
    def load(cls, folder: str | Path) -> Catalog:
        """Read what `save` wrote. Raises FileNotFoundError or ValueError naming the file that is missing or broken."""
        folder = Path(folder)
        items = read_strings(folder / CATALOG_FILE, ("item_id", "title"))
        categories = read_string_lists(folder / CATALOG_FILE, "categories")
        users = read_strings(folder / USERS_FILE, ("user_id",))["user_id"]
        seen = read_tensors(folder / TENSORS_FILE, ("seen_indptr", "seen_indices"))
        for name, kind in (("seen_indptr", np.int64), ("seen_indices", np.int32)):
            if seen[name].dtype.kind not in "iu" or (seen[name] != seen[name].astype(kind)).any():
                raise ValueError(
                    f"{folder / TENSORS_FILE}: {name} does not hold {kind.__name__}: save or fetch it again"
                )
        try:
            return cls(items["item_id"], items["title"], users, seen["seen_indptr"], seen["seen_indices"], categories)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error


def eligible_items(
    catalog: Catalog,
    candidates: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    deny: Sequence[str] | None = None,
    recommendable: np.ndarray | None = None,
) -> np.ndarray:
    """Positions of the items that pass every filter, int64 [C], ascending; a filter that is None lets all pass.

    Args:
        candidates: ids that may be shown, no others.
        categories: names of which an item must have at least one.
        deny: ids that must not be shown.
        recommendable: bool [n_items], what the model may recommend at all.

    Raises:
        KeyError: an id is not in the catalogue; the message names it.
        ValueError: an unknown category, or a single string in place of a list.
    """
    if candidates is None and categories is None and deny is None and recommendable is None:
        return every_item(catalog.n_items)
    passes = np.ones(catalog.n_items, dtype=bool) if recommendable is None else recommendable.copy()
    if candidates is not None:
        listed = np.zeros(catalog.n_items, dtype=bool)
        listed[catalog.item_index(candidates)] = True
        passes &= listed
    if categories is not None:
        passes &= catalog.in_categories(categories)
    if deny is not None:
        passes[catalog.item_index(deny)] = False
    return np.flatnonzero(passes)


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

    def eligible_items(
        self,
        candidates: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Positions of the items that pass the filters and that this model may recommend; see `eligible_items`."""
        return eligible_items(self.catalog, candidates, categories, deny, self.recommendable())

    def recommend(
        self,
        user_ids: Sequence[str],
        k: int = 20,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
    ) -> Recommendations:
        """The k best items for each user, out of those that pass the filters.

        Seen items are left out unless `exclude_seen` is False, and so are items that the model cannot score:
        a list is shorter than k where fewer items remain. Memory is bounded by scoring users in blocks.

        Args:
            candidates: ids that may be recommended, no others; None: the whole catalogue.
            categories: exact names, of which an item must have at least one.
            deny: ids that are never recommended.

        Raises:
            KeyError: an unknown user or item; the message names it.
            ValueError: k < 1, an unknown category (close ones are named), or a single string in place of a list.
        """
        users = self.catalog.user_index(user_ids)
        items = self.eligible_items(candidates, categories, deny)
        item_ids, titles = self.catalog.item_ids, self.catalog.titles
        found = Recommendations(list(user_ids), [], [], [])
        for block in self.ranked(users, items, k, exclude_seen=exclude_seen):
            ends = np.cumsum(block.counts)[:-1]
            for positions, scores in zip(np.split(block.items, ends), np.split(block.scores, ends), strict=True):
                found.item_ids.append([item_ids[item] for item in positions])
                found.titles.append([titles[item] for item in positions])
                found.scores.append(scores.tolist())
        return found

    def recommend_all(
        self,
        path: str | Path,
        k: int = 20,
        user_ids: Sequence[str] | None = None,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
        block: int | None = None,
        progress: bool = True,
    ) -> Written:
        """Write the k best items of every user to a Parquet file, which appears whole or not at all.

        The columns are user_id, rank (int32, from 1), item_id, title and score (float32), the users in the order of
        the catalogue or of `user_ids`. Memory does not grow with the number of users.

        Args:
            user_ids: only these users; None: all of them.
            block: how many users are scored at a time; None: so many that their scores take some 16 MiB.
            progress: whether to show a progress bar.

        The filters and errors are those of `recommend`; also OSError where the file cannot be written.

        Returns:
            How many users and rows there are, and for how many users nothing remained: they have no row.
        """
        from .batch import write_recommendations

        catalog = self.catalog
        users = np.arange(catalog.n_users) if user_ids is None else catalog.user_index(user_ids)
        items = self.eligible_items(candidates, categories, deny)
        blocks = self.ranked(users, items, k, exclude_seen=exclude_seen, block=block)
        return write_recommendations(Path(path), blocks, catalog, len(users), progress)

    def ranked(
        self, users: np.ndarray, items: np.ndarray, k: int, *, exclude_seen: bool = True, block: int | None = None
    ) -> Iterator[RankedBlock]:
        """Ranked lists of positions, a block of users at a time; `users` int64 [U], `items` int64 [C]."""
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if block is not None and block < 1:
            raise ValueError(f"block must be at least 1 user, got {block}")
        catalog = self.catalog
        seen = (catalog.seen_indptr, catalog.seen_indices) if exclude_seen else None
        size = block_users(len(items)) if block is None else block
        return rank_blocks(self.score, users, items, k, ties=tie_order(catalog.n_items), seen=seen, block=size)


def _require_one_each(item_ids: Sequence[str], titles: Sequence[str], categories: Sequence[Sequence[str]]) -> None:
    if len(titles) != len(item_ids):
        raise ValueError(f"{len(item_ids)} item ids but {len(titles)} titles: give one title an item")
    if len(categories) != len(item_ids):
        raise ValueError(f"{len(item_ids)} item ids but {len(categories)} lists of categories: give one list an item")
