"""What is computed once: for a recommender, kept as long as it is; or when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from .world import Scorer, World

T = TypeVar("T")


class Once(Generic[T]):
    """`make(world)`, called once for each recommender; several threads may ask at once, and the others wait.

    Neither the recommender nor the texts and profiles beside it may change afterwards. What is made must not hold the
    recommender, or neither would ever be let go.
    """

    def __init__(self, make: Callable[[World], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[Later[Scorer], T] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, world: World) -> T:
        with self._lock:
            if world.scorer not in self._made:
                self._made[world.scorer] = self._make(world)
            return self._made[world.scorer]


class Later(Generic[T]):
    """`make()`, called once, by whoever asks first; several threads may ask at once, and the others wait.

    What it raises is raised to everybody who asks.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._lock = threading.Lock()

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
