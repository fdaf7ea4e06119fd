"""The authors' pairs as tables under their source's name, and as instructions in our wording."""

from __future__ import annotations

from pathlib import Path

import pytest

from reclm_hf.data.importers.chatgpt_pairs import SOURCE, read_chatgpt_pairs
from reclm_hf.data.tables import (
    INSTRUCTION_COLUMNS,
    ITEM_PROFILE_COLUMNS,
    PROFILE_COLUMNS,
    read_parquet,
    write_parquet,
)
from reclm_hf.profiles.imported_pairs import import_pairs
from reclm_hf.profiles.profile import format_score, well_formed
from tests.data.release import write_release
from tests.profiles.tiny import tiny_tokenizer


def test_mind(tmp_path: Path) -> None:
    made = import_pairs(read_chatgpt_pairs(write_release(tmp_path, "mind")), tiny_tokenizer())
    assert made.counts == {
        "users": {"rows": 2, "as_written": 0, "well_formed": 1, "malformed": 1},
        "items": {"rows": 2, "as_written": 0, "well_formed": 1, "malformed": 1},
    }
    users = made.user_profiles
    assert users["profile"].tolist() == [
        "User identity: Golf fan, News reader, Fan; User interests: Golf, Sports, News",
        "User identity: Reader; User interests: News, World",
    ]
    assert users["evidence"].tolist() == [["0", "3"], ["2"]]
    assert users["format_score"].tolist() == [format_score(text) for text in users["profile"]]
    assert users["format_score"][0] == 1.0 > users["format_score"][1]
    assert set(users["generator"]) | set(made.item_profiles["generator"]) == {SOURCE}
    assert users["neighbors_by"].tolist() == ["none", "none"]
    assert made.item_profiles["phase"].tolist() == ["interactions"] * 2
    assert made.instructions.skipped == {
        "malformed profile": 1,
        "malformed item profile": 1,
        "item without a similar item's profile": 1,
    }


def test_instructions_are_ours(tmp_path: Path) -> None:
    """Golf's profile from its history, and from the one reader whose profile is whole; item 3's is malformed."""
    made = import_pairs(read_chatgpt_pairs(write_release(tmp_path, "mind")), tiny_tokenizer())
    table = made.instructions.table
    assert table["variant"].tolist() == ["distill"] * 2
    assert table[["user_id", "candidate_item_id", "label"]].values.tolist() == [["0", None, None], [None, "0", None]]
    (_, request, reply), (_, by_readers, about_item) = table["messages"]
    assert request["content"].startswith('This person chose:\n- Tiger\'s "big" day (sports, golf)\n- Late game')
    assert reply["content"] == made.user_profiles["profile"][0]
    assert (
        "The people who chose this thing are: A fan, B fan, C fan\nThey enjoy: ants, bees, cats\n"
        in by_readers["content"]
    )
    assert well_formed(about_item["content"], 5)
    assert not any("Describe the" in message["content"] for row in table["messages"] for message in row)


def test_surplus_items_are_left_out(tmp_path: Path) -> None:
    made = import_pairs(read_chatgpt_pairs(write_release(tmp_path, "netflix")), tiny_tokenizer())
    assert made.user_profiles["profile"].tolist() == [
        "User identity: Film fan, Fan, Buff; User interests: Films, Old films, New films"
    ]
    assert made.user_profiles["neighbors"].tolist() == [["0", "2"]]
    assert made.user_profiles["neighbors_by"].tolist() == ["interactions"]
    assert made.item_profiles["evidence"].tolist() == [["7", "9"]]
    assert made.instructions.skipped == {"item without a similar item's profile": 1}
    assert made.instructions.facts["form"].tolist() == ["history", "readers"]


def test_tables_are_written_with_their_columns(tmp_path: Path) -> None:
    made = import_pairs(read_chatgpt_pairs(write_release(tmp_path, "mind")), tiny_tokenizer(), max_tokens=400)
    for name, table, columns in (
        ("u", made.user_profiles, PROFILE_COLUMNS),
        ("i", made.item_profiles, ITEM_PROFILE_COLUMNS),
        ("x", made.instructions.table, INSTRUCTION_COLUMNS),
    ):
        write_parquet(table, tmp_path / f"{name}.parquet", columns)
        read = read_parquet(tmp_path / f"{name}.parquet")
        assert list(read.columns) == list(columns)
        assert len(read) == len(table)
    assert read_parquet(tmp_path / "u.parquet")["tokens_in"].isna().all()
    assert read_parquet(tmp_path / "u.parquet")["as_of"].isna().all()


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "users", "items"),
    [
        (
            "mind",
            {"rows": 1_694, "as_written": 0, "well_formed": 1_491, "malformed": 203},
            {"rows": 892, "as_written": 0, "well_formed": 868, "malformed": 24},
        ),
        (
            "netflix",
            {"rows": 1_530, "as_written": 0, "well_formed": 1_527, "malformed": 3},
            {"rows": 1_071, "as_written": 0, "well_formed": 1_062, "malformed": 9},
        ),
    ],
)
def test_as_published(shared_data: Path, name: str, users: dict[str, int], items: dict[str, int]) -> None:
    made = import_pairs(read_chatgpt_pairs(shared_data / "reclm-release" / name), tiny_tokenizer())
    assert made.counts == {"users": users, "items": items}
    forms = made.instructions.facts["form"].value_counts()
    assert forms["history"] == users["well_formed"]
    assert forms["similar"] == items["well_formed"]
