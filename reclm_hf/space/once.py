"""What is computed once for a recommender and kept as long as it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from ..recommender.modeling_reclm_recommender import RecLMRecommender
    from .world import World

T = TypeVar("T")


class Once(Generic[T]):
    """`make(world)`, called once for each recommender; several threads may ask at once, and the others wait.

    Neither the recommender nor the texts and profiles beside it may change afterwards. What is made must not hold the
    recommender, or neither would ever be let go.
    """

    def __init__(self, make: Callable[[World], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[RecLMRecommender, T] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, world: World) -> T:
        with self._lock:
            if world.model not in self._made:
                self._made[world.model] = self._make(world)
            return self._made[world.model]
