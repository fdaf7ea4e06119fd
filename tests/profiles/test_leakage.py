from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.leakage import LeakageError, certify
from tests.checkerboard import answers, checkerboard
from tests.profiles.tiny import WordEngine


@pytest.fixture(scope="module")
def split():
    return checkerboard()[0].validation


@pytest.fixture
def items():
    """Titles of two words for all items; rows 42 and above are first seen after the validation cut."""
    items = checkerboard()[0].data.items.copy()
    items["title"] = [f"Chapter {chr(ord('a') + row // 26)}{chr(ord('a') + row % 26)}x (2013)" for row in range(50)]
    return items


@pytest.fixture
def table(split, items, tmp_path):
    neighbors = (np.arange(split.n_users, dtype=np.int32)[:, None] + 2) % split.n_users
    return generate_user_profiles(split, items, neighbors, WordEngine(), tmp_path, progress=False)


def test_an_honest_table_passes(table, split, items):
    certificate = certify(table, split, items)
    assert certificate.passed
    assert certificate.rows == len(table)
    assert certificate.items_after == 8
    certificate.require()
    assert certificate.to_dict()["passed"] is True


def plant(table, row, column, value):
    table = table.copy()
    table[column] = table[column].astype(object)
    table.at[row, column] = value
    return table


def found(table, split, items):
    certificate = certify(table, split, items)
    assert not certificate.passed
    assert certificate.to_dict()["n_failures"] == len(certificate.failures)
    return certificate.failures


def test_evidence_from_after_the_cut_is_found(table, split, items):
    late = split.item_ids[answers(4, "validation")[1]]  # the neighbours have not seen it before the cut either
    planted = plant(table, 4, "evidence", [*table["evidence"][4], late])
    (failure,) = found(planted, split, items)
    assert table["user_id"][4] in failure
    assert late in failure


def test_evidence_of_a_stranger_is_found(table, split, items):
    """User 1 and her neighbours like odd items only; item 0 is in the history of others."""
    assert found(plant(table, 1, "evidence", [split.item_ids[0]]), split, items)


def test_a_table_as_of_a_later_time_is_found(table, split, items):
    later = pd.Timestamp(split.cut + 1, unit="us", tz="UTC")
    assert "as_of" in found(plant(table, 2, "as_of", later), split, items)[0]


@pytest.mark.parametrize("missing", [None, pd.NaT])
def test_a_table_that_does_not_say_as_of_when_is_found(table, split, items, missing):
    assert "as_of" in found(plant(table, 2, "as_of", missing), split, items)[0]


def test_titles_of_later_items_are_found(table, split, items):
    later = items["title"][45].removesuffix(" (2013)")
    planted = plant(table, 3, "profile", f"User identity: fan of {later.upper()}!; User interests: tales")
    (failure,) = found(planted, split, items)
    assert items["title"][45] in failure


def test_titles_of_earlier_items_are_no_leak(table, split, items):
    assert certify(plant(table, 3, "profile", f"fan of {items['title'][5]}"), split, items).passed


def test_one_word_is_a_leak_only_with_its_year(table, split, items):
    items.loc[45, "title"] = "Gravity (2013)"
    items.loc[46, "title"] = "The Host (2013)"
    assert certify(plant(table, 3, "profile", "gravity and the host of a show"), split, items).passed
    assert len(found(plant(table, 3, "profile", "likes gravity 2013 and The Host (2013)"), split, items)) == 2


def test_a_title_that_an_earlier_item_bears_too_is_no_leak(table, split, items):
    items.loc[45, "title"] = items["title"][5]
    assert certify(plant(table, 3, "profile", f"fan of {items['title'][5]}"), split, items).passed


def test_an_unknown_user_is_found(table, split, items):
    assert "not in the data" in found(plant(table, 0, "user_id", "nobody"), split, items)[0]


def test_the_error_names_the_first_and_counts_the_rest(table, split, items):
    table["as_of"] = table["as_of"] + pd.Timedelta(days=1)
    with pytest.raises(LeakageError, match=r"50 leaks.*user-00.* and 45 more.*profiles build"):
        certify(table, split, items).require()


def test_a_missing_profile_text_is_no_leak(table, split, items):
    assert certify(plant(table, 3, "profile", None), split, items).passed
