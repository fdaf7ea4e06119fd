from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.data.importers.movielens import read_movielens
from reclm_hf.data.importers.online_retail import read_online_retail
from reclm_hf.data.importers.reclm_release import read_reclm_release
from reclm_hf.profiles.title_probe import probe_titles, tokens

EARLIER = ["Broken City (2013)", "Love in Paris (2001)", "Dark Water (2005)", "Carrie (1976)", "The Big Wedding (2013)"]
SPOKEN = [
    "User identity: dark thriller fan, city dweller, night owl; User interests: dark comedy, city life, love stories",
    "User identity: love story lover, city explorer, dark fantasy fan; User interests: old cities, dark humour, tales",
]


def table(later, earlier=EARLIER):
    titles = [*earlier, *later]
    items = pd.DataFrame({"title": titles, "text": titles, "categories": [["drama"]] * len(titles)})
    return items, np.arange(len(titles)) < len(earlier)


def probe(profile, *later, others=SPOKEN * 20, shown=()):
    items, warm = table(later)
    texts = [*others, profile]
    named, account = probe_titles(texts, items, warm, [*([()] * len(others)), shown])
    assert not any(named[:-1])
    return named[-1], account


@pytest.mark.parametrize(
    ("title", "mention"),
    [
        ("Iron Giant (1999)", "fan of the iron giant stories"),
        ("Iron Giant (1999)", "IRON GIANT"),
        ("Iron Giant", "iron-giant"),
        ("The King's Speech (2010)", "the kings speech"),
        ("Crazy, Stupid, Love. (2011)", "crazy, stupid, love"),
        ("Crazy, Stupid, Love. (2011)", "crazy stupid love"),
        ("Amélie Poulain (2001)", "amelie poulain"),
        ("東京物語 (1953)", "東京物語"),
        ("Gravity (2013)", "gravity (2013)"),
        ("Gravity (2013)", "gravity 2013"),
        ("It (1990)", "it 1990"),
        ("Carrie (2013)", "carrie (2013)"),
        ("Dark City (1998)", "dark city 1998"),
    ],
)
def test_titles_are_found_however_they_are_written(title, mention):
    assert probe(f"User identity: night owl; User interests: {mention}", title)[0] == [title]
    assert probe("User identity: night owl; User interests: old maps", title)[0] == []


@pytest.mark.parametrize(
    ("title", "mention"),
    [
        ("Gravity (2013)", "the gravity of things"),  # one word, no year
        ("Gravity (2013)", "gravity, 2012 stories"),
        ("The One (2001)", "the one"),
        ("Iron Giant (1999)", "anything of iron, giant robots"),  # two interests
        ("Broken City (2020)", "broken city"),  # an earlier item bears the title
        ("Wedding (2013)", "the big wedding"),
        ("City of Love (2017)", "city love"),  # other words
        ("Iron Giant (1999)", "cast iron giants"),
    ],
)
def test_ordinary_words_are_no_finding(title, mention):
    assert probe(f"User identity: night owl; User interests: {mention}", title)[0] == []


def test_a_title_of_words_that_profiles_use_anyway_needs_its_year():
    found, account = probe("dark city walks", "Dark City (1998)", "Iron Giant (1999)")
    assert found == []
    assert (account.titles, account.only_with_year, account.hits) == (2, 1, 0)
    assert probe("dark city (1998)", "Dark City (1998)")[0] == ["Dark City (1998)"]


def test_a_title_that_leaked_into_most_profiles_does_not_pass_for_ordinary_speech():
    others = [f"{text}, iron giant stories" for text in SPOKEN * 20]
    items, warm = table(["Iron Giant (1999)"])
    named, account = probe_titles(others, items, warm, [()] * len(others))
    assert account.hits == len(others)
    assert all(found == ["Iron Giant (1999)"] for found in named)


def test_words_that_earlier_items_say_side_by_side_are_known():
    """Function words between them do not count: who read of love in Paris can speak of the love of Paris."""
    assert probe("love of paris", "Love of Paris (2019)")[0] == []


def test_what_the_items_say_that_a_profile_was_written_from_is_no_finding():
    later = "Iron Giant (1999)"
    assert probe("iron giant stories", later, shown=[len(EARLIER)])[0] == []
    assert probe("iron giant stories", later, shown=[0])[0] == [later]


def test_earlier_titles_that_were_not_shown_are_counted_as_what_chance_does():
    profile, later = "fan of the big wedding", "Iron Giant (1999)"
    assert probe(profile, later)[1].decoy_hits == 1
    assert probe(profile, later, shown=[4])[1].decoy_hits == 0
    assert probe(profile, later)[1].false_positive_rate == pytest.approx(1 / 41)


