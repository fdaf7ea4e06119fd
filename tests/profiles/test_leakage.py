from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, TableError
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.leakage import LeakageError, certify, certify_items
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
    assert certificate.to_dict()["probe"]["titles"] == 8
    assert certificate.summary().startswith("50 profiles checked against the validation cut: no leak found; 8 later")


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
    assert failure.startswith(f"row 5 (user '{table['user_id'][4]}'): evidence '{late}'")


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
    with pytest.raises(LeakageError, match=r"50 leaks.*row 1 \(user 'user-00'\).* and 45 more.*profiles build"):
        certify(table, split, items).require()


def test_evidence_must_be_named(table, split, items):
    assert "names no evidence" in found(plant(table, 3, "evidence", []), split, items)[0]
    assert "names no evidence" in found(plant(table, 3, "evidence", None), split, items)[0]


def test_lists_are_read_where_the_profile_does_not_hold_them(table, split, items):
    later = items["title"][45]
    (failure,) = found(plant(table, 3, "interests", ["old maps", later]), split, items)
    assert later in failure


def test_titles_and_dates_that_are_missing_stop_nothing(table, split, items):
    items["title"] = items["title"].astype(object)
    items.loc[[3, 45], "title"] = [None, float("nan")]
    assert certify(table, split, items).passed


def test_a_table_without_the_column_source_is_from_interactions(table, split, items):
    assert certify(table.drop(columns="source"), split, items).passed
    assert found(plant(table, 1, "source", "hearsay"), split, items) == [
        "row 2 (user 'user-01'): source 'hearsay' is none of interactions, stated, prior."
    ]


@pytest.mark.parametrize("user", ["user-03", "somebody new"])
def test_who_states_preferences_needs_no_history(table, split, items, user):
    stated = plant(plant(table, 3, "source", "stated"), 3, "user_id", user)
    assert certify(plant(stated, 3, "evidence", []), split, items).passed
    assert certify(stated, split, items).passed, "the evidence is in the histories of the neighbours by text"
    (failure,) = found(plant(plant(stated, 3, "neighbors", []), 3, "evidence", ["000"]), split, items)
    assert "evidence '000' is in no history" in failure


def test_in_her_own_words_a_person_may_name_what_is_new(table, split, items):
    later = items["title"][45]
    named = plant(table, 3, "profile", f"User identity: fan of {later}; User interests: tales")
    assert len(found(named, split, items)) == 1
    stated = plant(named, 3, "source", "stated")
    certificate = certify(stated, split, items)
    assert certificate.passed
    assert certificate.probe.hits == 1, "it is counted all the same"
    (failure,) = found(plant(stated, 3, "as_of", pd.Timestamp(split.cut + 1, unit="us", tz="UTC")), split, items)
    assert "as_of" in failure
    (failure,) = found(plant(stated, 3, "evidence", ["045"]), split, items)
    assert "evidence '045' is in no history" in failure
    (failure,) = found(plant(stated, 4, "profile", f"User identity: {later}; User interests: tales"), split, items)
    assert failure.startswith("row 5 ")


def test_a_repeated_id_is_found(table, split, items):
    again = pd.concat([table, table.iloc[[3]]], ignore_index=True)
    assert found(again, split, items) == [
        "row 51 (user 'user-03'): is a repeated id: keep one profile for each user.",
    ]
    assert item_failures(split, items, item_row(split, 42, similar=[2])) == [
        "row 3 (item '042'): is a repeated id: keep one profile for each item.",
    ]


@pytest.mark.parametrize("column", ["user_id", "profile", "interests", "evidence", "neighbors", "as_of"])
def test_a_missing_column_is_named_with_the_way_out(table, split, items, column):
    with pytest.raises(TableError, match=f"validation cut: there is no column '{column}'.*`reclm profiles build`"):
        certify(table.drop(columns=column), split, items)


def test_a_missing_column_of_items_and_their_readers_too(table, split, items):
    rows = pd.DataFrame([item_row(split, 0, users=readers(split, 0))])
    with pytest.raises(TableError, match=r"item profiles.* no column 'phase'.*`reclm profiles build`"):
        certify_items(rows.drop(columns="phase"), split, items)
    with pytest.raises(TableError, match=r"user profiles.* no column 'as_of'.*`reclm profiles build`"):
        certify_items(rows, split, items, table.drop(columns="as_of"))


def test_of_whom_nothing_is_known_the_evidence_is_what_anybody_chose(table, split, items):
    prior = plant(plant(plant(table, 3, "source", "prior"), 3, "user_id", "nobody"), 3, "neighbors", [])
    assert certify(plant(prior, 3, "evidence", ["000", "001", "041"]), split, items).passed
    (failure,) = found(plant(prior, 3, "evidence", ["000", "042"]), split, items)
    assert failure == "row 4 (user 'nobody'): evidence '042' was chosen by nobody before the cut."
    late = plant(prior, 3, "as_of", pd.Timestamp(split.cut + 1, unit="us", tz="UTC"))
    assert "as_of" in found(plant(late, 3, "evidence", []), split, items)[0]


def item_row(
    split, item, *, users=(), similar=(), profile="User identity: night owl; User interests: old maps", **other
):
    """A row of item_profiles; all columns that nobody checks are left empty."""
    row = {
        **dict.fromkeys(ITEM_PROFILE_COLUMNS),
        "item_id": f"{item:03d}",
        "profile": profile,
        "evidence": [str(split.user_ids[user]) for user in users],
        "neighbors": [f"{other:03d}" for other in similar],
        "as_of": pd.Timestamp(split.cut, unit="us", tz="UTC"),
        "phase": "interactions" if users else "similar_items",
    }
    return row | other


