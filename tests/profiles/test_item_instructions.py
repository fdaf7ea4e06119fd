"""Item-side instructions: both forms practised on items with interactions, nothing of items that come later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.tables import INSTRUCTION_COLUMNS, read_parquet, write_parquet
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.instructions import Instructions
from reclm_hf.profiles.item_instructions import build_item_instructions, similar_items
from reclm_hf.profiles.item_profiles import generate_item_profiles
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine, tiny_tokenizer

READERS, SIMILAR = "The people who chose this thing are: ", "Similar things, and who chooses them:"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Validation split, items, item vectors, profiles of users and of items."""
    splits, vectors = checkerboard()
    split, items = splits.validation, splits.data.items
    near = np.full((split.n_users, 1), -1, dtype=np.int32)
    users = generate_user_profiles(split, items, near, WordEngine(), tmp_path_factory.mktemp("users"), progress=False)
    folder = tmp_path_factory.mktemp("items")
    profiles = generate_item_profiles(split, items, users, vectors, WordEngine(), folder, progress=False)
    return split, items, vectors, users, profiles


def build(written: tuple, profiles: pd.DataFrame | None = None, **options: Any) -> Instructions:
    split, items, vectors, users, original = written
    profiles = original if profiles is None else profiles
    options = {"similar": similar_items(profiles, split.item_ids, vectors), **options}
    return build_item_instructions(items, profiles, users, tiny_tokenizer(), **options)


def test_both_forms_answer_with_the_profile_of_real_readers(written: tuple, tmp_path: Any) -> None:
    split, items, _, _, profiles = written
    made = build(written)
    assert made.table["candidate_item_id"].tolist() == [str(item) for item in split.item_ids[:42] for _ in range(2)]
    assert made.facts["form"].tolist() == ["readers", "similar"] * 42
    assert made.skipped == {"item profile guessed from similar items": 8}
    by_item = profiles.set_index("item_id")["profile"]
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    for row, form in zip(made.table.itertuples(), made.facts["form"], strict=True):
        system, request, reply = row.messages
        assert [system["role"], request["role"], reply["role"]] == ["system", "user", "assistant"]
        assert request["content"].startswith(READERS if form == "readers" else SIMILAR)
        assert f"The thing: {titles[row.candidate_item_id]} (" in request["content"]
        assert reply["content"] == by_item[row.candidate_item_id]
        assert (row.variant, row.user_id, row.label) == ("distill", None, None)
    write_parquet(made.table, tmp_path / "x.parquet", INSTRUCTION_COLUMNS)
    assert len(read_parquet(tmp_path / "x.parquet")) == 84


def test_later_items_are_neither_asked_about_nor_shown(written: tuple) -> None:
    split = written[0]
    said = "\n".join(message["content"] for messages in build(written).table["messages"] for message in messages)
    later = [f"Title {item}" for item in split.item_ids[~split.warm]]
    assert len(later) == 8
    assert "Title 000" in said
    assert not any(title in said for title in later)


def test_similar_items_are_the_nearest_others_by_text(written: tuple) -> None:
    split, _, vectors, _, profiles = written
    found = similar_items(profiles, split.item_ids, vectors, n=2)
    assert sorted(found) == split.item_ids[:42].tolist()
    rows = {item: row for row, item in enumerate(split.item_ids)}
    centred = vectors[:42] - vectors[:42].mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    for item, near in found.items():
        scores = centred @ centred[rows[item]]
        scores[rows[item]] = -2
        assert [rows[other] for other in near] == np.argsort(-scores)[:2].tolist()
    assert similar_items(profiles[:1], split.item_ids, vectors) == {}


def test_what_cannot_be_made_is_counted(written: tuple) -> None:
    profiles = written[4][written[4]["phase"] == "interactions"].copy()
    profiles.loc[profiles["item_id"] == "000", "profile"] = "User identity: a"
    profiles.loc[profiles["item_id"] == "001", "evidence"] = None
    made = build(written, profiles)
    assert made.skipped == {"malformed item profile": 1, "item without a reader's well-formed profile": 1}
    assert len(made.table) == 81
    assert not any("Title 000" in message["content"] for row in made.table["messages"] for message in row)
    made = build(written, profiles, similar={"002": ["000"], "003": ["005"]})
    assert made.skipped["item without a similar item's profile"] == 40
    assert (made.facts["form"] == "similar").sum() == 1
    assert (build(written, similar=None).facts["form"] == "readers").all()


def test_similar_items_go_one_by_one_until_it_fits(written: tuple) -> None:
    whole = build(written)
    longest = int(whole.facts["tokens"].max())
    cut = build(written, max_tokens=longest - 10)
    assert len(cut.table) == len(whole.table)
    assert cut.facts["tokens"].max() <= longest - 10
    shown = [messages[1]["content"].count("\n- ") for messages in cut.table["messages"]]
    assert {count for count, form in zip(shown, cut.facts["form"], strict=True) if form == "similar"} <= {2, 3}
    none = build(written, max_tokens=50)
    assert len(none.table) == 0
    assert none.skipped["item does not fit the tokens"] == 84
