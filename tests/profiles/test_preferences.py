from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclm_hf.data.tables import PREFERENCE_COLUMNS, TableError, read_parquet, write_parquet
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.preferences import DEFAULT_SHARES, _quotas, build_preferences
from reclm_hf.profiles.profile import Profile, format_score, parse, render, well_formed
from reclm_hf.profiles.prompts import PromptStyle
from reclm_hf.profiles.rejected import KINDS, can_reject, reject, same_profile
from tests.checkerboard import checkerboard
from tests.profiles.tiny import WordEngine

CONTENT = {"neighbor", "diluted", "weak_prompt"}
OWN = Profile(("night owl", "tea drinker", "jazz fan"), ("long walks", "old maps", "rare stamps"))
OTHER = Profile(("day bird", "tea drinker", "punk fan"), ("short runs", "new maps", "night owl"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Validation split, items, profiles of all users by the word engine, and the requests that it got."""
    splits, _ = checkerboard()
    split = splits.validation
    users = np.arange(split.n_users)
    neighbors = np.stack([(users + 2 * step) % split.n_users for step in (1, 2, 3)], axis=1).astype(np.int32)
    engine = WordEngine()
    items = splits.data.items
    table = generate_user_profiles(split, items, neighbors, engine, tmp_path_factory.mktemp("shards"), progress=False)
    return split, items, table, {request.key: request for request in engine.asked}


def build(written: tuple, table: pd.DataFrame | None = None, **options) -> object:
    split, items, original, _ = written
    options = {"weak": WordEngine("weak"), **options}
    return build_preferences(original if table is None else table, split, items, **options)


def text(messages: list[dict[str, str]]) -> str:
    assert [message["role"] for message in messages] == ["assistant"]
    return messages[0]["content"]


def flat(table: pd.DataFrame) -> list[tuple]:
    return [(row.user_id, row.rejected_kind, text(row.chosen), text(row.rejected)) for row in table.itertuples()]


def test_columns_and_shares_are_exact(written: tuple) -> None:
    made = build(written)
    assert list(made.table.columns) == list(PREFERENCE_COLUMNS)
    assert len(made.table) == 50
    for kind, share in DEFAULT_SHARES.items():
        assert abs(made.counts[kind] - 50 * share) < 1, kind
    assert made.skipped == {}
    assert made.table["user_id"].is_unique
    assert made.table["accepted"].isna().all()


@given(
    weights=st.lists(st.integers(0, 9), min_size=len(KINDS), max_size=len(KINDS)).filter(any),
    total=st.integers(0, 500),
)
def test_quotas_sum_up_and_stay_within_one(weights: list[int], total: int) -> None:
    shares = {kind: weight / sum(weights) for kind, weight in zip(KINDS, weights, strict=True)}
    quotas = _quotas(shares, total)
    assert sum(quotas.values()) == total
    assert all(abs(quotas[kind] - shares[kind] * total) < 1 for kind in KINDS)
    assert all(quotas[kind] == 0 for kind in KINDS if shares[kind] == 0)


def test_the_prompt_is_what_the_profile_was_written_from(written: tuple) -> None:
    requests = written[3]
    for row in build(written).table.itertuples():
        request = requests[row.user_id]
        assert row.prompt == [request.examples[0], *request.messages]
        assert [message["role"] for message in row.prompt] == ["system", "user"]
        assert text(row.chosen) == written[2].set_index("user_id").loc[row.user_id, "profile"]


def test_chosen_and_rejected_differ_in_content(written: tuple) -> None:
    for user, kind, chosen, rejected in flat(build(written, pairs_per_user=3).table):
        assert well_formed(chosen)
        assert not same_profile(parse(chosen), parse(rejected)), (user, kind)
        if kind in CONTENT:
            assert well_formed(rejected)


def test_several_pairs_of_a_user_are_of_different_kinds(written: tuple) -> None:
    made = build(written, pairs_per_user=3)
    assert len(made.table) == 150
    assert (made.table.groupby("user_id")["rejected_kind"].nunique() == 3).all()
    for kind, share in DEFAULT_SHARES.items():
        assert abs(made.counts[kind] - 150 * share) < 1, kind


def test_order_of_rows_changes_nothing_and_the_seed_does(written: tuple) -> None:
    straight = flat(build(written).table)
    assert flat(build(written, written[2].sample(frac=1, random_state=3)).table) == straight
    assert flat(build(written, seed=1).table) != straight


def test_neighbors_profiles_come_from_the_rows_own_neighbors(written: tuple) -> None:
    table = written[2].set_index("user_id")
    pairs = flat(build(written, shares={"neighbor": 0.5, "diluted": 0.5}).table)
    assert {kind for _, kind, _, _ in pairs} == {"neighbor", "diluted"}
    for user, kind, chosen, rejected in pairs:
        near = [parse(table.loc[other, "profile"]) for other in table.loc[user, "neighbors"]]
        if kind == "neighbor":
            assert parse(rejected) in near
            continue
        own, mixed = set(parse(chosen).identities), set(parse(rejected).identities)
        foreign = mixed - own
        assert 0 < len(foreign) < 3
        assert any(foreign <= {*other.identities} for other in near)


def test_a_neighbor_with_the_same_profile_is_passed_over(written: tuple) -> None:
    table = written[2].copy()
    first = table.index[table["user_id"] == "user-00"][0]
    near = list(table.loc[first, "neighbors"])
    twins = table["user_id"].isin(near[:2])
    table.loc[twins, "profile"] = table.loc[first, "profile"]
    last = table.set_index("user_id").loc[near[2], "profile"]
    found = {user: rejected for user, _, _, rejected in flat(build(written, table, shares={"neighbor": 1.0}).table)}
    assert found["user-00"] == last
    table.loc[table["user_id"].isin(near), "profile"] = table.loc[first, "profile"]
    made = build(written, table, shares={"neighbor": 1.0})
    assert "user-00" not in set(made.table["user_id"])
    assert made.skipped["neighbor: no user left whom it fits"] >= 1
    assert len(made.table) + made.skipped["neighbor: no user left whom it fits"] == 50


def test_malformed_and_foreign_profiles_are_counted(written: tuple) -> None:
    table = written[2].copy()
    table.loc[0, "profile"] = "User identity: night owl; User interests:"
    table.loc[1, "profile"] = None
    table.loc[2, "prompt_version"] = "user-0"
    table.loc[3, "source"] = "stated"
    made = build(written, table)
    assert made.skipped == {"malformed profile": 2, "not written from a history": 1, "written with another prompt": 1}
    assert not set(table["user_id"][:4]) & set(made.table["user_id"])
    assert all("night owl; User interests:" not in rejected for _, _, _, rejected in flat(made.table))


def test_the_weak_prompt_shows_nothing_of_the_user(written: tuple) -> None:
    split, items, _, requests = written
    engine = WordEngine("weak")
    made = build(written, shares={"weak_prompt": 1.0}, weak=engine)
    assert len(made.table) == 50
    assert len(engine.asked) == 50
    for request in engine.asked:
        row = int(np.flatnonzero(split.user_ids == request.key)[0])
        own = items["title"].iloc[split.history_item[split.history_user == row]]
        shown = request.messages[-1]["content"]
        assert not [title for title in own if title in shown]
        assert "What stands out" not in shown
        assert request.messages != requests[request.key].messages


def test_weak_profiles_may_be_given(written: tuple) -> None:
    weak = {"user-03": render(OWN), "user-04": render(OTHER)}
    made = build(written, shares={"weak_prompt": 0.5, "empty": 0.5}, weak=weak)
    assert made.counts["weak_prompt"] == 2
    assert made.skipped == {"weak_prompt: no user left whom it fits": 23}
    found = {user: rejected for user, kind, _, rejected in flat(made.table) if kind == "weak_prompt"}
    assert found == weak


def test_weak_profiles_on_disk_are_not_written_again(written: tuple, tmp_path) -> None:
    first, second = WordEngine("weak"), WordEngine("weak")
    kept = [build(written, weak=engine, weak_folder=tmp_path).table for engine in (first, second)]
    assert len(first.asked) == (kept[0]["rejected_kind"] == "weak_prompt").sum() > 0
    assert second.asked == []
    assert flat(kept[0]) == flat(kept[1])


def test_the_table_survives_parquet(written: tuple, tmp_path) -> None:
    made = build(written)
    write_parquet(made.table, tmp_path / "preferences.parquet", PREFERENCE_COLUMNS)
    back = read_parquet(tmp_path / "preferences.parquet")
    assert flat(back) == flat(made.table)
    assert [list(prompt) for prompt in back["prompt"]] == made.table["prompt"].tolist()
    assert back["accepted"].isna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": {"neighbour": 1.0}}, "neighbour"),
        ({"shares": {"neighbor": 0.5}}, "sum to 0.5"),
        ({"shares": {"neighbor": 1.5, "empty": -0.5}}, "0 or more"),
        ({"shares": {"neighbor": 0.6, "empty": 0.4}, "pairs_per_user": 2}, "more than one"),
        ({"pairs_per_user": 0}, "pairs_per_user=0"),
        ({"weak": None}, "weak_prompt"),
    ],
)
def test_settings_that_cannot_be_are_refused(written: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(written, **options)


def test_tables_that_cannot_be_are_refused(written: tuple) -> None:
    table = written[2]
    with pytest.raises(TableError, match="two profiles"):
        build(written, pd.concat([table, table.iloc[:1]]))
    with pytest.raises(TableError, match="reclm profiles build"):
        build(written, table.assign(prompt_version="user-0"))
    with pytest.raises(TableError, match="reclm profiles build"):
        build(written, style=PromptStyle(columns=("title",)))
    strange = table.copy()
    strange.at[0, "evidence"] = ["no such item"]
    with pytest.raises(TableError, match="no such item"):
        build(written, strange)
    with pytest.raises(TableError, match="there is no column 'evidence'"):
        build(written, table.drop(columns="evidence"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "weak_prompt"])
def test_every_kind_makes_its_mistake(kind: str) -> None:
    texts = {reject(kind, OWN, [OTHER], np.random.default_rng(seed)) for seed in range(40)}
    assert render(OWN) not in texts
    assert len(texts) >= {"neighbor": 1, "diluted": 10, "missing_section": 3, "repetition": 3, "empty": 2}[kind]
    items = {*OWN.identities, *OWN.interests}
    for made in texts:
        found = parse(made)
        if kind == "neighbor":
            assert found == OTHER
        elif kind == "diluted":
            assert format_score(made) == 1.0
            assert 0 < len(items & {*found.identities, *found.interests}) < 6
        elif kind == "missing_section":
            assert not (found.identities and found.interests)
            assert made.count(", ") == 2
        elif kind == "repetition":
            assert len({*found.identities, *found.interests}) < 6
            assert made.count(", ") == 4
        else:
            assert (found, format_score(made)) == (Profile((), ()), 0.0)


def test_what_needs_another_neighbor_says_so() -> None:
    twin = Profile(OWN.identities[::-1], tuple(item.upper() for item in OWN.interests))
    assert same_profile(OWN, twin)
    for kind in ("neighbor", "diluted"):
        assert not can_reject(kind, OWN, [])
        assert not can_reject(kind, OWN, [twin])
        assert can_reject(kind, OWN, [twin, OTHER])
    swapped = Profile(OWN.interests, OWN.identities)
    assert can_reject("neighbor", OWN, [swapped])
    assert not can_reject("diluted", OWN, [swapped]), "it has no item of its own"
