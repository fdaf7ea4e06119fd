"""Every template as a model reads it. Whoever changes one changes what profiles say: bump its version with it."""

from __future__ import annotations

import pandas as pd
import pytest

from reclm_hf.profiles.item_prompts import ITEM_PROMPT_VERSION, cold_item_message, item_examples, item_message
from reclm_hf.profiles.profile import Profile, well_formed
from reclm_hf.profiles.prompts import (
    PROMPT_VERSION,
    ItemLine,
    PromptStyle,
    examples,
    item_lines,
    prior_message,
    stated_message,
    user_message,
)

ALIEN = ItemLine("Alien (1979)", ("Horror", "Sci-Fi"))
HEAT = ItemLine("Heat", ("Crime",))
FAN = Profile(
    ("horror fan", "night owl", "space nerd", "cat owner"), ("old ships", "long nights", "acid blood", "cats")
)


def test_versions():
    assert (PROMPT_VERSION, ITEM_PROMPT_VERSION) == ("user-2", "item-1")


def test_a_user_with_history():
    message = user_message([ALIEN, HEAT], [ItemLine("Ran"), ItemLine("Jaws")], {"horror": 0.1, "sci-fi": 0.2})
    assert message == {
        "role": "user",
        "content": (
            "Similar people chose: Ran; Jaws\n"
            "\n"
            "This person chose:\n"
            "- Alien (horror, sci-fi)\n"
            "- Heat (crime)\n"
            "What stands out: crime, horror, sci-fi\n"
            "What kind of enthusiast is this person, and what does this person enjoy?"
        ),
    }


def test_somebody_without_history():
    assert stated_message("I like ships", [ALIEN])["content"] == (
        "Similar people chose: Alien\n"
        "\n"
        "This person says: I like ships\n"
        "What kind of enthusiast is this person, and what does this person enjoy?"
    )
    assert prior_message([ALIEN, HEAT])["content"] == (
        "Most people chose:\n"
        "- Alien (horror, sci-fi)\n"
        "- Heat (crime)\n"
        "What kind of enthusiast is this person, and what does this person enjoy?"
    )


def test_an_item_with_readers():
    assert item_message(ALIEN, ["horror fan", "night owl"], ["old ships"])["content"] == (
        "The people who chose this thing are: horror fan, night owl\n"
        "They enjoy: old ships\n"
        "The thing: Alien (horror, sci-fi)\n"
        "What kind of people choose this thing, and what do they enjoy?"
    )


def test_a_cold_item():
    assert cold_item_message(HEAT, [(ALIEN, FAN)])["content"] == (
        "Similar things, and who chooses them:\n"
        "- Alien: horror fan, night owl, space nerd; old ships, long nights, acid blood\n"
        "The thing: Heat (crime)\n"
        "What kind of people choose this thing, and what do they enjoy?"
    )


def test_the_examples_of_items_answer_in_the_format():
    shown = item_examples(PromptStyle())
    assert [message["role"] for message in shown] == ["system"] + ["user", "assistant"] * 2
    assert all(well_formed(message["content"], 5) for message in shown if message["role"] == "assistant")


def test_columns_are_shown_in_the_order_asked_for():
    items = pd.DataFrame(
        {"item_id": ["7"], "title": ["Alien (1979)"], "text": ["In space. " * 40], "categories": [["Horror", "Sci-Fi"]]}
    )

    def shown(*columns, **options):
        (line,) = item_lines(items, PromptStyle(columns=columns, **options))
        return str(line)

    assert shown("title", "categories") == "- Alien (horror, sci-fi)"
    assert shown("categories", "title") == "- (horror, sci-fi) Alien"
    assert shown("title", "text", text_characters=20) == "- Alien In space. In space.…"
    assert shown("text", text_characters=9) == "- In space.…"
    (masked,) = item_lines(items, PromptStyle(columns=("title", "text")), masked=True)
    assert str(masked) == "- item 7"


def test_the_language_is_asked_for_and_marks_the_version():
    german = PromptStyle(language="German")
    assert examples(german)[0]["content"].endswith("Write them in German; keep the two labels as they are.")
    assert item_examples(german)[0]["content"].endswith("Write them in German; keep the two labels as they are.")
    assert examples(german)[1:] == examples(PromptStyle())[1:]
    assert PromptStyle().version == ""
    assert german.version == "+title,categories+German"
    assert PromptStyle(columns=("title",)).version == "+title"


@pytest.mark.parametrize("columns", [("title", "plot"), ("title", "title"), ("categories",), ()])
def test_unknown_columns_are_refused(columns):
    with pytest.raises(ValueError, match="title, categories, text"):
        PromptStyle(columns=columns)
