"""Does a profile name things that were first seen later? Their titles are looked for, as far as they are telling.

A title such as "Dark City" may stand in a profile that knows nothing of it. Whether a title tells anything is decided
by how often its words would meet by chance, were the words of all profiles drawn one by one: beginning with the least
likely, titles are looked for as long as together they are expected less than `CHANCE` times in the whole table. The
others, and those with fewer than two content words, count only where their year stands behind them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .profile import FUNCTION_WORDS

if TYPE_CHECKING:
    import pandas as pd

CHANCE = 0.05
"""Chance meetings of the words of a title that are put up with, expected over all titles and profiles of a table."""

_UNSEEN_WORDS = 50_000  # a language has about so many words that a catalogue does not use
_EARLIER_WEIGHT = 1_000  # the texts of earlier items count as much as so many words of profiles
_YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
_APOSTROPHES = str.maketrans("", "", "'’`")
# In scripts without spaces each sign is a word.
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+|[,;:.!?]")
_MARKS = frozenset(",;:.!?")
_BREAK = ","  # stands for every mark that parts phrases: no title is found across two interests
# Beside the articles and prepositions: words that make no title telling.
_EMPTY_WORDS = FUNCTION_WORDS | {"is", "it", "its", "this", "that", "you", "your", "my", "our", "i", "me", "we", "be"}
_EMPTY_WORDS |= {"part", _BREAK}

Phrase = tuple[str, ...]


class _Name(NamedTuple):
    """Of which title a phrase is, and whether the title's year stands behind it."""

    title: str
    dated: bool


@dataclass(frozen=True)
class TitleProbe:
    """What was looked for in a table of profiles, and how much was found.

    Attributes:
        rows: profiles looked at.
        titles: of later items, looked for. only_with_year: of these, the ones whose words alone tell nothing.
        hits: profiles that name one.
        decoys: titles of earlier items that are as telling. decoy_hits: profiles that name one which they were not
            shown: what chance, and a model's memory of older things, do to a clean table.
    """

    rows: int
    titles: int
    only_with_year: int
    hits: int
    decoys: int
    decoy_hits: int

    @property
    def false_positive_rate(self) -> float:
        """Share of the profiles that name an earlier title which they were not shown."""
        return self.decoy_hits / self.rows if self.rows else 0.0

    def summary(self) -> str:
        """One line for a person."""
        return (
            f"{self.titles:,} later titles looked for ({self.only_with_year:,} only with their year), named by "
            f"{self.hits:,} profiles; false-positive rate {self.false_positive_rate:.2%}: {self.decoy_hits:,} name "
            f"one of {self.decoys:,} earlier titles that they were not shown"
        )


def probe_titles(
    texts: Sequence[str], items: pd.DataFrame, warm: np.ndarray, shown: Sequence[Collection[int]]
) -> tuple[list[list[str]], TitleProbe]:
    """The later titles that each text names, and the account of the search; linear in the lengths of all texts.

    A later title is not looked for if an item from before the cut says the same content words side by side, in its
    title, its text or a category: who repeats them need not know the later item.

    Args:
        texts: [P] profiles. items: columns title, text, categories, [I] rows. warm: [I] bool, seen before the cut.
        shown: [P] rows of the items that each text was written from; words of theirs are never a finding.
    """
    parts = [_parts(*row) for row in zip(items["title"], items["text"], items["categories"], strict=True)]
    before = [part for part, early in zip(parts, warm, strict=True) if early]
    titles = items["title"].to_numpy(dtype=object)
    later, earlier = _phrases(titles[~warm]), _phrases(titles[warm])
    known = _items_that_say({_key(phrase) for phrase in (*later, *earlier)}, before)
    later = {phrase: name for phrase, name in later.items() if not known[_key(phrase)]}
    decoys = {phrase: name for phrase, name in earlier.items() if known[_key(phrase)] == 1}
    spoken = [tokens(text) for text in texts]
    chance = _Chance(spoken, before, (*later, *decoys))
    limit = chance.limit(phrase for phrase, name in later.items() if not name.dated)
    wanted, lures = (
        {phrase: name for phrase, name in names.items() if name.dated or chance.of(phrase) < limit}
        for names in (later, decoys)
    )
    named, lured = (_named(names, spoken, parts, shown) for names in (wanted, lures))
    looked_for = {name.title for name in wanted.values()}
    by_words = {name.title for name in wanted.values() if not name.dated}
    return named, TitleProbe(
        rows=len(texts),
        titles=len(looked_for),
        only_with_year=len(looked_for - by_words),
        hits=sum(map(bool, named)),
        decoys=len({name.title for name in lures.values()}),
        decoy_hits=sum(map(bool, lured)),
    )


def tokens(text: object) -> Phrase:
    """Words without case, accents and apostrophes, with `_BREAK` for every mark between phrases."""
    if not isinstance(text, str):
        return ()
    plain = text.translate(_APOSTROPHES).casefold()
    if not plain.isascii():
        plain = "".join(letter for letter in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(letter))
    return tuple(_BREAK if token in _MARKS else token for token in _TOKEN.findall(plain))


