"""Whose history each phrase of a profile comes from: the user's own, a neighbour's, or nobody's.

A phrase comes from an item when the two share a content word, inflections aside. That is a matter of words, not of
causes: a common category is shared by most histories, so that the shares of a table are to be read beside those of the
same table with its profiles exchanged among the users (`exchanged`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .evidence import histories
from .persons import TASTES
from .profile import FUNCTION_WORDS
from .stems import stem

if TYPE_CHECKING:
    import pandas as pd

    from ..data.splits import Split

Origin = Literal["own", "neighbour", "both", "none"]
SECTIONS = ("identities", "interests")
ORIGINS: tuple[Origin, ...] = ("own", "both", "neighbour", "none")

NEAR = 0.5
"""Cosine from which a phrase without a common word counts as near in meaning to an item. Weak evidence: on the bundled
data, phrases reach it beside another user's evidence more than half as often as beside their own."""

_WORD = re.compile(r"[^\W_]+")
_SCIENCE_FICTION = re.compile(r"\bsci(?:ence)?[\s-]?fi(?:ction)?\b")
_SHORT = {"scifi": "sci-fi"}
_TEMPLATE_SHARE = 0.9
_TEMPLATE_TEXTS = 2_000
# Nouns that any identity may end with come from the form of a profile, not from a history.
_EMPTY_WORDS = FUNCTION_WORDS | TASTES | {"admirer", "connoisseur", "people", "person", "user", "viewer", "watcher"}


class Source(NamedTuple):
    """Something that a profile may have been written from.

    Attributes:
        id: of the item (or, for the profile of an item, of the user whose profile was read).
        text: everything that is said of it.
        owners: ids of the neighbours whose it is; empty for an own one.
        own: whether it belongs to the one whom the profile describes.
        shown: whether it stood in the request by itself; an older own item was only counted in a summary.
    """

    id: str
    text: str
    owners: tuple[str, ...] = ()
    own: bool = True
    shown: bool = True


class Match(NamedTuple):
    """A source of a phrase, and the words of the phrase that it has; no words for a match by meaning."""

    source: Source
    words: tuple[str, ...]


@dataclass(frozen=True)
class PhraseSource:
    """Where one phrase comes from.

    Attributes:
        phrase: as in the profile. section: `identities` or `interests`.
        origin: `own` where only the user's items share a word with it, `neighbour` where only others do, `both`, or
            `none`: the model's own.
        items: the sources, those with the most words first, then as in the evidence.
        how: `words`, `meaning` (no common word, but the nearest source has at least `NEAR`), `none`.
        similarity: cosine of the nearest source, where it was looked for.
        unsourced: content words of the phrase that no source has.
    """

    phrase: str
    section: str
    origin: Origin
    items: tuple[Match, ...] = ()
    how: Literal["words", "meaning", "none"] = "none"
    similarity: float | None = None
    unsourced: tuple[str, ...] = ()

    @property
    def neighbors(self) -> tuple[str, ...]:
        """Ids of the neighbours among the owners of the items, in their order."""
        return tuple(dict.fromkeys(owner for match in self.items for owner in match.source.owners))


