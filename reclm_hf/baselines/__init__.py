"""The floors: simple recommenders that must stand beside every result, with the same `recommend()` as the model.

`FLOORS` maps a name to its class and imports the class only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Floor

_CLASSES = {
    "random": ("random_order", "RandomOrder"),
    "popularity": ("popularity", "Popularity"),
    "popularity_decayed": ("popularity", "DecayedPopularity"),
    "item_knn": ("item_knn", "ItemKNN"),
    "ease": ("ease", "EASE"),
    "text_cosine": ("text_cosine", "TextCosine"),
    "text_popularity": ("text_popularity", "TextPopularityFloor"),
    "mix": ("mix", "Mix"),
    "dropoutnet_style": ("dropoutnet", "DropoutNet"),
    "clcrec_style": ("clcrec", "CLCRec"),
}


class _Registry(Mapping[str, "type[Floor]"]):
    def __getitem__(self, name: str) -> type[Floor]:
        if name not in _CLASSES:
            raise KeyError(f"unknown floor {name!r}: choose one of {', '.join(_CLASSES)}")
        module, attribute = _CLASSES[name]
        floor: type[Floor] = getattr(import_module(f".{module}", __name__), attribute)
        return floor

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


FLOORS: Mapping[str, type[Floor]] = _Registry()