def test_nothing_to_look_for_and_nothing_to_look_at():
    items, warm = table([])
    assert probe_titles([], items, warm, [])[1].false_positive_rate == 0.0
    named, account = probe_titles(["fan of old maps"], *table([None, float("nan"), "", "..."]), [()])
    assert named == [[]]
    assert account.titles == 0


def test_tokens_are_words_without_case_accents_and_apostrophes():
    assert tokens("L’Été: a Fan's Tale!") == ("lete", ",", "a", "fans", "tale", ",")
    assert tokens(None) == ()


def test_long_texts_take_linear_time():
    """Repeating the beginning of a title must not make every place a long comparison."""
    import time

    def seconds(length):
        start = time.process_time()
        probe("iron giant " * length, "iron giant " * 50 + "ends", others=SPOKEN)
        return time.process_time() - start

    seconds(100)
    assert seconds(40_000) < 20 * max(seconds(4_000), 0.02)


@pytest.fixture(scope="module")
def shipped():
    """The validation profiles, clean by construction, and what they were written from."""
    profiles, splits = bundled_profiles(which="validation"), bundled_splits()
    items, warm = splits.data.items, splits.validation.warm
    row = {item: place for place, item in enumerate(splits.data.item_ids)}
    shown = [[row[item] for item in evidence] for evidence in profiles["evidence"]]
    return profiles["profile"].tolist(), items, warm, shown


def test_false_positives_on_clean_profiles(shipped):
    texts, items, warm, shown = shipped
    _, account = probe_titles(texts, items, warm, shown)
    print(account.summary())
    assert account.titles > 1_500
    assert account.only_with_year < 0.4 * account.titles
    assert account.decoys > 5_000
    assert account.hits / account.rows < 0.01
    assert account.false_positive_rate < 0.01


@pytest.mark.shared_data
@pytest.mark.parametrize("catalogue", ["ml-1m", "online-retail", "mind"])
def test_false_positives_with_the_titles_of_other_catalogues(shipped, shared_data: Path, tmp_path, catalogue):
    """None of them can have leaked: films up to 2000 that nobody had chosen, things for the home, news of 2019."""
    texts, items, warm, shown = shipped
    if catalogue == "ml-1m":
        (tmp_path / "movies.dat").write_bytes((shared_data / "ml-1m-llm" / "movies.dat").read_bytes())
        (tmp_path / "ratings.dat").write_text("1::1::5::1\n")
        titles = read_movielens(tmp_path).items["title"]
    elif catalogue == "mind":
        titles = read_reclm_release(shared_data / "reclm-release" / "mind").items["title"]
    else:
        titles = read_online_retail(shared_data / "online-retail" / "online_retail.csv.gz").items["title"]
    decoys = pd.DataFrame({"title": titles, "text": titles, "categories": [[]] * len(titles)})
    both = pd.concat([items[["title", "text", "categories"]], decoys], ignore_index=True)
    kept = np.concatenate([warm, np.ones(len(decoys), dtype=bool)])  # the own later titles are left out
    place = np.cumsum(kept) - 1
    both, early = both[kept].reset_index(drop=True), np.arange(kept.sum()) < warm.sum()
    _, account = probe_titles(texts, both, early, [[int(place[row]) for row in rows] for rows in shown])
    print(f"{catalogue}: {account.hits} of {account.rows} profiles name one of {account.titles} titles")
    assert account.titles > 2_000
    assert account.hits / account.rows < 0.01


@pytest.mark.parametrize("with_year", [False, True])
def test_planted_titles_are_found(shipped, with_year):
    """Every later title in one profile, every other one in lower case."""
    texts, items, warm, shown = shipped
    planted, rows = list(texts), np.random.default_rng(0).permutation(len(texts))
    titles = items["title"].to_numpy()[~warm][: len(texts)]
    for row, title in zip(rows, titles, strict=False):
        written = title if with_year else re.sub(r" \(\d{4}\)$", "", title)
        planted[row] += ", " + (written.lower() if row % 2 else written)
    named, _ = probe_titles(planted, items, warm, shown)
    found = np.array([bool(named[row]) for row, _ in zip(rows, titles, strict=False)])
    short = np.array([len(tokens(re.sub(r" \(\d{4}\)$|\b(The|A|An) ", "", title))) < 2 for title in titles])
    print(
        f"planted {'with' if with_year else 'without'} year: {found.mean():.1%} of {len(titles)} found, "
        f"{found[short].mean():.1%} of {short.sum()} with one word"
    )
    if with_year:
        assert found.mean() > 0.98
        assert found[short].mean() > 0.95
    else:
        assert found[~short].mean() > 0.94, "most of the rest bear the title of an earlier film"
        assert not found[short].any()
