"""`reclm profiles show`: a profile with its evidence; what is not there is one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from reclm_hf.commands.main import main
from reclm_hf.commands.terminal import cells, cut, padded, plain, wrapped
from reclm_hf.data.bundled import DEFAULT, bundled_profiles, bundled_splits
from reclm_hf.data.folder import write_dataset
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS, read_parquet, write_parquet
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.item_profiles import generate_item_profiles
from reclm_hf.profiles.neighbors import find_neighbors
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, profiles of users and items as of the test cut, and the vectors that the neighbours were found with."""
    folder = tmp_path_factory.mktemp("show")
    splits, texts = checkerboard()
    split, items = splits.test, splits.data.items
    write_dataset(splits.data, folder / "data", {"test_cut": split.cut})
    vectors = np.random.default_rng(0).standard_normal((split.n_users, 4), dtype=np.float32)
    vectors[:, 0] += 9 * (-1) ** np.arange(split.n_users)  # neighbours have the own parity
    near, place = find_neighbors(vectors), folder / "profiles" / "test"
    users = generate_user_profiles(
        split, items, near.rows, WordEngine(), folder / "u", neighbors_by=near.by, progress=False
    )
    write_parquet(users, place / "user_profiles.parquet", PROFILE_COLUMNS)
    readers = generate_item_profiles(split, items, users, texts, WordEngine(), folder / "i", progress=False)
    write_parquet(readers, place / "item_profiles.parquet", ITEM_PROFILE_COLUMNS)
    save_file({"user": vectors}, place / "neighbor_vectors.safetensors")
    return folder


@pytest.fixture(autouse=True)
def here(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written)


def words(*more: str) -> list[str]:
    return ["profiles", "show", *more]