class Tracer:
    """Traces the rows of a profile table.

    Args:
        split: whose histories before the cut the table was written from.
        items: the item table in the order of the split's item rows.
        encoder: with `encode(texts) -> [n, d]` float vectors of length 1; None: by words only.
    """

    def __init__(self, split: Split, items: pd.DataFrame, encoder: Any = None) -> None:
        columns = (items[name] for name in ("title", "categories", "text"))
        item_ids = [str(item) for item in split.item_ids]
        own = zip(split.user_ids, histories(split), strict=True)
        self._read(
            item_ids, zip(*columns, strict=True), {str(user): [item_ids[row] for row in rows] for user, rows in own}
        )
        self.encoder = encoder

    @classmethod
    def of_histories(
        cls,
        item_ids: Sequence[str],
        told: Iterable[tuple[Any, Any, Any]],
        histories: Mapping[str, Sequence[str]],
        encoder: Any = None,
    ) -> Tracer:
        """A tracer without a split.

        Args:
            told: title, categories and text of each item, in the order of `item_ids`.
            histories: user id -> item ids; most recent first, where the order is known.
        """
        tracer = cls.__new__(cls)
        tracer._read(item_ids, told, histories)
        tracer.encoder = encoder
        return tracer

    def _read(
        self, item_ids: Sequence[str], told: Iterable[tuple[Any, Any, Any]], histories: Mapping[str, Sequence[str]]
    ) -> None:
        self._texts: dict[str, str] = {}
        added: Counter[str] = Counter()
        step = 1 + len(item_ids) // _TEMPLATE_TEXTS  # whatever nearly all texts have, some thousand of them show
        for item, (title, categories, text) in zip(item_ids, told, strict=True):
            named = [part for part in (title, *listed(categories)) if isinstance(part, str)]
            said = text if isinstance(text, str) else ""
            # Most texts hold title and categories already: said twice, they would count twice in a text vector.
            self._texts[item] = " ".join([*(part for part in named if part not in said), said])
            if not len(self._texts) % step:
                added.update(stems_of(said) - stems_of(" ".join(named)))
        # What nearly all texts add to title and categories ("Genres:") is how they were put together.
        self._template = {stem for stem, count in added.items() if count > _TEMPLATE_SHARE * (len(item_ids) // step)}
        self._histories = histories

    def history(self, user_id: str) -> list[str]:
        """Item ids before the cut, most recent first; none for somebody who is not in the data."""
        return list(self._histories.get(user_id, ()))

    def sources(self, row: Mapping[str, Any]) -> list[Source]:
        """What a user's profile may come from: the evidence, then the rest of the own history.

        The neighbour of an item is whoever of the row's `neighbors` had it before the cut. Evidence that is in no
        history (another cut, other data, a popularity prior) has no owner and is not the user's own.
        """
        own = dict.fromkeys(self.history(str(row["user_id"])))
        near = {str(user): set(self.history(str(user))) for user in listed(row.get("neighbors"))}
        found = []
        for item in listed(row.get("evidence")):
            owners = () if item in own else tuple(user for user, history in near.items() if item in history)
            found.append(Source(item, self._texts.get(item, ""), owners, item in own))
        evidence = {source.id for source in found}
        return found + [Source(item, self._texts[item], shown=False) for item in own if item not in evidence]

    def trace(self, row: Mapping[str, Any]) -> list[PhraseSource]:
        """Where the phrases of one row of `user_profiles` come from."""
        return self._trace(row, self.sources(row))

    def trace_item(
        self, row: Mapping[str, Any], user_profiles: Mapping[str, str], item_profiles: Mapping[str, str]
    ) -> list[PhraseSource]:
        """Where the phrases of one row of `item_profiles` come from.

        The item's own texts are its own; the users whose profiles were read, or the similar items with theirs, are
        its neighbours, and each is its own owner.

        Args:
            user_profiles, item_profiles: id -> profile text.
        """
        item = str(row["item_id"])
        sources = [Source(item, self._texts.get(item, ""))]
        sources += [Source(user, user_profiles.get(user, ""), (user,), False) for user in listed(row.get("evidence"))]
        sources += [
            Source(near, f"{self._texts.get(near, '')} {item_profiles.get(near, '')}", (near,), False)
            for near in listed(row.get("neighbors"))
        ]
        return self._trace(row, sources)

    def trace_table(self, table: pd.DataFrame) -> list[PhraseSource]:
        """All phrases of a `user_profiles` table, row after row."""
        return [found for row in table.to_dict("records") for found in self.trace(row)]

    def _trace(self, row: Mapping[str, Any], sources: Sequence[Source]) -> list[PhraseSource]:
        stems = [stems_of(source.text) - self._template for source in sources]
        found = [
            _by_words(phrase, section, sources, stems, self._template)
            for section in SECTIONS
            for phrase in listed(row.get(section))
        ]
        open_rows = [position for position, result in enumerate(found) if result.how == "none"]
        said = [source for source in sources if source.text.strip() and source.shown]
        if self.encoder is None or not open_rows or not said:
            return found
        vectors = self.encoder.encode([source.text for source in said], progress=False)
        phrases = self.encoder.encode([found[position].phrase for position in open_rows], progress=False)
        for position, cosines in zip(open_rows, phrases @ vectors.T, strict=True):
            found[position] = _by_meaning(found[position], said, cosines)
        return found


def _by_words(
    phrase: str, section: str, sources: Sequence[Source], stems: Sequence[frozenset[str]], template: set[str]
) -> PhraseSource:
    words = {stem: word for stem, word in _content(phrase).items() if stem not in template}
    hits = [
        Match(source, tuple(words[stem] for stem in words if stem in said))
        for source, said in zip(sources, stems, strict=True)
        if not said.isdisjoint(words)
    ]
    hits.sort(key=lambda hit: -len(hit.words))
    own, others = (any(hit.source.own is side for hit in hits) for side in (True, False))
    known = {word for hit in hits for word in hit.words}
    return PhraseSource(
        phrase,
        section,
        "both" if own and others else "own" if own else "neighbour" if others else "none",
        tuple(hits),
        "words" if hits else "none",
        unsourced=tuple(word for word in words.values() if word not in known),
    )


def _by_meaning(result: PhraseSource, sources: Sequence[Source], cosines: np.ndarray) -> PhraseSource:
    best = int(np.argmax(cosines))
    source, similarity = sources[best], float(cosines[best])
    if similarity < NEAR:
        return replace(result, similarity=similarity)
    origin: Origin = "own" if source.own else "neighbour"
    return replace(result, origin=origin, items=(Match(source, ()),), how="meaning", similarity=similarity)


def shares(traced: Iterable[PhraseSource]) -> dict[str, float]:
    """Share of the phrases by origin, and `unsourced`: of those with a source, how many hold a word of nobody's.

    All NaN without phrases.
    """
    traced = list(traced)
    counts = Counter(result.origin for result in traced)
    found = {name: counts[name] / len(traced) if traced else float("nan") for name in ORIGINS}
    sourced = [result for result in traced if result.how == "words"]
    partly = sum(bool(result.unsourced) for result in sourced)
    return found | {"unsourced": partly / len(sourced) if sourced else float("nan")}


def exchanged(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The same evidence with the profiles of other users: what chance and common categories alone would share.

    Every profile moves, to a user drawn by a seeded cyclic order.

    Raises:
        ValueError: fewer than two rows.
    """
    if len(table) < 2:
        raise ValueError(f"{len(table)} profiles: at least two are needed to exchange them.")
    order = np.random.default_rng(seed).permutation(len(table))
    giver = np.empty(len(table), dtype=np.int64)
    giver[order] = np.roll(order, 1)
    written = table[list(SECTIONS)].iloc[giver].reset_index(drop=True)
    return table.reset_index(drop=True).assign(**{name: written[name] for name in SECTIONS})


@lru_cache(maxsize=100_000)
def stems_of(text: str) -> frozenset[str]:
    """The stems of the content words of a text."""
    return frozenset(_content(text))


def listed(value: Any) -> list[str]:
    """A list column's value as strings; nothing where the table has no such column or no value in this row."""
    return [str(entry) for entry in value] if isinstance(value, list | tuple | np.ndarray) else []


def _content(text: str) -> dict[str, str]:
    """Stem -> first word with it, without function words and the nouns of any identity."""
    text = "".join(
        letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(letter)
    )
    # The one short form that common categories have.
    words = _WORD.findall(_SCIENCE_FICTION.sub("scifi", text.replace("'s", "").replace("\u2019s", "")))
    found: dict[str, str] = {}
    for word in words:
        singular = word.removesuffix("s")
        if len(word) > 1 and not {word, singular} & _EMPTY_WORDS:
            found.setdefault(stem(word), _SHORT.get(word, word))
    return found
