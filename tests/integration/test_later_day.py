"""One later day: what is kept, what is written, and how the stages of training/benchmarks/later_day.py differ."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.features import history_mean
from reclm_hf.pipeline.profile_stage import write_profiles
from reclm_hf.profiles.leakage import certify
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine

# A script finds the files beside it because its folder is on the path; so must they be here.
sys.path.insert(0, str(Path(__file__).parents[2] / "training" / "benchmarks"))
later_day: Any = import_module("later_day")
scores: Any = import_module("later_day_scores")

WIDTH = 16

pytestmark = pytest.mark.slow


class Encoder:
    """The parity of an item's text in the first two directions, the rest by a hash of the text."""

    dimension = WIDTH

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            row = 0.1 * np.random.default_rng(seed).standard_normal(WIDTH)
            row[0] += "alpha" in text
            row[1] += "beta" in text
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, dtype=np.float32)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("day")
    splits, vectors = checkerboard()
    tables = {
        split.name: write_profiles(splits.data, split, vectors, WordEngine(), folder / split.name)
        for split in (splits.validation, splits.test)
    }
    engine = WordEngine()
    values, differences, facts = later_day.measure(
        splits, tables["test"], tables["validation"], engine, Encoder(), folder / "out"
    )
    return {
        "folder": folder,
        "splits": splits,
        "tables": tables,
        "asked": len(engine.asked),
        "values": values,
        "differences": differences,
        "facts": facts,
    }


def test_only_users_of_the_day_are_written(measured: dict[str, Any]) -> None:
    splits, facts = measured["splits"], measured["facts"]
    test, cut = splits.test, splits.test.cut
    changed = set(test.history_user[test.history_time >= cut - scores.DAY].tolist())
    assert 0 < len(changed) < test.n_users
    assert (facts["kept"], facts["rewritten"]) == (test.n_users - len(changed), len(changed))
    assert facts["new"] == facts["gone"] == facts["new_users"] == 0
    assert facts["written"] == facts["users_of_the_day"] == len(changed)
    assert measured["asked"] == 2 * len(changed)  # as of the day before, and as of the cut
    rate = facts["writing_seconds"] / len(changed)
    assert facts["all_anew_seconds_estimated"] == pytest.approx(rate * test.n_users)
    assert facts["seconds"] > 0


def test_tables_are_of_their_time(measured: dict[str, Any]) -> None:
    splits, out = measured["splits"], measured["folder"] / "out"
    day = scores.Day.before_test(splits)
    yesterday = pd.read_parquet(out / "yesterday" / "user_profiles.parquet")
    updated = pd.read_parquet(out / "updated" / "user_profiles.parquet")
    changed = set(day.before.user_ids[day.changed])
    written = yesterday[yesterday["user_id"].isin(changed)]
    assert certify(written, day.before, splits.data.items).passed
    assert not certify(updated, day.before, splits.data.items).passed
    assert certify(updated, day.after, splits.data.items).passed
    assert set(written["as_of"]) == {pd.Timestamp(day.before.cut, unit="us", tz="UTC")}
    both = yesterday.merge(updated, on="user_id")
    other = set(both.loc[both["profile_x"] != both["profile_y"], "user_id"])
    assert other == changed
    assert measured["facts"]["other_texts"] == len(other)


def test_rows_of_every_recommender_and_stage(measured: dict[str, Any]) -> None:
    values, differences = measured["values"], measured["differences"]
    main = values[(values["setting"] == "zero_shot") & (values["scope"] == "all users")].set_index("row")["value"]
    assert set(main.index) == {f"{name}/{stage}" for name in ("cosine", "mix", "model") for stage in scores.STAGES}
    assert main.min() > 0.5  # the texts tell the parity
    assert set(differences["family"]) == {f"{a} - {b}" for a, b in later_day.ASKED}
    # Only the lists of those who did something on the day can differ through the profiles.
    sums: dict[tuple[str, str], list[float]] = {}
    by_scope = {scope: lines.set_index("setting") for scope, lines in values.groupby("scope")}
    for line in differences[differences["family"] == "updated - histories"].to_dict("records"):
        counts = by_scope[line["scope"]].loc[line["setting"], "n_users"]
        sums.setdefault((line["a"], line["setting"]), []).append(line["difference"] * counts.iloc[0])
    assert len(sums) == 6
    assert all(whole == pytest.approx(part, abs=1e-9) for whole, part in sums.values())
    fewer = values[values["scope"] == "users of the day"]["n_users"].max()
    assert 0 < fewer < values["n_users"].max()
    report = later_day.report(values, differences, measured["facts"])
    assert f"{measured['facts']['kept']} of {measured['splits'].test.n_users} rows reused" in report
    assert "| cosine/updated - cosine/histories |" in report


def test_a_second_call_writes_nothing_and_times_nothing(measured: dict[str, Any]) -> None:
    engine = WordEngine()
    again = later_day.measure(
        measured["splits"],
        measured["tables"]["test"],
        measured["tables"]["validation"],
        engine,
        Encoder(),
        measured["folder"] / "out",
    )
    assert engine.asked == []
    assert again[2] == measured["facts"]
    columns = ["scope", "setting", "row", "value"]
    pd.testing.assert_frame_equal(again[0][columns], measured["values"][columns])


def test_a_table_of_another_model_is_refused(measured: dict[str, Any], tmp_path: Path) -> None:
    tables = measured["tables"]
    with pytest.raises(ValueError, match="would write all of it again"):
        later_day.measure(
            measured["splits"], tables["test"], tables["validation"], WordEngine("other"), Encoder(), tmp_path
        )


def test_profiles_move_users_where_they_should(measured: dict[str, Any]) -> None:
    """With a profile that points at the items of a user's parity the text cosine is right; with none it is its own."""
    splits = measured["splits"]
    day = scores.Day.before_test(splits)
    items = Encoder().encode(splits.data.items["text"].tolist())
    nothing = np.zeros((day.after.n_users, WIDTH), dtype=np.float32)
    np.testing.assert_allclose(scores.text_users(day.after, items, nothing), history_mean(day.after, items), atol=1e-6)
    given = nothing.copy()
    given[3] = -history_mean(day.after, items)[3] * 0.5
    given[4] = items[5]
    moved = scores.text_users(day.after, items, given)
    assert moved[4] @ items[5] > history_mean(day.after, items)[4] @ items[5]
    np.testing.assert_allclose(moved[3], history_mean(day.after, items)[3], atol=1e-6)