def readers(split, item):
    return split.history_user[split.history_item == item][:3].tolist()


def item_failures(split, items, *rows, user_profiles=None):
    honest = [item_row(split, 0, users=readers(split, 0)), item_row(split, 42, similar=[0, 2, 4])]
    table = pd.DataFrame([*honest, *rows], columns=list(ITEM_PROFILE_COLUMNS))
    certificate = certify_items(table, split, items, user_profiles)
    assert certificate.rows == len(rows) + 2
    return certificate.failures


def test_an_honest_table_of_items_passes(table, split, items):
    assert item_failures(split, items) == []
    assert item_failures(split, items, user_profiles=table) == []


def test_every_reader_of_an_item_chose_it_before_the_cut(split, items):
    """Item 44 is chosen by even users in the validation period; item 2 never by odd ones."""
    buyer = int(split.target_user[split.target_item == 44][0])
    early, late = item_row(split, 2, users=[*readers(split, 2), 1]), item_row(split, 44, users=[buyer])
    unknown = item_row(split, 4, users=readers(split, 4)) | {"evidence": ["nobody"]}
    assert item_failures(split, items, early, late, unknown) == [
        "row 3 (item '002'): evidence: user 'user-01' did not choose it before the cut.",
        f"row 4 (item '044'): evidence: user '{split.user_ids[buyer]}' did not choose it before the cut.",
        "row 5 (item '004'): evidence: user 'nobody' did not choose it before the cut.",
    ]


def test_every_similar_item_was_seen_before_the_cut(split, items):
    rows = [item_row(split, 44, similar=[0, 43]), item_row(split, 46, similar=[0]) | {"neighbors": ["nothing"]}]
    assert item_failures(split, items, *rows) == [
        "row 3 (item '044'): similar item '043' was first seen later.",
        "row 4 (item '046'): similar item 'nothing' was first seen later.",
    ]


def test_the_profiles_that_an_item_was_written_from_are_not_from_later_either(table, split, items):
    users = readers(split, 0)
    later = plant(table, int(users[1]), "as_of", pd.Timestamp(split.cut + 1, unit="us", tz="UTC"))
    (failure,) = item_failures(split, items, user_profiles=later)
    assert failure.startswith(f"row 1 (item '000'): read the profile of user '{split.user_ids[users[1]]}', whose as_of")
    (failure,) = item_failures(split, items, user_profiles=table.drop(index=int(users[0])))
    assert failure.endswith(f"user '{split.user_ids[users[0]]}' has no profile in the given table.")


def test_item_rows_say_when_and_from_what_they_were_written(split, items):
    late = pd.Timestamp(split.cut + 1, unit="us", tz="UTC")
    rows = [
        item_row(split, 2, users=readers(split, 2), as_of=late),
        item_row(split, 4, users=readers(split, 4), as_of=pd.NaT),
        item_row(split, 6, users=readers(split, 6), phase="dreams"),
        item_row(split, 8, similar=[0], phase="interactions"),
        item_row(split, 10, users=readers(split, 10), phase="similar_items"),
        item_row(split, 99, similar=[0]),
    ]
    reasons = [failure.partition("): ")[2] for failure in item_failures(split, items, *rows)]
    assert reasons == [
        f"as_of {late} is not before the cut.",
        "as_of NaT is not before the cut.",
        "phase 'dreams' is neither interactions nor similar_items.",
        "phase interactions, but names nothing that it was written from.",
        "phase similar_items, but names nothing that it was written from.",
        "is not in the data.",
    ]


def test_an_item_may_be_called_by_its_own_title_but_by_no_other_that_is_later(split, items):
    own, other = items["title"][44], items["title"][43]
    assert item_failures(split, items, item_row(split, 44, similar=[0], profile=f"fan of {own.lower()}")) == []
    (failure,) = item_failures(split, items, item_row(split, 44, similar=[0], profile=f"fan of {other.lower()}"))
    assert failure == f"row 3 (item '044'): names {other!r}, first seen later."


@pytest.fixture(scope="module")
def shipped():
    return bundled_profiles(which="validation")


@pytest.fixture(scope="module")
def shipped_splits():
    return bundled_splits()


def test_on_real_data_one_leak_of_each_kind_is_refused_with_its_row(shipped, shipped_splits):
    split, test, items = shipped_splits.validation, shipped_splits.test, shipped_splits.data.items
    new = np.flatnonzero(test.cold & [len(title.split()) > 3 for title in items["title"]])[0]
    answer = str(test.item_ids[test.target_item[test.target_user == split.history_user[-1]][0]])
    user = int(np.flatnonzero(shipped["user_id"] == split.user_ids[split.history_user[-1]])[0])
    title = items["title"][new]
    planted = plant(shipped, user, "evidence", [*shipped["evidence"][user], answer])
    planted = plant(planted, 1000, "as_of", pd.Timestamp(test.cut, unit="us", tz="UTC"))
    planted = plant(planted, 2000, "profile", shipped["profile"][2000] + f", {title.lower()}")
    certificate = certify(planted, split, items)
    failures = certificate.failures
    assert len(failures) == 3
    named = {user: f"evidence '{answer}'", 1000: "as_of", 2000: f"names {title!r}"}
    for row, reason in named.items():
        (failure,) = [one for one in failures if one.startswith(f"row {row + 1} (user '{shipped['user_id'][row]}'): ")]
        assert reason in failure
    with pytest.raises(LeakageError, match=rf"3 leaks.*row {min(named) + 1} "):
        certificate.require()


def test_a_missing_profile_text_is_no_leak(table, split, items):
    assert certify(plant(table, 3, "profile", None), split, items).passed