def shown(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert main([*words(*more), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def printed(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(words(*more)) == 0
    return capsys.readouterr().out


def test_a_profile_with_its_evidence(capsys: pytest.CaptureFixture[str], written: Path) -> None:
    found = shown(capsys, "user-07", "data", "--profiles", "profiles")
    table = read_parquet(written / "profiles" / "test" / "user_profiles.parquet").set_index("user_id")
    row, split = table.loc["user-07"], checkerboard()[0].test
    assert (found["profile"], found["source"], found["neighbors_by"]) == (
        row["profile"],
        "interactions",
        "interactions",
    )
    assert pd.Timestamp(found["as_of"]) == row["as_of"]
    own = split.item_ids[split.history_item[split.history_user == 7]][::-1].tolist()
    assert [item["item_id"] for item in found["own"]] == own
    assert [item["shown"] for item in found["own"]] == [True] * 10 + [False] * (len(own) - 10)
    assert [other["user_id"] for other in found["neighbors"]] == list(row["neighbors"])
    assert all(0.5 < other["similarity"] <= 1 for other in found["neighbors"])
    assert [other["profile"] for other in found["neighbors"]] == table.loc[list(row["neighbors"]), "profile"].tolist()
    evidence = [item["item_id"] for other in found["neighbors"] for item in other["items"]]
    assert set(evidence) == set(row["evidence"]) - set(own)
    assert [phrase["phrase"] for phrase in found["phrases"]] == [*row["identities"], *row["interests"]]


def test_what_a_person_reads(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = shown(capsys, "user-07", "data", "--profiles", "profiles")
    text = printed(capsys, "user-07", "data", "--profiles", "profiles")
    lines = text.splitlines()
    assert lines[0].startswith("User user-07, as of 2020-02-20 00:00:00 (test cut)")
    assert "from        own history; neighbours by interactions" in text
    assert f"Own history: 10 of {len(found['own'])} items" in text
    assert f"  {len(found['own']) - 10} older not listed" in text
    assert all(f"  {other['user_id']}, cosine {other['similarity']:.2f}" in lines for other in found["neighbors"])
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1] == "Next: reclm recommend MODEL user-07 --explain"


def test_profiles_of_items(capsys: pytest.CaptureFixture[str]) -> None:
    warm = shown(capsys, "data", "--item", "004", "--profiles", "profiles")
    assert (warm["item_id"], warm["phase"], warm["similar"]) == ("004", "interactions", [])
    assert all(reader["profile"] for reader in warm["readers"])
    assert all(int(reader["user_id"][-2:]) % 2 == 0 for reader in warm["readers"])
    cold = shown(capsys, "--item", "047", "data", "--profiles", "profiles")
    assert (cold["phase"], cold["readers"]) == ("similar_items", [])
    assert {int(item["item_id"]) % 2 for item in cold["similar"]} == {1}
    assert all(item["profile"] for item in cold["similar"])
    assert "similar items: nobody had chosen it" in printed(capsys, "data", "--item", "047", "--profiles", "profiles")


def test_tables_of_earlier_versions_and_updated_ones(
    capsys: pytest.CaptureFixture[str], written: Path, tmp_path: Path
) -> None:
    """Without the newer columns, and in a folder of no cut: the histories are then those of the table's own time."""
    table = read_parquet(written / "profiles" / "test" / "user_profiles.parquet")
    write_parquet(table.drop(columns=["neighbors_by", "source"]), tmp_path / "user_profiles.parquet")
    found = shown(capsys, "user-07", "data", "--profiles", str(tmp_path))
    assert (found["cut"], found["source"], found["neighbors_by"]) == ("as-of", "interactions", "interactions")
    usual = shown(capsys, "user-07", "data", "--profiles", "profiles")
    assert found["own"] == usual["own"]
    assert [other["similarity"] for other in found["neighbors"]] == [None] * 3


def test_people_without_history(capsys: pytest.CaptureFixture[str], written: Path, tmp_path: Path) -> None:
    table = read_parquet(written / "profiles" / "test" / "user_profiles.parquet")
    new = table.iloc[[0, 1]].assign(user_id=["newcomer", "nobody"], source=["stated", "prior"])
    new["neighbors"] = [["user-02"], []]
    new["neighbors_by"] = ["text", "none"]
    new["evidence"] = [["000"], ["000", "001"]]
    write_parquet(pd.concat([table, new]), tmp_path / "test" / "user_profiles.parquet", PROFILE_COLUMNS)
    text = printed(capsys, "newcomer", "data", "--profiles", str(tmp_path))
    assert "what the user said to like; neighbours by text" in text
    assert "No history before this time" in text
    assert "a phrase of nobody's may come from it" in text
    assert "Chosen by most people\n  Title 000  alpha\n  Title 001  beta\n" in printed(
        capsys, "nobody", "data", "--profiles", str(tmp_path)
    )


def test_long_lists_and_wide_or_hostile_titles(
    capsys: pytest.CaptureFixture[str], written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A title cannot move the cursor, and columns stand below each other whatever letters are in them."""
    monkeypatch.setenv("COLUMNS", "72")
    splits, _ = checkerboard()
    items = splits.data.items.copy()
    items["title"] = [f"\x1b[2J\u202e東京物語 {item}" if int(item) % 4 else "long " * 40 for item in items["item_id"]]
    write_dataset(
        type(splits.data)(**{**vars(splits.data), "items": items}), tmp_path / "data", {"test_cut": splits.test.cut}
    )
    table = read_parquet(written / "profiles" / "test" / "user_profiles.parquet")
    own = splits.test.item_ids[splits.test.history_item[splits.test.history_user == 6]][::-1].tolist()
    table.at[6, "evidence"] = np.array(own, dtype=object)
    write_parquet(table, tmp_path / "profiles" / "test" / "user_profiles.parquet", PROFILE_COLUMNS)
    text = printed(capsys, "user-06", str(tmp_path / "data"), "--profiles", str(tmp_path / "profiles"))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert f"  and {len(own) - 10} more\n" in text
    lines = text[text.index("Own history") :].splitlines()[1:11]
    assert {cells(line[: line.rindex("alpha")]) for line in lines} == {cells(lines[0]) - len("alpha")}
    assert all(cells(line) <= 72 for line in text.splitlines()[:-1])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], "Give one user id, or --item ITEM"),
        (["user-07", "data", "--item", "004"], "Give one user id, or --item ITEM"),
        (["user_07", "data", "--profiles", "profiles"], "unknown user 'user_07' in data. Did you mean 'user-07'"),
        (["?", "data", "--profiles", "profiles"], "Ids there look like 'user-00', 'user-01', 'user-02'."),
        (["--item", "4", "data", "--profiles", "profiles"], "unknown item '4'"),
        (["user-07", "data"], "comes without profiles: run `reclm profiles build data`"),
        (
            ["user-07", "data", "--profiles", "profiles", "--cut", "validation"],
            "there is no such file. `reclm",
        ),
        (["user-07", "nowhere"], "nowhere"),
        (["user-49", "data", "--profiles", "few"], "user 'user-49' has no profile in few"),
        (["user-07", "data", "--profiles", "broken"], "there is no column 'identities'"),
    ],
)
def test_what_is_not_there_is_one_line(
    capsys: pytest.CaptureFixture[str], written: Path, more: list[str], expected: str
) -> None:
    table = read_parquet(written / "profiles" / "test" / "user_profiles.parquet")
    write_parquet(table[:5], written / "few" / "test" / "user_profiles.parquet", PROFILE_COLUMNS)
    write_parquet(table.drop(columns="identities"), written / "broken" / "test" / "user_profiles.parquet")
    assert main(words(*more)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("reclm: error: ")
    assert expected in last


def test_the_shipped_table_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    table = bundled_profiles(DEFAULT, "validation")
    row = table.iloc[11]
    found = shown(capsys, row["user_id"], "--cut", "validation")
    assert found["profile"] == row["profile"]
    split = bundled_splits().validation
    assert pd.Timestamp(found["as_of"]) <= pd.Timestamp(split.cut, unit="us", tz="UTC")
    assert found["history"] == (split.user_ids[split.history_user] == row["user_id"]).sum()


def test_text_for_a_terminal() -> None:
    assert plain("a\x00b\n c\u200b") == "a b c"
    assert (cells("東京"), cells("e\u0301"), cells("abc")) == (4, 1, 3)
    assert padded("東京", 6) == "東京  "
    assert (cut("abcdef", 6), cut("abcdef", 4), cut("東京物語", 6)) == ("abcdef", "abc…", "東京…")
    assert wrapped("one two three", 2, 9, "- ") == ["- one two", "  three"]
