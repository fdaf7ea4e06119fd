"""The tab "Something new": a person or an item that the model has never seen."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gradio as gr

from . import answers
from .interface_events import PRIVATE, WRITING, unchecked
from .interface_user import reads_profiles
from .markup import item_answer, user_answer
from .shapes import Sentence
from .words import MOST_PROFILE, MOST_SEARCH, MOST_TEXT, MOST_TITLE, find_items

if TYPE_CHECKING:
    from .world import World

_MOST_FOUND = 8
log = logging.getLogger(__name__)
_PLAIN_PROFILES = [
    "User identity: curious beginner; User interests: funny stories, surprises, happy endings",
    "I like quiet science fiction and old detective stories.",
]


def new_tab(world: World) -> None:
    """Build the tab inside the Blocks that are open."""
    with gr.Tabs():
        with gr.Tab("A new person", id="person"):
            _person(world)
        with gr.Tab("A new item", id="item"):
            _item(world)


def _person(world: World) -> None:
    profiles = example_profiles(world)
    # Placebos take a description, though not beside a history.
    describes = world.about.get("profile_mode") != "none"
    writes = world.writer is not None and reads_profiles(world)
    described = gr.Textbox(
        label="Describe yourself",
        info="In your own words, or in the form of the profiles",
        placeholder=f"For example: {profiles[0]}",
        lines=3,
        max_lines=8,
        max_length=MOST_PROFILE,
        elem_id="new-described",
        visible=describes,
    )
    gr.Examples(
        [[text] for text in profiles],
        [described],
        label="Descriptions to try",
        elem_id="new-person",
        visible=describes,
        api_visibility="private",
    )
    titles = example_titles(world)
    with gr.Row(equal_height=False):
        search = gr.Textbox(
            label="And, or instead, choose things that you like" if describes else "Choose things that you like",
            info="Search a title, tick what you mean, search again for more",
            placeholder=f"For example {titles[0]}",
            max_length=MOST_SEARCH,
            elem_id="new-search",
            scale=4,
            min_width=260,
        )
        find = gr.Button("Search", elem_id="new-find", scale=1, min_width=100, elem_classes="rl-go")
    gr.Examples([[title] for title in titles], [search], label="Titles to try", api_visibility="private")
    liked = unchecked(gr.CheckboxGroup(choices=[], label="What you like", visible=False, elem_id="new-liked"))
    with gr.Row():
        recommend = gr.Button("Recommend", variant="primary", elem_id="new-recommend")
        write = gr.Button("Write a profile of these choices", visible=writes, elem_id="new-write")
    ranking = gr.HTML(elem_id="new-ranking")

    def search_for(text: str, chosen: list[str] | None) -> Any:
        found = answers.search_items(world, text, _MOST_FOUND)
        if not found:
            raise Sentence("No title was found by that; try one word of it.")
        ticked = [str(world.catalog.item_ids[row]) for row in find_items(world, chosen)] if chosen else []
        kept = [(_title(world, item_id), item_id) for item_id in ticked]
        more = [pair for pair in found if pair[1] not in ticked]
        return gr.CheckboxGroup(choices=kept + more, value=ticked, visible=True)

    def rank(text: str, chosen: list[str] | None) -> str:
        if chosen:
            return user_answer(answers.recommend_history(world, chosen, profile=text))
        if not text.strip():
            either = "Describe yourself in a few words, or search" if describes else "Search"
            raise Sentence(f"{either} a title and tick it.")
        return user_answer(answers.recommend_profile(world, text))

    def write_profile(chosen: list[str] | None) -> str:
        if not chosen:
            raise Sentence("Tick at least one title that you like; the profile is written of these.")
        return _written(world, chosen)

    gr.on([search.submit, find.click], search_for, [search, liked], liked, **PRIVATE)
    gr.on([described.submit, recommend.click], rank, [described, liked], ranking, **PRIVATE)
    if writes:
        written = write.click(write_profile, liked, described, **WRITING)
        written.success(rank, [described, liked], ranking, **PRIVATE)


def _written(world: World, item_ids: list[str]) -> str:
    """A profile of somebody who chose these items, by the language model that the Space was started with."""
    assert world.writer is not None, "the button is shown only where something can write"
    catalog = world.catalog
    rows = find_items(world, item_ids)
    try:
        return world.writer.write([(catalog.titles[row], world.texts[row]) for row in rows])
    except (OSError, ValueError) as error:
        log.error("no profile was written: %s", type(error).__name__)
        raise Sentence("No profile could be written of these; describe yourself in your own words instead.") from error


def _item(world: World) -> None:
    examples = example_items(world)
    title = gr.Textbox(
        label="Title",
        placeholder=f"For example {examples[0][0]}",
        max_length=MOST_TITLE,
        elem_id="item-title",
    )
    text = gr.Textbox(
        label="What it is about",
        info="As in the catalogue: categories, a plot, a description; it may stay empty",
        placeholder=f"For example {examples[0][1]}",
        lines=3,
        max_lines=10,
        max_length=MOST_TEXT,
        elem_id="item-text",
    )
    labels = [example[0] for example in examples]
    gr.Examples(
        examples,
        [title, text],
        example_labels=labels,
        label="Items to try",
        elem_id="new-item",
        api_visibility="private",
    )
    place = gr.Button("Who would like it?", variant="primary", elem_id="item-place")
    placed = gr.HTML(elem_id="item-answer")

    def answer(name: str, about: str) -> str:
        return item_answer(answers.place_item(world, name, about))

    gr.on([title.submit, place.click], answer, [title, text], placed, **PRIVATE)


def example_profiles(world: World) -> list[str]:
    """Of the data, where it has profiles, and in plain words."""
    return [known.profile for known in list(world.profiles.values())[1:3]] or _PLAIN_PROFILES


def example_titles(world: World) -> list[str]:
    """Three titles that many chose."""
    return [_title(world, item_id) for _, item_id in answers.search_items(world, "", 3)]


def example_items(world: World) -> list[list[str]]:
    """[title, text] of two items that are not there, close to two that many chose."""
    examples = []
    for title, (_, item_id) in zip(example_titles(world), answers.search_items(world, "", 2), strict=False):
        text = world.texts[world.catalog.item_index([item_id])[0]]
        # The texts of the tables begin with the title.
        about = text.removeprefix(title).lstrip(". ")
        examples.append([f"The return of {title}"[:MOST_TITLE], about[:500]])
    return examples


def _title(world: World, item_id: str) -> str:
    catalog = world.catalog
    return str(catalog.titles[catalog.item_index([item_id])[0]])
