"""What the Space answers about users, known and new: plain data for the page and for its API.

Every input may be anything that JSON can hold: what cannot be answered raises a `Sentence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..profiles.profile import from_lists, render
from ..recommender.someone import Someone
from . import audience, evidence
from .answers_items import place_item
from .comparing import (
    AS_WRITTEN,
    EVERYTHING_CHOSEN,
    NOBODY_KNOWN,
    WHOLE_HISTORY,
    WITHOUT_PROFILE,
    Comparison,
    both,
    listed,
)
from .search import folded_titles, search_items, search_users
from .shapes import ItemAnswer, Listed, Neighbour, Person, Phrase, Reader, Sentence, UserAnswer
from .words import (
    MOST_PROFILE,
    check_count,
    check_text,
    clean_text,
    cut_off,
    find_item,
    find_items,
    find_user,
    folded,
    joined,
    shortened,
    shown,
)

if TYPE_CHECKING:
    from ..recommender.what_if import Ranking
    from .world import World

__all__ = [
    "ItemAnswer",
    "Listed",
    "Neighbour",
    "Person",
    "Phrase",
    "Reader",
    "Sentence",
    "UserAnswer",
    "check_text",
    "place_item",
    "prepare",
    "recommend_history",
    "recommend_profile",
    "recommend_user",
    "search_items",
    "search_users",
    "without_interest",
    "without_item",
]

_ALONE = "This list stands alone: the model ranks nothing for somebody of whom nothing is known."
_NO_PROFILES = "this recommender reads no profiles of users"
# Profile modes in which nothing that is written of a user reaches the model.
_SAME_FOR_ALL = ("constant", "raw_text")
_PLACEBOS = {
    "random": "it reads random numbers in the place of this profile.",
    "shuffled": "it reads the profile of another user, drawn by chance, in the place of this one.",
    "neighbour": "it reads the profile of a similar user in the place of this one.",
    "masked_titles": "it reads profiles that were written with ids in the place of titles.",
}
_NEVER_READ = "the model has nothing in the place of a profile of this user."
_NOT_WRITTEN = "no profile of this user is known; write one to see what it would change."
_NOT_READ = "the model does not have the profile of this user; edit it to see what it would change."
_NO_TEXT = "The model has a profile of this user whose text did not come with the tables."
_OTHER_TEXT = "This is the profile as the tables have it, and the model has another one of this user, or none."


def prepare(world: World) -> None:
    """Compute ahead what the first visitor would wait for; the answers are the same without."""
    for prepared in (evidence.tracer, audience.asked, folded_titles):
        prepared(world)


# -- known users ------------------------------------------------------------------------------------------------------


def recommend_user(world: World, user_id: str, k: int = 10) -> UserAnswer:
    """A known user's list, beside the one that the model would show had no profile been written.

    Raises:
        Sentence: an unknown user, or k that is not 1 to 50.
    """
    user, k = find_user(world, user_id), check_count(k)
    person, has_profile = evidence.describe(world, user), _has_profile(world, user)
    ranking = other = world.model.rank_for(Someone(user_id))
    if has_profile:
        other = world.model.rank_for(Someone(user_id, profile=""))
    first, second, changed = both(world, Comparison(ranking, other, _history(world, user)), k)
    changed = _with_what_is_known(world, person, has_profile, changed)
    profile = person.profile if has_profile and _reads_profiles(world) else ""
    return UserAnswer(person, profile, first, second, WITHOUT_PROFILE, changed)


def without_interest(world: World, user_id: str, phrase: str, k: int = 10) -> UserAnswer:
    """A known user's list as if one phrase were not in the profile, beside the one with the profile as written.

    Raises:
        Sentence: an unknown user, no such phrase, a model that reads no profiles, or k that is not 1 to 50.
    """
    user, k = find_user(world, user_id), check_count(k)
    phrase = check_text(phrase, "phrase", MOST_PROFILE)
    _require_profiles(world)
    row = world.profiles.get(user_id)
    if row is None:
        raise Sentence("No profile of this user is known, so that nothing can be left out of it: write one instead.")
    sections = [row.identities, row.interests]
    kept = [[said for said in section if folded(said) != folded(phrase)] for section in sections]
    if kept == sections:
        known = joined([f"“{said}”" for section in sections for said in section])
        way_out = f"choose one of {known}" if known else "it is not written in phrases, so edit it instead"
        raise Sentence(f"The profile of this user does not say {shown(phrase)}: {way_out}.")
    rest = render(from_lists(*kept)) if any(kept) else ""
    return _with_profile(world, user, rest, k, "this phrase", row.profile.strip())


def without_item(world: World, user_id: str, item_id: str, k: int = 10) -> UserAnswer:
    """A known user's list as if one item were not in the history (fold-in), beside the fold-in of all of it.

    The item itself is in neither list. Raises Sentence for an unknown id, an item that is not in the history or the
    only one there, and k that is not 1 to 50.
    """
    user, item, k = find_user(world, user_id), find_item(world, item_id), check_count(k)
    catalog = world.catalog
    history = _history(world, user)
    if item not in history:
        raise Sentence(f"{_titled(world, item)} is not in this user's history: choose an item that is.")
    rest = history[history != item]
    if not len(rest):
        raise Sentence("This is the only item of the history, and without it nothing is left to recommend from.")
    ranking, whole = (
        world.model.rank_for(Someone(user_id, history=[catalog.item_ids[row] for row in chosen]), deny=[item_id])
        for chosen in (rest, history)
    )
    first, other, changed = both(world, Comparison(ranking, whole, rest, "this item of the history", history), k)
    person = evidence.describe(world, user)
    profile = person.profile if _reads_profiles(world) and _has_profile(world, user) else ""
    return UserAnswer(person, profile, first, other, WHOLE_HISTORY, changed)


# -- somebody new, or a known user described anew ---------------------------------------------------------------------


def recommend_profile(world: World, profile: str, k: int = 10, user_id: str = "") -> UserAnswer:
    """The list of somebody new who is described by a text; with `user_id`, of that user had this been written of them.

    Somebody new is compared with the mean profile, which says nothing of anybody; a known user with the profile as
    written, or with none where none was.

    Raises:
        Sentence: no words or more than 2,000 characters, an unknown user, a model that cannot read a profile, or k
            that is not 1 to 50.
    """
    k, profile = check_count(k), check_text(profile, "profile", MOST_PROFILE)
    if user_id is not None and user_id != "":
        user = find_user(world, user_id)
        _require_profiles(world)
        return _with_profile(world, user, profile, k, "the new text")
    if not _reads_new_users(world):
        raise Sentence(
            f"This recommender was trained with profile_mode={world.model.config.profile_mode!r} and cannot read a "
            "description: choose some items that the person likes instead."
        )
    ranking = world.model.rank_for(Someone(profile=profile, vector=_encoded(world, profile)))
    compared = Comparison(ranking, world.model.rank_for(_nobody(world)), np.zeros(0, dtype=np.int64))
    first, other, changed = both(world, compared, k)
    return UserAnswer(None, profile, first, other, WITHOUT_PROFILE, _and_cut(world, changed, profile))


def recommend_history(world: World, item_ids: Sequence[str], k: int = 10, profile: str = "") -> UserAnswer:
    """The list of somebody new who chose these items and, where given, is described by this text.

    With a text it is compared with the list without; else with that of somebody of whom nothing is known, where the
    model has such a list.

    Raises:
        Sentence: no list of known ids, a text of more than 2,000 characters or that the model cannot read, or k that
            is not 1 to 50.
    """
    k, history = check_count(k), np.array(find_items(world, item_ids), dtype=np.int64)
    described = clean_text(profile, "profile", MOST_PROFILE)
    chosen = [world.catalog.item_ids[item] for item in history]
    if described:
        _require_profiles(world)
        described = check_text(described, "profile", MOST_PROFILE)
        ranking = world.model.rank_for(Someone(history=chosen, profile=described, vector=_encoded(world, described)))
        compared = Comparison(ranking, world.model.rank_for(Someone(history=chosen)), history)
        first, second, changed = both(world, compared, k)
        return UserAnswer(None, described, first, second, WITHOUT_PROFILE, _and_cut(world, changed, described))
    ranking = world.model.rank_for(Someone(history=chosen))
    if _reads_new_users(world):
        other = world.model.rank_for(_nobody(world), deny=chosen)
        compared = Comparison(ranking, other, history, "the history", history[:0])
        first, second, changed = both(world, compared, k)
        return UserAnswer(None, "", first, second, NOBODY_KNOWN, changed)
    only = listed(world, ranking, k, history)
    return UserAnswer(None, "", only, [], "", _ALONE if only else EVERYTHING_CHOSEN)


def _with_profile(world: World, user: int, profile: str, k: int, cause: str, written: str = "") -> UserAnswer:
    """A known user's list with another profile ("" for none), beside the one with the profile as written.

    Args:
        written: that profile, where it is not to be the one that the model has: tables may be newer than it is.
    """
    ranking = _described(world, user, profile)
    other = _described(world, user, written) if written else world.model.rank_for(Someone(world.catalog.user_ids[user]))
    compared = Comparison(ranking, other, _history(world, user), cause)
    person = evidence.describe(world, user)
    with_what = AS_WRITTEN if written or _has_profile(world, user) else WITHOUT_PROFILE
    first, second, changed = both(world, compared, k)
    if profile == person.profile:
        same = compared.same(k)
        changed = "Nothing moves: this is the profile as written." if same else f"{changed} {_OTHER_TEXT}"
    elif with_what == AS_WRITTEN and not person.profile:
        changed += f" {_NO_TEXT}"
    return UserAnswer(person, profile, first, second, with_what, _and_cut(world, changed, profile))


def _described(world: World, user: int, profile: str) -> Ranking:
    """The ranking of a known user had this text been written of them; "" for none."""
    vector = _encoded(world, profile) if profile else None
    return world.model.rank_for(Someone(world.catalog.user_ids[user], profile=profile, vector=vector))


def _and_cut(world: World, changed: str, profile: str) -> str:
    """What changed, and whether the encoder has read all of the profile."""
    return f"{changed} {cut_off(world, profile)}".rstrip() if profile else changed


def _nobody(world: World) -> Someone:
    """Somebody with the mean profile: centred, it is zero, as if nothing had been said."""
    mean = world.model.profile_mean.cpu().numpy()
    return Someone(profile="nobody in particular", vector=mean)


def _encoded(world: World, text: str) -> np.ndarray:
    """[profile_dim] float32 encoder vector."""
    return np.asarray(world.encoder.encode([text], progress=False)[0])


def _reads_profiles(world: World) -> bool:
    """Whether a text may take the place of a known user's profile, or stand beside a history."""
    config = world.model.config
    return bool(config.user_profiles) and config.profile_mode == "llm"


