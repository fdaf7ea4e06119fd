"""Nearest items and users."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.checkerboard import N_ITEMS, N_USERS
from tests.recommender.models import KINDS, data, trained, untrained


@pytest.mark.parametrize("by", ["model", "text"])
@pytest.mark.parametrize(
    ("backbone", "preset"),
    [("bias_mf", "standard"), ("bias_mf", "reference"), ("ncf", "floor_residual"), ("lightgcn", "floor_residual")],
)
def test_neighbours_are_of_the_own_parity(backbone: str, preset: str, by: str) -> None:
    model = trained(backbone, preset, "llm")
    items = [f"{item:03d}" for item in range(40)]
    found = model.similar_items(items, k=5, by=by)
    assert found.ids == items
    own = [int(item) % 2 == int(near) % 2 for item, row in zip(items, found.similar_ids, strict=True) for near in row]
    assert np.mean(own) >= 0.95
    users = [f"user-{user:02d}" for user in range(N_USERS)]
    people = model.similar_users(users, k=5, by=by)
    own = [int(u[-2:]) % 2 == int(v[-2:]) % 2 for u, row in zip(users, people.similar_ids, strict=True) for v in row]
    assert np.mean(own) >= 0.95
    for row, identity in zip((*found.similar_ids, *people.similar_ids), (*items, *users), strict=True):
        assert len(row) == 5
        assert identity not in row


@pytest.mark.parametrize(("backbone", "preset", "mode"), KINDS)
def test_cosines_are_those_of_the_representations(backbone: str, preset: str, mode: str) -> None:
    model = untrained(backbone, preset, mode)
    with torch.no_grad():
        if model.floors is not None:
            model.floors.gate.copy_(torch.tensor([0.5, 2.0]))
    served = model.served()
    # Items beside each other as their score takes them: a cosine of 1 with a copy, whatever its place.
    item = (
        served.item
        if served.pair is None
        else torch.cat([served.item, served.pair.item * served.pair.gate[:, None]], 1)
    )
    user = served.user if served.pair is None else torch.cat([served.user, served.pair.user], 1)
    for found, vectors in (
        (model.similar_items(["003"], k=N_ITEMS), item.detach().double().numpy()),
        (model.similar_users(["user-03"], k=N_USERS), user.detach().double().numpy()),
    ):
        assert len(found.similar_ids[0]) == 49, "everybody but oneself"
        rows = [int(identity[-2:]) for identity in found.similar_ids[0]]
        lengths = np.linalg.norm(vectors, axis=1)
        expected = vectors[rows] @ vectors[3] / (lengths[rows] * lengths[3])
        np.testing.assert_allclose(found.similarities[0], expected, atol=1e-5)
        assert (np.diff(found.similarities[0]) <= 0).all()


def test_a_new_item_is_found_by_its_text() -> None:
    for by in ("model", "text"):
        model = copy.deepcopy(trained("bias_mf", "standard", "none"))
        new = pd.DataFrame({"item_id": ["n"], "title": ["New"], "text": ["alpha"]})
        model.add_items(new, vectors=data()[1][[46]])
        found = model.similar_items(["n"], k=3, by=by)
        assert found.similar_ids[0][0] == "046", "the cold item with the same text"
        assert found.similarities[0][0] == pytest.approx(1.0, abs=1e-5)
        assert model.similar_items(["046"], k=1, by=by).similar_ids == [["n"]]


def test_filters_titles_and_the_frame() -> None:
    model = trained("bias_mf", "standard", "none")
    found = model.similar_items(["000", "001"], k=3, categories=["beta"], deny=["003"])
    assert {int(item) % 2 for row in found.similar_ids for item in row} == {1}
    assert "003" not in {item for row in found.similar_ids for item in row}
    assert found.titles[0] == [f"Title {item}" for item in found.similar_ids[0]]
    frame = found.to_frame()
    assert list(frame.columns) == ["id", "rank", "similar_id", "title", "similarity"]
    assert frame["rank"].tolist() == [1, 2, 3, 1, 2, 3]
    assert frame["similar_id"].tolist() == [item for row in found.similar_ids for item in row]
    assert model.similar_items(["000"], candidates=["000", "002"]).similar_ids == [["002"]]
    assert model.similar_users(["user-00"], k=2).titles == [["", ""]]


@pytest.mark.parametrize(
    ("call", "arguments", "error", "expected"),
    [
        ("similar_items", {"item_ids": ["x"]}, KeyError, "unknown item 'x'"),
        ("similar_items", {"item_ids": "000"}, ValueError, "single string"),
        ("similar_items", {"item_ids": ["000"], "by": "cover"}, ValueError, "by='cover'.*model, text"),
        ("similar_items", {"item_ids": ["000"], "k": 0}, ValueError, "k must be at least 1"),
        ("similar_users", {"user_ids": ["x"]}, KeyError, "unknown user 'x'"),
        ("similar_users", {"user_ids": ["user-00"], "by": "cover"}, ValueError, "by='cover'.*model, text"),
    ],
)
def test_what_cannot_be_asked_is_said(
    call: str, arguments: dict[str, Any], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        getattr(untrained("bias_mf", "standard", "none"), call)(**arguments)


def test_users_without_history_are_neither_asked_for_nor_found() -> None:
    model = untrained("bias_mf", "standard", "none")
    catalog = model.catalog
    # The last user loses the history.
    catalog.seen_indices = catalog.seen_indices[: catalog.seen_indptr[-2]]
    catalog.seen_indptr[-1] = catalog.seen_indptr[-2]
    with pytest.raises(ValueError, match="'user-49' has no history"):
        model.similar_users(["user-48", "user-49"])
    assert "user-49" not in model.similar_users(["user-48"], k=N_USERS).similar_ids[0]
