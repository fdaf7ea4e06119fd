"""The users of the case study are chosen by a rule, their words traced, and strangers' texts kept plain."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split, temporal_split
from reclm_hf.data.tables import read_parquet, write_parquet
from reclm_hf.pipeline.case_study import CASE_COLUMNS, case_section, case_study, case_table, choose_cases, plain

TITLES = {"a": "Snow Harbour", "b": "Desert Storm", "c": "Paper Lanterns", "d": "![x](http://evil) | <b>Bold</b>"}
HISTORIES = {"u1": "ad", "u2": "b", "u3": "c", "u4": "ab"}


def world() -> tuple[Split, pd.DataFrame]:
    items = pd.DataFrame({"item_id": list(TITLES), "title": list(TITLES.values()), "text": list(TITLES.values())})
    rows = [(user, item, day) for user, own in HISTORIES.items() for day, item in enumerate(own)]
    rows += [("u1", "b", 8), ("u2", "a", 8), ("u1", "c", 9), ("u2", "c", 9)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "day"])
    frame["timestamp"] = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(frame.pop("day"), unit="D")
    data = Interactions.from_tables(items, frame, "cases")
    cut = int(pd.Timestamp("2020-01-09", tz="UTC").value // 1000)
    return temporal_split(data, cut=cut + 86_400_000_000, validation_fraction=0.2).validation, data.items


def table(interests: dict[str, list[str]]) -> pd.DataFrame:
    near = {"u1": ["u2"], "u2": ["u1"], "u3": ["u1"], "u4": ["u3"]}
    return pd.DataFrame(
        {
            "user_id": list(HISTORIES),
            "profile": [f"User identity: fan; User interests: {', '.join(interests[user])}" for user in HISTORIES],
            "identities": [["fan"] for _ in HISTORIES],
            "interests": [interests[user] for user in HISTORIES],
            "evidence": [[*HISTORIES[user], *HISTORIES[near[user][0]]] for user in HISTORIES],
            "neighbors": [near[user] for user in HISTORIES],
        }
    )


BEFORE = table({"u1": ["desert storms"], "u2": ["snow"], "u3": ["lanterns"], "u4": ["comets"]})
AFTER = table({"u1": ["snow and harbours"], "u2": ["desert"], "u3": ["lanterns"], "u4": ["comets"]})
VALUES = {"raw": np.array([0.9, 0.8, 0.2, np.nan]), "mask": np.array([0.1, 0.5, 0.3, 0.0])}


def study(n: int = 2) -> list[dict]:
    split, items = world()
    return case_study({"raw": BEFORE, "mask": AFTER}, VALUES, list(HISTORIES), split, items, n=n)


def test_the_largest_drops_are_chosen_and_users_without_a_value_are_not() -> None:
    assert [case["user_id"] for case in study()] == ["u1", "u2"]
    assert study()[0]["drop"] == pytest.approx(0.8)
    assert len(study(9)) == 3  # u4 has no value at the first stage


def test_profiles_that_say_nothing_come_last() -> None:
    before, after = np.array([0.9, 0.3, 0.2]), np.array([-1.0, 0.1, 0.1])
    assert choose_cases(["a", "b", "c"], before, after, 2) == [0, 1]
    assert choose_cases(["a", "b", "c"], before, after, 3, well_formed=np.array([False, True, True])) == [1, 2, 0]
    written = "User identity: fan, reader, walker; User interests: snow, desert, lamps"
    whole = [table.assign(profile=[written if user != "u1" else "" for user in HISTORIES]) for table in (BEFORE, AFTER)]
    split, items = world()
    cases = case_study({"raw": whole[0], "mask": whole[1]}, VALUES, list(HISTORIES), split, items, n=3)
    assert [case["user_id"] for case in cases] == ["u2", "u3", "u1"]


def test_equal_drops_are_ordered_by_a_hash_and_not_by_place() -> None:
    users = [f"user-{number}" for number in range(20)]
    before, after = np.full(20, 0.3), np.full(20, 0.3) - np.resize([0.1, 0.1 + 1e-14], 20)
    chosen = [users[row] for row in choose_cases(users, before, after, 3)]
    turned = [users[::-1][row] for row in choose_cases(users[::-1], before[::-1], after[::-1], 3)]
    assert chosen == turned
    assert chosen != users[:3]
    assert chosen != [users[row] for row in choose_cases(users, before, after, 3, seed=1)]


def test_every_phrase_is_traced_to_whose_history_it_comes_from() -> None:
    first = study()[0]
    raw, mask = first["stages"]
    found = {stage["stage"]: {phrase["phrase"]: phrase for phrase in stage["phrases"]} for stage in (raw, mask)}
    assert found["raw"]["desert storms"]["origin"] == "neighbour"
    assert found["raw"]["desert storms"]["neighbors"] == ["u2"]
    assert found["mask"]["snow and harbours"]["origin"] == "own"
    assert found["mask"]["snow and harbours"]["sources"] == ["Snow Harbour"]
    assert found["mask"]["fan"]["origin"] == "none"
    assert first["neighbors"] == [{"user_id": "u2", "items": ["Desert Storm"]}]
    assert first["history"] == [TITLES["d"], TITLES["a"]]


def test_table_and_section_hold_the_same(tmp_path) -> None:
    cases = study()
    frame = case_table(cases)
    write_parquet(frame, tmp_path / "cases.parquet", CASE_COLUMNS)
    assert len(read_parquet(tmp_path / "cases.parquet")) == 2 * 2 * 2
    assert json.loads(json.dumps(cases)) == cases
    text = case_section(cases, "validation")
    for row in frame.to_dict("records"):
        assert plain(row["phrase"]) in text
    assert "neighbours' only" in text
    assert "+0.900" in text
    assert case_section([], "validation").count("Nobody") == 1


def test_a_title_cannot_break_out_of_the_report() -> None:
    text = case_section(study(), "validation")
    assert plain(TITLES["d"]) in text
    assert TITLES["d"] not in text
    cases = text[text.index("### ") :]
    assert not re.search(r"(?<!\\)[\[\]<>!*_`]", cases)  # none of them is ours
    assert plain("a\n\n# b\u202e\x00") == "a \\# b"
    assert plain("see www.evil.example and https://evil") == "see www\\.evil.example and https\\://evil"
    assert plain(None) == "(nothing)"


def test_one_stage_is_nothing_to_compare() -> None:
    split, items = world()
    with pytest.raises(ValueError, match="reclm sft"):
        case_study({"raw": BEFORE}, VALUES, list(HISTORIES), split, items)
    with pytest.raises(ValueError, match="2 users"):
        choose_cases(["a", "b"], np.zeros(2), np.zeros(3))