def _parts(title: object, text: object, categories: Iterable[object]) -> list[Phrase]:
    return [part for part in map(tokens, (title, text, *categories)) if part]


def _phrases(titles: Iterable[object]) -> dict[Phrase, _Name]:
    """How titles may stand in a profile: their words, if there are two that count, with or without marks or year."""
    found: dict[Phrase, _Name] = {}
    for title in titles:
        if not isinstance(title, str):
            continue
        year = _YEAR.search(title)
        marked = _strip_breaks(tokens(_YEAR.sub("", title)))
        for words in dict.fromkeys((marked, _without_breaks(marked))):
            if len(_content(words)) >= 2:
                found.setdefault(words, _Name(title, False))
            if words and year:
                found.setdefault((*words, year[1]), _Name(title, True))
    return found


def _strip_breaks(words: Phrase) -> Phrase:
    inner = [place for place, word in enumerate(words) if word != _BREAK]
    return words[inner[0] : inner[-1] + 1] if inner else ()


def _without_breaks(words: Phrase) -> Phrase:
    return tuple(word for word in words if word != _BREAK)


def _content(words: Phrase) -> Phrase:
    return tuple(word for word in words if word not in _EMPTY_WORDS)


def _key(phrase: Phrase) -> Phrase:
    """What an earlier item must say for the phrase to be known: the content words; all words of "It 1990"."""
    content = _content(phrase)
    return content if len(content) >= 2 else _without_breaks(phrase)


class _Index:
    """Phrases of two words or more, found in a text by their first two."""

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        self._by_start: dict[Phrase, list[Phrase]] = defaultdict(list)
        for phrase in phrases:
            self._by_start[phrase[:2]].append(phrase)

    def find(self, words: Phrase) -> list[Phrase]:
        """Every occurrence in a text."""
        return [
            phrase
            for place in range(len(words) - 1)
            for phrase in self._by_start.get(words[place : place + 2], ())
            if words[place : place + len(phrase)] == phrase
        ]


def _items_that_say(keys: Collection[Phrase], items: Iterable[Sequence[Phrase]]) -> Counter[Phrase]:
    """In how many items each of the `keys` stands, in one of the item's parts; see `_key`."""
    index = _Index(keys)
    counts: Counter[Phrase] = Counter()
    for parts in items:
        counts.update(_said(index, parts))
    return counts


def _said(index: _Index, parts: Iterable[Phrase]) -> set[Phrase]:
    return {key for part in parts for words in (_content(part), _without_breaks(part)) for key in index.find(words)}


def _named(
    names: dict[Phrase, _Name],
    spoken: Sequence[Phrase],
    parts: Sequence[Sequence[Phrase]],
    shown: Sequence[Collection[int]],
) -> list[list[str]]:
    """The titles in each text, apart from those that an item it was written from says itself."""
    index = _Index(names)
    found = []
    for words, rows in zip(spoken, shown, strict=True):
        hits = dict.fromkeys(index.find(words))
        own = _said(_Index(map(_key, hits)), (part for row in rows for part in parts[row])) if hits else set()
        found.append(list(dict.fromkeys(names[hit].title for hit in hits if _key(hit) not in own)))
    return found


class _Chance:
    """How often the words of a phrase are expected to meet in the whole table, were they drawn one by one.

    A word is as frequent as in the profiles outside of the phrase itself (so that a title that leaked into many of
    them does not pass for ordinary speech), smoothed by the texts of earlier items with a Dirichlet prior. Words that
    these do not have share what Good and Turing leave to the unseen: the share of words seen once.
    """

    def __init__(self, spoken: Sequence[Phrase], before: Iterable[Sequence[Phrase]], phrases: Iterable[Phrase]) -> None:
        self._spoken = Counter(word for words in spoken for word in words if word != _BREAK)
        self._length = self._spoken.total()
        # Each word once an item: titles are mostly repeated in texts.
        self._earlier = Counter(
            word for parts in before for word in {word for part in parts for word in part} if word != _BREAK
        )
        once = sum(count == 1 for count in self._earlier.values())
        self._earlier_length = self._earlier.total()
        self._unseen = (once + 1) / (self._earlier_length + 1)
        index = _Index(phrases)
        self._hits = Counter(phrase for words in spoken for phrase in index.find(words))

    def of(self, phrase: Phrase) -> float:
        """The expected number."""
        words = _without_breaks(phrase)
        outside = {word: self._spoken[word] - self._hits[phrase] * words.count(word) for word in words}
        total = self._length + _EARLIER_WEIGHT
        return self._length * math.prod((outside[word] + _EARLIER_WEIGHT * self._share(word)) / total for word in words)

    def _share(self, word: str) -> float:
        count = self._earlier[word]
        if not count:
            return self._unseen / _UNSEEN_WORDS
        return (1 - self._unseen) * count / self._earlier_length

    def limit(self, phrases: Iterable[Phrase]) -> float:
        """The expected number below which phrases are telling: all below it stay within `CHANCE` together."""
        expected = np.sort([self.of(phrase) for phrase in phrases])
        beyond = expected[np.cumsum(expected) > CHANCE]
        return float(beyond[0]) if len(beyond) else CHANCE
