"""What a stage of tuning did to the profiles: one figure a user and measure, so that two stages compare in pairs.

No label is looked at. Every measure is a vector over the same users in the same order, NaN where it is undefined; its
mean over users is the figure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.splits import Split
from ...profiles.evidence import histories
from ...profiles.profile import IDENTITY_LABEL, INTERESTS_LABEL, parse, well_formed
from ...profiles.quality import centered, history_vectors, personalisation
from .clusters import CLUSTERS, TextClusters, coverage
from .free_text import Request, write_free

if TYPE_CHECKING:
    import pandas as pd

PROFILE_MEASURES = ("format", "distinct", "distinct_1", "distinct_2", "personalisation", "over_smoothing", "coverage")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Reference:
    """What profiles are held against: the histories before the cut, never a target.

    Attributes:
        item_vectors: [I, d] of `encoder`. histories: [U, d] mean directions. neighbors: [U, m] int rows, -1 for none.
        clusters: of the catalogue. encoder: `encode(texts) -> [n, d]`. seed: of the histories compared with.
    """

    split: Split
    item_vectors: np.ndarray
    histories: np.ndarray
    neighbors: np.ndarray
    clusters: TextClusters
    encoder: Any
    seed: int = 0

    @classmethod
    def of(
        cls,
        split: Split,
        item_vectors: np.ndarray,
        profiles: pd.DataFrame,
        neighbors: np.ndarray,
        encoder: Any,
        n_clusters: int = CLUSTERS,
    ) -> Reference:
        """From any `user_profiles` as of the cut: the mean of their interests is taken from those that are measured.

        Raises:
            ValueError: no profile has an interest.
        """
        said = sorted({interest for text in profiles["profile"].fillna("") for interest in parse(text).interests})
        if not said:
            raise ValueError("none of the profiles has an interest: give a table of well-formed profiles of this cut.")
        clusters = TextClusters.of(item_vectors, encoder.encode(said), n_clusters, rows=np.flatnonzero(split.warm))
        return cls(split, item_vectors, history_vectors(split, item_vectors), neighbors, clusters, encoder)


def measure_profiles(texts: Sequence[str], users: np.ndarray, reference: Reference) -> dict[str, np.ndarray]:
    """`PROFILE_MEASURES` of one text a user, each float64 [n].

    - format: 1 where the text is a profile to the letter (`profile.well_formed`).
    - distinct: 1 / users with this text; the mean is the share of different texts.
    - distinct_1, distinct_2: the mean is the share of different words, and pairs of words, among all that are written
      (Li et al. 2016); a word that k users share counts 1 / k for each.
    - personalisation: reciprocal rank of the own history among 100 users' (`quality.personalisation`).
    - over_smoothing: mean cosine with the neighbours' texts less that with strangers', texts centred; NaN where no
      neighbour is among `users`.
    - coverage: of the history's text clusters (`clusters.coverage`).

    Args:
        users: [n] int rows, each once, all with history.

    Raises:
        ValueError: not one text a user, a user twice or without history, fewer than two users with history.
    """
    if len(texts) != len(users) or len(np.unique(users)) != len(users):
        raise ValueError(f"{len(texts)} texts of {len(users)} users: give one text for each user, and each user once.")
    texts = [text.strip() for text in texts]
    vectors = _encoded(texts, reference.encoder, reference.histories.shape[1])
    copies = Counter(texts)
    found = personalisation(vectors, reference.histories, rows=users, seed=reference.seed)
    return {
        "format": np.array([float(well_formed(text)) for text in texts]),
        "distinct": np.array([1 / copies[text] for text in texts]),
        "distinct_1": distinct_words(texts, 1),
        "distinct_2": distinct_words(texts, 2),
        "personalisation": found.reciprocal_rank,
        "over_smoothing": over_smoothing_of(vectors, users, reference.neighbors),
        "coverage": _coverages(texts, users, reference),
    }


def distinct_words(texts: Sequence[str], n: int) -> np.ndarray:
    """float64 [t]: each text's part in the share of different n-grams of words, so that their mean is that share.

    The two labels of a profile are left out, being the same everywhere. NaN where no text has n words.
    """
    grams = [_grams(text, n) for text in texts]
    counts = Counter(gram for own in grams for gram in own)
    total = sum(counts.values())
    if not total:
        return np.full(len(texts), np.nan)
    return np.array([sum(1 / counts[gram] for gram in own) for own in grams]) * len(texts) / total


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = _WORD.findall(text.replace(IDENTITY_LABEL, " ").replace(INTERESTS_LABEL, " ").casefold())
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def over_smoothing_of(vectors: np.ndarray, users: np.ndarray, neighbors: np.ndarray) -> np.ndarray:
    """float64 [n]: how much more alike each user's text is to the neighbours' than to all strangers'.

    Some excess is right, since neighbours are chosen for similar taste. `quality.over_smoothing` is the same over one
    draw of strangers; all of them leave less to chance.

    Args:
        vectors: [n, d], of the users' texts. users: [n] int rows. neighbors: [U, m] int rows, -1 for none. Neighbours
            who are not among `users` are passed over.
    """
    directions = centered(vectors)
    cosines = directions @ directions.T
    place = {int(user): number for number, user in enumerate(users)}
    found = np.full(len(users), np.nan)
    for number, user in enumerate(users):
        near = sorted({place[int(other)] for other in neighbors[user] if int(other) in place})
        far = np.ones(len(users), dtype=bool)
        far[[number, *near]] = False
        if near and far.any():
            found[number] = cosines[number, near].mean() - cosines[number, far].mean()
    return found


def _coverages(texts: Sequence[str], users: np.ndarray, reference: Reference) -> np.ndarray:
    interests = [parse(text).interests for text in texts]
    said = sorted({interest for own in interests for interest in own})
    vectors = _encoded(said, reference.encoder, reference.item_vectors.shape[1])
    row_of = {interest: row for row, interest in enumerate(said)}
    chosen = histories(reference.split)
    return np.array(
        [
            coverage(reference.clusters, chosen[user], vectors[[row_of[interest] for interest in own]])
            for user, own in zip(users, interests, strict=True)
        ]
    )


def _encoded(texts: Sequence[str], encoder: Any, width: int) -> np.ndarray:
    """[n, width]; zero rows for texts without anything in them."""
    vectors = np.zeros((len(texts), width), dtype=np.float32)
    written = [row for row, text in enumerate(texts) if text.strip()]
    if written:
        vectors[written] = encoder.encode([texts[row] for row in written])
    return vectors


@dataclass(frozen=True)
class FreeWatch:
    """Measures what a model in training writes freely, for the alarms of a refinement.

    Attributes:
        texts_of: texts -> figures. requests: one for each user that is watched.
    """

    texts_of: Callable[[Sequence[str]], dict[str, float]]
    requests: Sequence[Request]
    batch_size: int = 8

    def measure(self, model: Any, tokenizer: Any) -> dict[str, float]:
        """`format` (the share of well-formed texts) and `personalisation` (mean reciprocal rank) of greedy texts."""
        return self.texts_of(write_free(model, tokenizer, self.requests, batch_size=self.batch_size))


def free_watch(
    split: Split,
    item_vectors: np.ndarray,
    users: np.ndarray,
    requests: Sequence[Request],
    encoder: Any,
    *,
    batch_size: int = 8,
) -> FreeWatch:
    """A watch over some users with history, at least two.

    Args:
        item_vectors: [I, d] of `encoder`. users: [n] int rows. requests: n, see `write_free`.

    Raises:
        ValueError: not one request a user.
    """
    if len(users) != len(requests) or len(users) < 2:
        raise ValueError(f"{len(requests)} requests of {len(users)} users: give one each, of two users at least.")
    known = history_vectors(split, item_vectors)

    def figures(texts: Sequence[str]) -> dict[str, float]:
        vectors = _encoded([text.strip() for text in texts], encoder, known.shape[1])
        return {
            "format": float(np.mean([well_formed(text) for text in texts])),
            "personalisation": personalisation(vectors, known, rows=users).mrr,
        }

    return FreeWatch(figures, requests, batch_size)
