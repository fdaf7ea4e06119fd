from __future__ import annotations

from reclm_hf.profiles.profile import well_formed
from reclm_hf.profiles.prompts import EXAMPLES, SHOWN_CATEGORIES, ItemLine, standout, user_message


def test_the_examples_alternate_and_answer_in_the_format():
    assert [message["role"] for message in EXAMPLES] == ["system"] + ["user", "assistant"] * 2
    assert all(well_formed(message["content"]) for message in EXAMPLES if message["role"] == "assistant")


def test_a_request_shows_both_lists_apart():
    content = user_message(
        [ItemLine("Alien (1979)", ("Horror", "Sci-Fi")), ItemLine("Heat")], [ItemLine("Ran"), ItemLine("Jaws")]
    )["content"]
    assert "Similar people chose: Ran; Jaws\n" in content
    assert "This person chose:\n- Alien (horror, sci-fi)\n- Heat\n" in content
    assert "What stands out: horror, sci-fi\n" in content  # a single item each: there is nothing else to go by


def test_without_neighbours_and_categories_nothing_empty_is_shown():
    content = user_message([ItemLine("Alien")], [])["content"]
    assert content.startswith("This person chose:\n- Alien\n")
    assert "Similar" not in content
    assert "stands out" not in content


def test_an_item_shows_few_categories():
    line = ItemLine("Alien", tuple("abcdef"))
    assert str(line).count(",") == SHOWN_CATEGORIES - 1


def test_rare_categories_stand_out_against_common_ones():
    history = [ItemLine("a", ("Drama", "Western")), ItemLine("b", ("Drama", "Western")), ItemLine("c", ("Drama",))]
    assert standout(history, {"drama": 0.5, "western": 0.02})[0] == "western"
    assert standout(history, {"drama": 0.02, "western": 0.02})[0] == "drama"
    assert standout(history, {"drama": 1.0}) == ["western", "drama"]


def test_a_single_item_makes_no_trait():
    history = [ItemLine("a", ("Drama",)), ItemLine("b", ("Drama",)), ItemLine("c", ("Western",))]
    assert standout(history, {"drama": 0.5, "western": 0.01}) == ["drama"]
    assert standout(history[1:], {}) == ["drama", "western"]


def test_what_stands_out_is_counted_in_the_whole_history():
    shown, old = [ItemLine("a", ("Drama",))], [ItemLine(title, ("Western",)) for title in "bcd"]
    assert "What stands out: western\n" in user_message(shown, [], {}, [*shown, *old])["content"]


def test_what_stands_out_does_not_depend_on_the_order_of_the_history():
    history = [ItemLine("a", ("War", "Sport")), ItemLine("b", ("Music",)), ItemLine("c", ("Crime", "Noir"))]
    assert standout(history, {}) == standout(history[::-1], {})
