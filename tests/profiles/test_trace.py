"""Whose history a phrase comes from: by words, by meaning, or nobody's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.as_of import state_as_of
from reclm_hf.data.interactions import Interactions
from reclm_hf.profiles.trace import NEAR, ORIGINS, PhraseSource, Tracer, exchanged, listed, shares, stems_of

ITEMS = {
    "saw": ("Japanese Saw", ["Woodworking", "Tools"]),
    "mug": ("Enamel Mug", ["Camping"]),
    "film": ("A Film of Stars", ["Sci-Fi", "Comedy"]),
    "piano": ("Midnight Sonatas", ["Classical"]),
    "polish": ("Beeswax Polish", ["Woodworking"]),
    "stove": ("Gas Stove", ["Camping"]),
    "old": ("Oak Cabinets", ["Furniture"]),
}
HISTORIES = {"ann": ["old", "saw", "film"], "bob": ["saw", "mug", "polish"], "cid": ["piano", "mug", "stove"]}


@pytest.fixture(scope="module")
def data() -> Interactions:
    columns = {"item_id": list(ITEMS), "title": [title for title, _ in ITEMS.values()]}
    categories = [names for _, names in ITEMS.values()]
    texts = [f"{title}. Kinds: {', '.join(names)}" for title, names in ITEMS.values()]
    items = pd.DataFrame({**columns, "text": texts, "categories": categories})
    rows = [(user, item, day) for user, taken in HISTORIES.items() for day, item in enumerate(taken)]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "day"])
    interactions["timestamp"] = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(interactions.pop("day"), "D")
    return Interactions.from_tables(items, interactions, "shop")


@pytest.fixture(scope="module")
def tracer(data: Interactions) -> Tracer:
    return Tracer(state_as_of(data), data.items)


def row(
    identities: Sequence[str],
    interests: Sequence[str] = (),
    evidence: Sequence[str] = ("film", "saw", "polish", "mug", "stove"),
    neighbors: Sequence[str] = ("bob", "cid"),
) -> dict[str, object]:
    """A profile of ann, as a table read from Parquet has it."""
    lists = {"identities": identities, "interests": interests, "evidence": evidence, "neighbors": neighbors}
    return {"user_id": "ann", **{name: np.array(values, dtype=object) for name, values in lists.items()}}


def only(traced: list[PhraseSource]) -> PhraseSource:
    assert len(traced) == 1
    return traced[0]


def ids(result: PhraseSource) -> list[str]:
    return [match.source.id for match in result.items]


def test_own_and_neighbours_histories_are_told_apart(tracer: Tracer) -> None:
    traced = tracer.trace(row(["comedy fan", "camping lover", "woodworking enthusiast"], ["lunar gardening"]))
    assert [result.section for result in traced] == ["identities"] * 3 + ["interests"]
    assert [result.origin for result in traced] == ["own", "neighbour", "both", "none"]
    assert [result.how for result in traced] == ["words"] * 3 + ["none"]
    assert [ids(result) for result in traced] == [["film"], ["mug", "stove"], ["saw", "polish"], []]
    # The mug was bob's and cid's, the stove cid's alone; the polish bob's.
    assert [result.neighbors for result in traced] == [(), ("bob", "cid"), ("bob",), ()]
    assert traced[1].items[0].source.owners == ("bob", "cid")
    assert traced[3].unsourced == ("lunar", "gardening")


def test_items_with_more_of_the_words_come_first_and_what_is_left_is_nobodys(tracer: Tracer) -> None:
    result = only(tracer.trace(row(["gas camping stove collector"])))
    assert ids(result) == ["stove", "mug"]
    assert [match.words for match in result.items] == [("gas", "camping", "stove"), ("camping",)]
    assert result.unsourced == ("collector",)


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("comedies", ("comedies",)),
        ("comedic stars", ("comedic", "stars")),
        ("science fiction", ("sci-fi",)),
        ("Sci-Fi fans", ("sci-fi",)),
        ("cömedy", ("comedy",)),
        ("crime fiction", ()),  # fiction alone is not science fiction
        ("fan of the lovers", ()),  # says nothing
        ("of a comedy", ("comedy",)),
    ],
)
def test_words_match_whatever_their_form(tracer: Tracer, phrase: str, words: tuple[str, ...]) -> None:
    result = only(tracer.trace(row([phrase])))
    assert [match.words for match in result.items] == ([words] if words else [])


def test_how_the_texts_were_put_together_is_no_source(tracer: Tracer, data: Interactions) -> None:
    """All texts have the label "Kinds:", which says nothing; a category that all items had would."""
    assert only(tracer.trace(row(["all kinds"]))).origin == "none"
    everywhere = data.items.assign(categories=[[*names, "Kinds"] for names in data.items["categories"]])
    assert only(Tracer(state_as_of(data), everywhere).trace(row(["all kinds"]))).origin == "both"


def test_older_own_items_count_but_were_not_shown(tracer: Tracer) -> None:
    result = only(tracer.trace(row(["furniture buff"])))
    assert (result.origin, ids(result)) == ("own", ["old"])
    assert not result.items[0].source.shown
    assert [source.shown for source in tracer.sources(row([]))] == [True] * 5 + [False]


def test_evidence_is_of_the_cut(data: Interactions) -> None:
    """As of the second day ann had not taken the film, nor cid the stove: whose they are is not known then."""
    day = pd.Timestamp("2020-01-03", tz="UTC").value // 1000
    early = Tracer(state_as_of(data, day), data.items)
    assert early.history("ann") == ["saw", "old"]
    traced = early.trace(row(["comedy fan", "gas fan"]))
    assert [(result.origin, result.neighbors) for result in traced] == [("neighbour", ()), ("neighbour", ())]


def test_who_is_not_in_the_data_has_no_history(tracer: Tracer) -> None:
    stranger = {**row(["camping fan"], neighbors=["cid"], evidence=["mug"]), "user_id": "dan"}
    result = only(tracer.trace(stranger))
    assert (result.origin, result.neighbors) == ("neighbour", ("cid",))
    assert tracer.trace({"user_id": "dan", "identities": None, "interests": []}) == []
    assert only(tracer.trace({"user_id": "dan", "identities": ["oak fan"], "evidence": None})).origin == "none"


class Directions:
    """Vectors of length 1 by the first of some words that a text has; counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        self.asked += texts
        known = {"Gas": (1, 0, 0), "heating": (0.9, np.sqrt(0.19), 0), "lukewarm": (NEAR - 0.1, 0, None)}
        rows = [next((known[word] for word in known if word in text), (0, 0, 1)) for text in texts]
        return np.array([[a, b, np.sqrt(1 - a**2) if c is None else c] for a, b, c in rows], dtype=np.float32)


