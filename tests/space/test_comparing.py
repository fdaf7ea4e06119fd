"""Two lists side by side: each is explained by its own history."""

from __future__ import annotations

from reclm_hf.space import answers
from reclm_hf.space.shapes import Listed
from tests.space.worlds import tiny_world


def reasons(listed: list[Listed]) -> set[str]:
    return {entry.why for entry in listed}


def test_nothing_explains_the_list_of_somebody_of_whom_nothing_is_known() -> None:
    answer = answers.recommend_history(tiny_world(), ["001", "003"], 50)
    assert "like Title 003" in reasons(answer.listed)
    assert reasons(answer.other) == {""}


def test_the_item_that_is_left_out_explains_the_other_list_alone() -> None:
    world = tiny_world()
    given = answers.recommend_user(world, "user-03", 50)
    assert given.person is not None
    item, title = next(
        (item, title) for item, title in given.person.history if f"like {title}" in reasons(given.listed)
    )
    answer = answers.without_item(world, "user-03", item, 50)
    assert f"like {title}" in reasons(answer.other)
    assert f"like {title}" not in reasons(answer.listed)
