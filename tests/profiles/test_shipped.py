"""What the shipped profiles promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.bundled import bundled_info, bundled_profiles, bundled_splits
from reclm_hf.data.splits import Split, Splits
from reclm_hf.data.tables import PROFILE_COLUMNS
from reclm_hf.profiles.leakage import certify
from reclm_hf.profiles.profile import from_lists, render, well_formed
from reclm_hf.profiles.prompts import EXAMPLES


@pytest.fixture(scope="module")
def splits() -> Splits:
    return bundled_splits()


@pytest.fixture(params=["validation", "test"], scope="module")
def shipped(request: pytest.FixtureRequest, splits: Splits) -> tuple[pd.DataFrame, Split]:
    return bundled_profiles(which=request.param), getattr(splits, request.param)


def test_every_user_with_history_has_one(shipped: tuple[pd.DataFrame, Split]) -> None:
    table, split = shipped
    assert list(table.columns) == list(PROFILE_COLUMNS)
    assert table["user_id"].tolist() == split.user_ids[np.unique(split.history_user)].tolist()


def test_they_keep_the_format_and_are_distinct(shipped: tuple[pd.DataFrame, Split]) -> None:
    table, _ = shipped
    assert table["profile"].map(well_formed).mean() >= 0.95
    assert table["profile"].nunique() >= 0.90 * len(table)
    for row in table[table["format_score"] == 1].itertuples():
        assert render(from_lists(row.identities, row.interests)) == row.profile


def test_none_repeats_six_words_of_the_examples(shipped: tuple[pd.DataFrame, Split]) -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        words = text.lower().replace(",", " ").replace(";", " ").split()
        return {tuple(words[start : start + 6]) for start in range(len(words) - 5)}

    shown = set().union(*(runs(message["content"]) for message in EXAMPLES))
    copies = [profile for profile in shipped[0]["profile"] if runs(profile) & shown]
    assert copies == []


def test_nothing_in_them_is_from_after_their_cut(shipped: tuple[pd.DataFrame, Split], splits: Splits) -> None:
    table, split = shipped
    certificate = certify(table, split, splits.data.items)
    assert certificate.passed, certificate.failures[:3]
    assert certificate.rows == len(table)
    late = certify(bundled_profiles(which="test"), splits.validation, splits.data.items)
    assert not late.passed, "profiles as of the test cut must not pass for the validation cut"


def test_their_lineage_is_in_the_dataset_file(shipped: tuple[pd.DataFrame, Split]) -> None:
    table, split = shipped
    lineage = bundled_info()["profiles"][split.name]
    assert lineage["rows"] == len(table)
    assert lineage["generator"] == sorted(table["generator"].unique())
    assert all("SmolLM2-135M-Instruct" in name and "sha256:" in name for name in lineage["generator"])