def _with_what_is_known(world: World, person: Person, has_profile: bool, changed: str) -> str:
    """What changed without a user's profile, and what should be known of that profile."""
    mode = world.model.config.profile_mode
    if not world.model.config.user_profiles or mode in _SAME_FOR_ALL:
        return f"Both lists are the same: {_NO_PROFILES}."
    if not has_profile:
        readable = _NOT_READ if person.profile else _NOT_WRITTEN
        return f"Both lists are the same: {_NEVER_READ if mode in _PLACEBOS else readable}"
    if mode in _PLACEBOS:
        return f"{changed} This model was trained with profile_mode={mode!r}: {_PLACEBOS[mode]}"
    return changed if person.profile else f"{changed} {_NO_TEXT}"


def _has_profile(world: World, user: int) -> bool:
    """Whether the model itself has a profile of the user; the tables may be older or newer."""
    return bool(world.model.config.user_profiles) and bool(world.model.user_profile[user].any())


def _reads_new_users(world: World) -> bool:
    return bool(world.model.backbone.support(world.model.config).new_users_by_profile)


def _require_profiles(world: World) -> None:
    if not _reads_profiles(world):
        mode = world.model.config.profile_mode
        what = "no text can take the place of what is read of its users" if mode in _PLACEBOS else _NO_PROFILES
        raise Sentence(f"Here {what} (profile_mode={mode!r}): leave the profile out.")


def _history(world: World, user: int) -> np.ndarray:
    """int64 [n] positions of the user's items."""
    return np.asarray(world.catalog.seen(user), dtype=np.int64)


def _titled(world: World, item: int) -> str:
    return f"“{shortened(world.catalog.titles[item])}”"
