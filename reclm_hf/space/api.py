"""The four named endpoints: plain functions of a world, from JSON to JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from . import answers

if TYPE_CHECKING:
    from .world import World

Endpoint = Callable[..., dict[str, Any]]


def endpoints(world: World) -> dict[str, Endpoint]:
    """api_name -> function. A call may bring anything that JSON can hold; what is refused raises a `Sentence`."""

    def recommend_user(user_id: str, k: int = 10) -> dict[str, Any]:
        """Recommend for a user of the data, with the profile and without it."""
        return asdict(answers.recommend_user(world, user_id, k))

    def recommend_profile(profile: str, user_id: str = "", k: int = 10) -> dict[str, Any]:
        """Recommend for somebody new whom a profile describes; with user_id, for that user as if it said this."""
        return asdict(answers.recommend_profile(world, profile, k, user_id))

    def recommend_history(item_ids: list[str], profile: str = "", k: int = 10) -> dict[str, Any]:
        """Recommend for somebody new who chose these items and, where given, is described by a profile."""
        return asdict(answers.recommend_history(world, item_ids, k, profile))

    def place_item(title: str, text: str = "", k: int = 10) -> dict[str, Any]:
        """Where a new item would stand: what it resembles, who would like it, its rank among the cold items."""
        return asdict(answers.place_item(world, title, text, k))

    named = (recommend_user, recommend_profile, recommend_history, place_item)
    return {function.__name__: function for function in named}
