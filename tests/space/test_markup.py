"""What the page says beside the answers, as HTML."""

from __future__ import annotations

import numpy as np

from reclm_hf.space import answers
from reclm_hf.space.markup import item_answer, person_card
from tests.space.worlds import tiny_world


def test_of_a_phrase_no_more_is_said_than_was_looked_for() -> None:
    """Only the user's items and those of the neighbours that are named are searched for a phrase's words."""
    world = tiny_world(trained=False)
    catalog = world.catalog
    asked = {item for user in (0, 1, 2) for item in catalog.seen(user).tolist()}
    others = next(item for item in range(50) if item not in asked and np.any(catalog.seen_indices == item))
    world.texts[others] = "an opera singer"
    person = answers.recommend_user(world, "user-00").person
    assert person is not None
    assert {phrase.text: phrase.origin for phrase in person.phrases}["opera singer"] == "none"
    card = person_card(person)
    assert "<bdi>opera singer</bdi><small>shares words with neither this history nor a neighbour&#x27;s</small>" in (
        card.replace("'", "&#x27;")
    )
    assert "<bdi>alpha fan</bdi><small>shares words with the user" in card


def test_what_an_item_resembles_is_shown_by_title_and_cosine() -> None:
    answer = answers.place_item(tiny_world(trained=False), "Beta again", "a beta story", 3)
    shown = item_answer(answer)
    for like in answer.resembles:
        assert f"<bdi>{like.title}</bdi>" in shown
        assert f">{like.cosine:.2f}<" in shown
