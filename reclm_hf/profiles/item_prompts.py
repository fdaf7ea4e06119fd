"""The request for an item's profile: the audience that it finds (RecLM section 6.6).

Two phases, two questions. An item that people have chosen is described by the profiles of some of them. An item that
nobody has touched yet is described by its own text and by the audiences of the items most like it.
"""

from __future__ import annotations

from collections.abc import Sequence

from .profile import Profile, render
from .prompts import ItemLine, Message, PromptStyle, in_language

ITEM_PROMPT_VERSION = "item-1"

_SYSTEM = (
    "You describe the audience of a thing. Answer with five short identities of the people who choose it and five "
    "short interests of theirs. Be specific: name what this thing offers them."
)
_QUESTION = "What kind of people choose this thing, and what do they enjoy?"


def item_message(item: ItemLine, identities: Sequence[str], interests: Sequence[str]) -> Message:
    """Phase 1: what stands out in the profiles of users who chose the item, and the item."""
    lines = ["The people who chose this thing are: " + ", ".join(identities), "They enjoy: " + ", ".join(interests)]
    return {"role": "user", "content": "\n".join([*lines, _thing(item), _QUESTION])}


def cold_item_message(item: ItemLine, similar: Sequence[tuple[ItemLine, Profile]]) -> Message:
    """Phase 2: similar items with their profiles, and an item that nobody has chosen."""
    lines = ["Similar things, and who chooses them:"]
    lines += [f"- {line.title}: {_shown(profile)}" for line, profile in similar]
    return {"role": "user", "content": "\n".join([*lines, _thing(item), _QUESTION])}


def item_examples(style: PromptStyle) -> tuple[Message, ...]:
    """What every request for an item's profile begins with, in both phases: one example of each."""
    return (in_language(_EXAMPLES[0], style.language), *_EXAMPLES[1:])


def _thing(item: ItemLine) -> str:
    return "The thing: " + str(item).removeprefix("- ")


def _shown(profile: Profile) -> str:
    """Three of each at most: a prompt is paid by the token."""
    return f"{', '.join(profile.identities[:3])}; {', '.join(profile.interests[:3])}"


def _profile(identities: str, interests: str) -> Profile:
    return Profile(tuple(identities.split(", ")), tuple(interests.split(", ")))


def _answer(identities: str, interests: str) -> Message:
    return {"role": "assistant", "content": render(_profile(identities, interests))}


_EXAMPLES: tuple[Message, ...] = (
    {"role": "system", "content": _SYSTEM},
    item_message(
        ItemLine("Japanese Pull Saw", ("woodworking", "hand tools")),
        ["hand tool collector", "furniture restorer", "garden lover", "patient craftsman"],
        ["dovetail joints", "old cabinets", "campfire cooking", "oak furniture making"],
    ),
    _answer(
        "hand tool collector, furniture restorer, weekend woodworker, patient craftsman, workshop tinkerer",
        "fine joinery, oak furniture making, sharpening by hand, quiet workshop evenings, old cabinets",
    ),
    cold_item_message(
        ItemLine("Lute Songs of the North", ("folk", "early music")),
        [
            (
                ItemLine("Ballads from the Fells"),
                _profile(
                    "folk song enthusiast, storytelling fan, fiddle player",
                    "northern ballads, village dances, winter tales",
                ),
            ),
            (
                ItemLine("A Consort of Viols"),
                _profile(
                    "early music lover, choir singer, museum goer",
                    "renaissance courts, chamber concerts, old instruments",
                ),
            ),
        ],
    ),
    _answer(
        "early music lover, folk song enthusiast, choir singer, storytelling fan, lute student",
        "northern ballads, renaissance courts, old instruments, candlelit concerts, winter tales",
    ),
)
