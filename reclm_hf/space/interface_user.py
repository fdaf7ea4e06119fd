"""The tab "A user": what is known, two lists side by side, and what if something were different."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from . import answers
from .interface_events import PRIVATE, unchecked
from .markup import page as block
from .markup import person_card, user_answer
from .shapes import Sentence
from .words import MOST_PROFILE, MOST_SEARCH

if TYPE_CHECKING:
    from .world import World

_FIRST_USERS = 20
_COMING = '<p class="quiet">One moment: just after the start the model is still being loaded.</p>'
_EMPTIED = (
    '<p class="says">The profile is empty: the list without it is the one that is headed “Without the profile”.</p>'
)
_NOTHING_CHOSEN = "Search for a user first, or pick one of the list."


def user_tab(world: World) -> Callable[[gr.Blocks], Any]:
    """Build the tab inside the Blocks that are open.

    Returns:
        What makes a page show the first user when it is opened: the page itself is there before the model is.
    """
    offered = first_users(world)
    examples = example_searches(world, offered)
    reads = reads_profiles(world)
    with gr.Row(equal_height=False):
        search = gr.Textbox(
            label="Search a user",
            info="By id, by a word of the profile, or by a title that they chose",
            placeholder=f"For example {examples[0]}" if examples else "",
            max_length=MOST_SEARCH,
            elem_id="user-search",
            scale=3,
            min_width=260,
        )
        user = gr.Dropdown(
            choices=offered,
            value=offered[0][1] if offered else None,
            label="Or pick one",
            info="What the search found; at first, some users",
            elem_id="user-pick",
            scale=3,
            min_width=260,
        )
        find = gr.Button("Search", elem_id="user-find", scale=1, min_width=100, elem_classes="rl-go")
    if examples:
        gr.Examples([[text] for text in examples], [search], label="Searches to try", api_visibility="private")
    with gr.Accordion("What if?", open=True):
        profile = gr.Textbox(
            label="Change the profile, and the ranking follows",
            info="For example, put an interest of your own in the place of one of theirs",
            placeholder="User identity: ...; User interests: ...",
            lines=2,
            max_lines=8,
            max_length=MOST_PROFILE,
            elem_id="user-profile",
            visible=reads,
        )
        with gr.Row():
            with gr.Column(min_width=280, visible=reads):
                phrase = gr.Dropdown([], label="Without this interest", elem_id="user-phrase")
                forget = gr.Button("Rank without this interest", size="sm", elem_id="user-without-phrase")
            with gr.Column(min_width=280):
                item = gr.Dropdown([], label="Had they not chosen", elem_id="user-item")
                unchoose = gr.Button("Rank without this choice", size="sm", elem_id="user-without-item")
        again = gr.Button("Back to the user as they are", size="sm", elem_id="user-again")
    ranking = gr.HTML(_COMING if offered else "", elem_id="user-ranking")
    with gr.Accordion("Who this is: profile with its evidence, history, neighbours", open=True):
        card = gr.HTML(elem_id="user-card")

    for picked in (user, phrase, item):
        unchecked(picked)
    everything: list[Any] = [card, ranking, profile, phrase, item]

    def search_for(text: str) -> list[Any]:
        found = answers.search_users(world, text)
        if not found:
            raise Sentence("No user was found by that; try a user id, one word of an interest, or a title.")
        return [gr.Dropdown(choices=found, value=found[0][1]), *_update(_shown(world, found[0][1]))]

    def show(user_id: str | None) -> list[Any]:
        return _update(_shown(world, _chosen(user_id)))

    def edited(text: str, user_id: str | None) -> Any:
        # While somebody types, an empty field is on the way to something else: no error, and nothing that is not so.
        if not text.strip():
            return block(_EMPTIED) + user_answer(answers.recommend_user(world, _chosen(user_id)))
        return user_answer(answers.recommend_profile(world, text, user_id=_chosen(user_id)))

    def without_phrase(user_id: str | None, text: str | None) -> str:
        if not text:
            raise Sentence("Choose an interest to leave out; a user without a profile has none.")
        return user_answer(answers.without_interest(world, _chosen(user_id), text), f"Without “{text}”")

    def without_item(user_id: str | None, item_id: str | None) -> str:
        if not item_id:
            raise Sentence("Choose an item of the history to leave out.")
        return user_answer(answers.without_item(world, _chosen(user_id), item_id))

    gr.on([search.submit, find.click], search_for, [search], [user, *everything], **PRIVATE)
    user.input(show, [user], everything, **PRIVATE)
    again.click(show, [user], everything, **PRIVATE)
    # Of several strokes of a key only the last waits: the ranking follows without a queue of old texts.
    profile.input(edited, [profile, user], ranking, trigger_mode="always_last", show_progress="hidden", **PRIVATE)
    forget.click(without_phrase, [user, phrase], ranking, **PRIVATE)
    unchoose.click(without_item, [user, item], ranking, **PRIVATE)

    def opened(user_id: str | None) -> list[Any]:
        return show(user_id) if offered else ["", "", "", gr.Dropdown(), gr.Dropdown()]

    return lambda page: page.load(opened, [user], everything, show_progress="hidden", **PRIVATE)


def reads_profiles(world: World) -> bool:
    """Whether a profile can be changed here, as far as it is known before the model is loaded."""
    return world.about.get("profile_mode", "") in ("", "llm")


def first_users(world: World) -> list[tuple[str, str]]:
    """(label, user id) of some users to begin with, those with a profile first."""
    known = [user_id for user_id in world.catalog.user_ids if user_id in world.profiles]
    return [(user_id, user_id) for user_id in (known or list(world.catalog.user_ids))[:_FIRST_USERS]]


def example_searches(world: World, offered: list[tuple[str, str]]) -> list[str]:
    """An id, words of a profile and a title, each of which finds somebody."""
    if not offered:
        return []
    found = [offered[-1][1]]
    interests = [
        phrase for _, user_id in offered if user_id in world.profiles for phrase in world.profiles[user_id].interests
    ]
    catalog = world.catalog
    seen = catalog.seen(catalog.user_index([offered[0][1]])[0])
    return found + interests[:1] + [catalog.titles[row] for row in seen[:1]]


def _chosen(user_id: str | None) -> str:
    if not user_id:
        raise Sentence(_NOTHING_CHOSEN)
    return user_id


def _shown(world: World, user_id: str) -> list[Any]:
    """Card, ranking, profile text, and the choices of the two counterfactuals."""
    answer = answers.recommend_user(world, user_id)
    person = answer.person
    assert person is not None, "a user of the data is somebody"
    interests = [(phrase.text, phrase.text) for phrase in person.phrases]
    history = [(title, item_id) for item_id, title in person.history]
    return [person_card(person), user_answer(answer), person.profile, _choices(interests), _choices(history)]


def _choices(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    return {"choices": pairs, "value": pairs[0][1] if pairs else None}


def _update(shown: list[Any]) -> list[Any]:
    return [*shown[:3], gr.Dropdown(**shown[3]), gr.Dropdown(**shown[4])]
