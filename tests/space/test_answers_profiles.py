"""The text of a profile comes with the tables and its vector with the model: what is said where they do not agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclm_hf.recommender.what_if import Someone
from reclm_hf.space import answers
from reclm_hf.space.shapes import Listed, Sentence
from reclm_hf.space.world import World
from tests.space.worlds import tiny_world

ALPHA = "User identity: alpha fan; User interests: alpha stories"
USER = "user-03"
NO_TEXT = "The model has a profile of this user whose text did not come with the tables."
PLACEBOS = {
    "random": "random numbers",
    "shuffled": "the profile of another user",
    "neighbour": "the profile of a similar user",
    "masked_titles": "written with ids",
}


def ids(listed: list[Listed]) -> list[str]:
    return [entry.item_id for entry in listed]


def with_vector(of_text: bool) -> World:
    """A world whose model has, of one user, the vector of the text in the tables, or none."""
    world = tiny_world()
    row = world.catalog.user_ids.index(USER)
    rows = world.model.user_profile
    if of_text:
        vector = torch.as_tensor(world.encoder.encode([world.profiles[USER].profile])[0]) - world.model.profile_mean
        rows[row] = vector / vector.norm()
    else:
        rows[row] = 0.0
    return world


def test_a_profile_without_its_text_is_used_and_said() -> None:
    world = replace(tiny_world(), profiles={})
    answer = answers.recommend_user(world, USER, 5)
    assert answer.profile == ""
    assert answer.changed.endswith(f". {NO_TEXT}")
    without = world.model.rank_for(Someone(USER, profile="")).scores[:5]
    assert [entry.score for entry in answer.other] == pytest.approx(without.tolist())
    assert [entry.score for entry in answer.listed] != pytest.approx(without.tolist(), abs=0.01)
    anew = answers.recommend_profile(world, ALPHA, 5, USER)
    assert anew.compared_with == "with the profile as written"
    assert anew.other[0].parts == pytest.approx(answer.listed[0].parts, abs=1e-5)
    assert anew.changed.endswith(f". {NO_TEXT}")


def test_a_text_without_its_profile_in_the_model_is_said() -> None:
    world = with_vector(of_text=False)
    answer = answers.recommend_user(world, USER, 5)
    assert answer.profile == ""
    assert answer.changed.startswith("Both lists are the same: the model does not have the profile of this user; edit")
    assert ids(answer.listed) == ids(answer.other)
    assert answers.without_item(world, USER, "005", 5).profile == ""
    assert answers.recommend_profile(world, ALPHA, 5, USER).compared_with == "without the profile"
    again = answers.recommend_profile(world, world.profiles[USER].profile, 5, USER)
    assert again.changed.endswith("the model has another one of this user, or none.")


def test_the_profile_as_written_moves_nothing() -> None:
    world = with_vector(of_text=True)
    again = answers.recommend_profile(world, world.profiles[USER].profile, 10, USER)
    assert again.changed == "Nothing moves: this is the profile as written."
    assert ids(again.listed) == ids(again.other)


def test_a_profile_that_is_newer_than_the_model_is_not_said_to_move_nothing() -> None:
    world = with_vector(of_text=True)
    newer = replace(world.profiles[USER], profile=ALPHA, identities=["alpha fan"], interests=["alpha stories"])
    world.profiles[USER] = newer
    again = answers.recommend_profile(world, ALPHA, 10, USER)
    assert [entry.score for entry in again.listed] != pytest.approx([entry.score for entry in again.other], abs=0.01)
    assert "Nothing moves: this" not in again.changed
    assert again.changed.endswith("the model has another one of this user, or none.")


def test_a_phrase_is_left_out_of_the_text_that_is_shown() -> None:
    """What a newer table changes is not put down to the phrase."""
    world = tiny_world()
    world.profiles[USER] = replace(
        world.profiles[USER], profile=ALPHA, identities=["alpha fan"], interests=["alpha stories"]
    )
    answer = answers.without_interest(world, USER, "alpha stories", 5)
    written = world.model.rank_for(Someone(USER, profile=ALPHA, vector=world.encoder.encode([ALPHA])[0]))
    assert [entry.score for entry in answer.other] == pytest.approx(written.scores[:5].tolist(), abs=1e-5)
    stored = world.model.rank_for(Someone(USER))
    assert not np.allclose(written.scores[:5], stored.scores[:5], atol=0.01)


@pytest.mark.parametrize("mode", PLACEBOS)
def test_a_placebo_is_called_one(mode: str) -> None:
    world = tiny_world("bias_mf", "standard", mode, trained=False)
    changed = answers.recommend_user(world, USER, 5).changed
    assert f"trained with profile_mode={mode!r}: it reads " in changed
    assert PLACEBOS[mode] in changed
    unread = tiny_world("bias_mf", "standard", mode, trained=False)
    unread.model.user_profile[unread.catalog.user_ids.index(USER)] = 0.0
    changed = answers.recommend_user(unread, USER, 5).changed
    assert changed == "Both lists are the same: the model has nothing in the place of a profile of this user."
    for refused in (
        lambda: answers.recommend_profile(world, ALPHA, 5, USER),
        lambda: answers.without_interest(world, USER, "beta fan"),
        lambda: answers.recommend_history(world, ["001"], 5, ALPHA),
    ):
        with pytest.raises(Sentence, match="no text can take the place of what is read of its users"):
            refused()


def test_what_the_encoder_cuts_off_a_profile_is_said() -> None:
    world, cut = tiny_world(trained=False), "reads the first 128 word pieces"
    long = "alpha and beta stories " * 40
    for profile, said in ((long, True), (ALPHA, False)):
        for answer in (
            answers.recommend_profile(world, profile, 5),
            answers.recommend_profile(world, profile, 5, USER),
            answers.recommend_history(world, ["001"], 5, profile),
        ):
            assert (cut in answer.changed) is said
            assert answer.changed.endswith(".")