def test_a_phrase_without_a_common_word_may_be_near_in_meaning(data: Interactions) -> None:
    encoder = Directions()
    tracer = Tracer(state_as_of(data), data.items, encoder)
    heat, worded, far = tracer.trace(row(["heating systems", "comedy fan", "lukewarm water"], evidence=["stove"]))
    assert (heat.origin, heat.how, heat.neighbors, ids(heat)) == ("neighbour", "meaning", ("cid",), ["stove"])
    assert heat.similarity == pytest.approx(0.9)
    assert heat.unsourced == ("heating", "systems")
    assert (worded.how, worded.similarity) == ("words", None)
    assert (far.origin, far.how, far.items) == ("none", "none", ())
    assert far.similarity == pytest.approx(NEAR - 0.1)
    # Only what stood in the request is compared, and only with phrases that share no word.
    assert encoder.asked == ["Gas Stove. Kinds: Camping", "heating systems", "lukewarm water"]


def test_profiles_of_items_are_traced_to_the_profiles_they_were_read_from(tracer: Tracer) -> None:
    users = {"bob": "User identity: patient joiner", "cid": "User identity: alpine climber"}
    item = {"item_id": "mug", "evidence": ["bob", "cid"], "neighbors": []}
    traced = tracer.trace_item(
        {**item, "identities": ["alpine walker", "patient cook"], "interests": ["tea"]}, users, {}
    )
    assert [(result.origin, result.neighbors) for result in traced] == [
        ("neighbour", ("cid",)),
        ("neighbour", ("bob",)),
        ("none", ()),
    ]
    cold = {"item_id": "stove", "evidence": [], "neighbors": ["mug"], "identities": ["camping cook"], "interests": []}
    result = only(tracer.trace_item(cold, {}, {"mug": "Item identity: morning cook"}))
    assert (result.origin, ids(result)) == ("both", ["mug", "stove"])


def test_shares_of_a_table_beside_those_of_exchanged_profiles(tracer: Tracer) -> None:
    table = pd.DataFrame(
        [
            {**row(["woodworking fan"], ["comedies"], ["film", "saw"], []), "user_id": "ann"},
            {**row(["camping fan"], ["odd polish"], ["polish", "mug"], []), "user_id": "bob"},
            {**row(["sonata lover"], ["moonlight"], ["piano", "stove"], []), "user_id": "cid"},
        ]
    )
    found = shares(tracer.trace_table(table))
    assert found == {"own": 5 / 6, "both": 0.0, "neighbour": 0.0, "none": 1 / 6, "unsourced": 1 / 5}
    moved = exchanged(table)
    assert sorted(entry[0] for entry in moved["identities"]) == sorted(entry[0] for entry in table["identities"])
    assert all(mine[0] != other[0] for mine, other in zip(moved["identities"], table["identities"], strict=True))
    assert [list(entry) for entry in moved["evidence"]] == [list(entry) for entry in table["evidence"]]
    assert shares(tracer.trace_table(moved))["own"] < found["own"]
    assert all(np.isnan(shares([])[name]) for name in ORIGINS)
    with pytest.raises(ValueError, match="at least two"):
        exchanged(table[:1])


def test_stems_and_lists() -> None:
    assert stems_of("The Comedies of Comedy") == stems_of("comedic") != stems_of("comet")
    assert stems_of("romantic") == stems_of("romances")
    assert listed(None) == listed(float("nan")) == []
    assert listed(np.array(["a"], dtype=object)) == listed(("a",)) == ["a"]
