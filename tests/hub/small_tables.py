"""A small data folder with everything that travels beside it: profiles of both sides and cuts, chats, pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from reclm_hf.data.folder import write_dataset, write_json
from reclm_hf.data.load import load_splits
from reclm_hf.data.splits import Split, Splits
from reclm_hf.data.tables import (
    INSTRUCTION_COLUMNS,
    ITEM_PROFILE_COLUMNS,
    PREFERENCE_COLUMNS,
    PROFILE_COLUMNS,
    write_parquet,
)
from tests.checkerboard import checkerboard

USERS = ("user-00", "user-01", "user-02")


def write_data(folder: Path, **info: Any) -> Splits:
    """The checkerboard as a data folder, cut where it is cut; returns what is read back."""
    splits = checkerboard()[0]
    known = {"licence": "CC BY 4.0", "attribution": "the squares", "test_cut": splits.test.cut, **info}
    write_dataset(splits.data, folder, known)
    return load_splits(str(folder))


def write_profiles(splits: Splits, folder: Path) -> Path:
    """Profiles of some users and items as of both cuts, laid out as `reclm profiles build` does."""
    for split in (splits.validation, splits.test):
        users = user_profiles(split)
        write_parquet(users, folder / split.name / "user_profiles.parquet", PROFILE_COLUMNS)
        write_parquet(item_profiles(split), folder / split.name / "item_profiles.parquet", ITEM_PROFILE_COLUMNS)
        write_json({"redrawn": 2}, folder / split.name / "certificate.json")
    return folder


def user_profiles(split: Split) -> pd.DataFrame:
    """Of `USERS`: what their parity likes, written from their first item."""
    rows = [_profile(split, "User", row, "user_id", user) for row, user in enumerate(USERS)]
    return pd.DataFrame([{**row, "neighbors_by": "none", "source": "interactions"} for row in rows])


def item_profiles(split: Split) -> pd.DataFrame:
    """Of the first item of each of `USERS`, written from their profiles."""
    rows = [_profile(split, "Item", row, "user_id", user) for row, user in enumerate(USERS[:2])]
    return pd.DataFrame(
        [{**row, "item_id": row["evidence"][0], "evidence": [row["user_id"]], "phase": "interactions"} for row in rows]
    )


def write_chats(splits: Splits, folder: Path) -> tuple[Path, Path]:
    """Folders of instructions and of preferences, with what their commands note of them."""
    asked = {"role": "user", "content": "Who is it?"}
    told = {"role": "assistant", "content": "User identity: a; User interests: alpha"}
    chats = pd.DataFrame({"messages": [[asked, told]] * 3, "variant": "distill", "user_id": USERS})
    chats = chats.assign(candidate_item_id=None, label=None)
    pairs = pd.DataFrame({"prompt": [[asked]] * 3, "chosen": [[told]] * 3, "rejected": [[{**told, "content": ""}]] * 3})
    pairs = pairs.assign(rejected_kind="empty", user_id=USERS, accepted=None)
    tables = {"instructions": (chats, INSTRUCTION_COLUMNS), "preferences": (pairs, PREFERENCE_COLUMNS)}
    for name, (table, columns) in tables.items():
        path = folder / name / f"{name}.parquet"
        write_parquet(table, path, columns)
        lineage = {name: str(path), "dataset": splits.data.name, "fingerprint": splits.fingerprint, "seed": 3}
        write_json(lineage, folder / name / f"{name}.json")
    return folder / "instructions", folder / "preferences"


def _profile(split: Split, who: str, row: int, key: str, name: str) -> dict[str, Any]:
    seen = str(split.item_ids[split.history_item[split.history_user == row][0]])
    word = ("alpha", "beta")[row % 2]
    return {
        key: name,
        "profile": f"{who} identity: {word} reader; {who} interests: {word} tales",
        "identities": [f"{word} reader"],
        "interests": [f"{word} tales"],
        "evidence": [seen],
        "neighbors": [],
        "as_of": pd.Timestamp(split.cut, unit="us", tz="UTC"),
        "generator": "words",
        "prompt_version": "v1",
        "input_hash": f"{name}-{split.name}",
        "format_score": 1.0,
        "tokens_in": 10,
        "tokens_out": 5,
    }
