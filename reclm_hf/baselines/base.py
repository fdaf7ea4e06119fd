"""What every floor has: fitted state, scores over the id space of a split, saving and loading."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ..recommender.catalog import Catalog, CatalogRecommender, read_tensors, write_atomically
from . import FLOORS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from ..data.interactions import Interactions
    from ..data.splits import Split

CONFIG_FILE = "config.json"
STATE_FILE = "floor.safetensors"


@dataclass(eq=False)
class Floor(CatalogRecommender, ABC):
    """A floor: a dataclass whose fields are its hyper-parameters; `fit` fills `catalog` and `state`.

    Scores are float32 over the split's id space. A floor that knows items by id only gives every item without
    history one finite score below all warm items, so that its order among cold items is the order of ties, which is
    random; `recommend` never returns such an item (`recommends_cold` is False). A floor scores the items it
    was fitted with; after `catalog.add_items` it must be fitted again.

    Class attributes:
        name: key in `FLOORS`.
        recommends_cold: whether items without history have scores of their own.
        needs_vectors: whether `fit` needs item text vectors.
        search_space: hyper-parameter -> values to try, the simplest first.
        search_stages: (setting, hyper-parameters) pairs; the values of a stage are chosen together by recall@20 in
            that setting, stage after stage. Empty: one stage of everything, by `select_on`.
        score_params: hyper-parameters that `score` uses and `fit` does not.
    """

    name: ClassVar[str]
    recommends_cold: ClassVar[bool]
    needs_vectors: ClassVar[bool] = False
    search_space: ClassVar[dict[str, list[Any]]] = {}
    search_stages: ClassVar[tuple[tuple[str, tuple[str, ...]], ...]] = ()
    select_on: ClassVar[str] = "catalogue"
    score_params: ClassVar[frozenset[str]] = frozenset()

    state: dict[str, np.ndarray] = field(init=False, repr=False, default_factory=dict)

    @property
    def params(self) -> dict[str, Any]:
        """The hyper-parameters, as the constructor takes them."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.init}

    @classmethod
    def stages(cls) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(setting, hyper-parameters) of each stage of the search."""
        return cls.search_stages or ((cls.select_on, tuple(cls.search_space)),)

    def fit(self, split: Split, vectors: np.ndarray | None = None, data: Interactions | None = None) -> Self:
        """Fit on the history of `split`; its targets are not touched.

        Args:
            vectors: [I, d] float32 item text vectors in the split's id space; floors on ids ignore them.
            data: gives the titles that `recommend` shows; without it they are empty.

        Raises:
            ValueError: vectors are needed and missing, or not one a item.
        """
        if vectors is None:
            if self.needs_vectors:
                raise ValueError(f"the floor {self.name!r} scores texts: give the item text vectors to fit()")
            vectors = np.empty((split.n_items, 0), dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != split.n_items:
            raise ValueError(f"vectors must be [{split.n_items}, d], one row an item, got {vectors.shape}")
        if not len(split.history_item):
            raise ValueError(f"the split {split.name!r} has no history: there is nothing to fit {self.name!r} on")
        self.catalog = Catalog.from_split(data, split)
        self.state = {"warm": split.warm.copy()}
        self.state.update(self._fit(split, vectors))
        return self

    @abstractmethod
    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        """Arrays that `score` reads from `self.state` afterwards, where `warm` [I] bool is too."""

    def with_score_params(self, **params: Any) -> Self:
        """A floor with the same fitted state and other `score_params`; nothing is fitted again."""
        other = set(params) - self.score_params
        if other:
            raise ValueError(f"{', '.join(sorted(other))} of {self.name!r} need a new fit()")
        twin = copy.copy(self)
        for name, value in params.items():
            setattr(twin, name, value)
        return twin

    def recommendable(self) -> np.ndarray | None:
        """Warm items only, unless the floor has scores for cold ones; bool [I]."""
        return None if self.recommends_cold else self.state["warm"]

    def history_rows(self, users: np.ndarray) -> csr_array:
        """Seen items of the users, float32 [B, I] of ones."""
        from scipy.sparse import csr_array

        indptr, indices = self.catalog.seen_indptr, self.catalog.seen_indices
        matrix = csr_array(
            (np.ones(len(indices), dtype=np.float32), indices, indptr),
            shape=(self.catalog.n_users, self.catalog.n_items),
        )
        return matrix[users]

    def save(self, folder: str | Path) -> None:
        """Write config.json, floor.safetensors and the catalogue; `load` gives a floor of equal scores."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        self.catalog.save(folder)
        tensors = {name: np.ascontiguousarray(values) for name, values in self.state.items()}
        write_atomically(folder / STATE_FILE, lambda path: save_file(tensors, path))
        text = json.dumps({"floor": self.name, "params": self.params}, indent=2) + "\n"
        write_atomically(folder / CONFIG_FILE, lambda path: Path(path).write_text(text, encoding="utf-8"))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; `Floor.load` reads any floor.

        Raises FileNotFoundError or ValueError naming the file that is missing or broken, ValueError where the folder
        holds another floor than the class that was asked for.
        """
        folder = Path(folder)
        path = folder / CONFIG_FILE
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            floor = FLOORS[config["floor"]](**config["params"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not the configuration of a floor ({error}): save it again") from error
        if not isinstance(floor, cls):
            raise ValueError(f"{path} is of the floor {floor.name!r}: use {type(floor).__name__}.load or Floor.load")
        floor.catalog = Catalog.load(folder)
        floor.state = read_tensors(folder / STATE_FILE)
        return floor


@contextmanager
def one_thread() -> Iterator[None]:
    """torch works with one thread inside: sums come in the same order on every machine, so that a seed repeats."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def prefixed(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays under `prefix.name`."""
    return {f"{prefix}.{name}": values for name, values in arrays.items()}


def unprefixed(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays that `prefixed` put under `prefix`, under their own names again."""
    start = prefix + "."
    return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}
