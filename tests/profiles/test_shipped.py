"""What the shipped profiles promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.bundled import bundled_info, bundled_profiles, bundled_splits
from reclm_hf.data.splits import Split, Splits
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS
from reclm_hf.profiles.evidence import collect_evidence
from reclm_hf.profiles.generate import _own_hash, user_requests
from reclm_hf.profiles.leakage import certify, certify_items
from reclm_hf.profiles.persons import names_person, names_taste
from reclm_hf.profiles.profile import from_lists, render, well_formed
from reclm_hf.profiles.prompts import EXAMPLES, PROMPT_VERSION, item_lines


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


def test_items_with_readers_and_cold_items_have_one(splits: Splits) -> None:
    """As of the test cut; `reclm profiles build` writes them for any other."""
    split, table = splits.test, bundled_profiles(which="test", side="item")
    counts = np.bincount(split.history_item, minlength=split.n_items)
    assert list(table.columns) == list(ITEM_PROFILE_COLUMNS)
    assert table["item_id"].tolist() == split.item_ids[(counts >= 5) | (counts == 0)].tolist()
    assert table["profile"].map(lambda text: well_formed(text, 5)).mean() >= 0.95
    assert table["profile"].nunique() >= 0.90 * len(table)
    certificate = certify_items(table, split, splits.data.items, bundled_profiles(which="test"))
    assert certificate.passed, certificate.failures[:3]
    assert not certify_items(table, splits.validation, splits.data.items).passed


def test_identities_name_persons_and_interests_do_not(shipped: tuple[pd.DataFrame, Split]) -> None:
    table, _ = shipped
    identities = [phrase for phrases in table["identities"] for phrase in phrases]
    assert sum(map(names_person, identities)) >= 0.95 * len(identities)
    interests = [phrase for phrases in table["interests"] for phrase in phrases]
    assert sum(map(names_taste, interests)) <= 0.001 * len(interests)


def test_they_are_what_this_version_would_write(shipped: tuple[pd.DataFrame, Split], splits: Splits) -> None:
    """Equal hashes: `reclm profiles update` has nothing to write again."""
    table, split = shipped
    lines = item_lines(splits.data.items)
    near = np.full((split.n_users, 1), -1, dtype=np.int32)
    parts = collect_evidence(split, near, np.unique(split.history_user))
    requests = user_requests(parts, split, lines)
    generator = table["generator"].iloc[0]
    hashes = [
        _own_hash(part, lines, request, generator, PROMPT_VERSION)
        for part, request in zip(parts, requests, strict=True)
    ]
    assert table["input_hash"].tolist() == hashes
