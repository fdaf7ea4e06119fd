"""A reward that anybody can check: no labels, no teacher, no model that was trained to like something.

Three parts, each in [0, 1]: whose taste a profile describes, whether it keeps the format, and how much of the taste's
range it shows. Everything comes from before the cut of the split that is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np

from ...data.splits import Split
from ...profiles.dialogues import persons_part
from ...profiles.evidence import HISTORY_ITEMS, histories
from ...profiles.profile import USER_ITEMS, format_score, parse, well_formed
from ...profiles.quality import centered, history_vectors, unit
from ..measures.clusters import CLUSTERS, TextClusters

HELD_BACK = 0.5
CONTRAST = 0.5
"""How much what only neighbours chose counts against a profile. Neighbours have much of the taste itself: subtracted in
full, little of it is left, and a stranger's profile fares nearly as well as the own. On 400 users of the bundled data
the own profile beats a neighbour's in 74 % at 1.0, 76 % at 0.5 and 73 % at 0.0; a stranger's in 57, 72 and 83 %."""

_FEWEST = 2  # a single older item says too little of somebody to judge a profile by
_OTHER_CLUSTERS = 1000  # added to the seed: what is rewarded and what is measured afterwards are clustered apart

Completion = str | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Weights:
    """What each part counts. The sum is the most that a reward can be; the least is 0.

    `similarity` is half a difference of cosines: 2.0 counts the difference itself.

    Raises:
        ValueError: a weight below 0, or all of them 0.
    """

    similarity: float = 2.0
    format: float = 0.5
    diversity: float = 0.5

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0 or not sum(astuple(self)) > 0:
            raise ValueError(f"{self}: give weights of 0 or more, one of them above 0.")


def held_back(split: Split, *, shown: int = HISTORY_ITEMS, share: float = HELD_BACK, seed: int = 0) -> list[list[int]]:
    """Item rows of every user that profiles are judged by, from the history before the cut.

    A prompt shows the latest `shown` items. Whoever has two or more older ones is judged by those, which a profile can
    meet only by describing the taste instead of repeating the list. Of a shorter history a share is drawn by a hash of
    seed, user and item, one item at least: these are shown too.
    """
    found = []
    for user, items in zip(split.user_ids, histories(split), strict=True):
        older = items[shown:]
        if len(older) < _FEWEST and items:
            draws = {item: _uniform(seed, str(user), str(split.item_ids[item])) for item in items}
            older = [item for item in items if draws[item] < share] or [min(items, key=draws.__getitem__)]
        found.append(older)
    return found


def _uniform(seed: int, user: str, item: str) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed}\x00{user}\x00{item}".encode()).digest()[:6], "big") / 2**48


@dataclass
class _Texts:
    """Vectors of texts, each encoded once."""

    encoder: Any
    known: dict[str, np.ndarray] = field(default_factory=dict)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] float64 vectors of non-empty texts."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self.known]
        if fresh:
            self.known.update(zip(fresh, np.asarray(self.encoder.encode(fresh), dtype=np.float64), strict=True))
        return np.stack([self.known[text] for text in texts])


class VerifiableReward:
    """The reward of a profile of a user, as TRL calls a reward function.

    similarity: the cosine of the profile with the mean direction of the held-back items of the user, less `contrast`
    times that with the items that only the user's neighbours chose; so that a profile of the neighbourhood's common
    taste, which is what over-smoothing makes, earns less than the own. Half of the difference is added to 0.5. format:
    `format_score`. diversity: of the text clusters in the history, the share that some interest of the profile is
    nearest to, among all clusters of the catalogue. A text that is not well-formed gets its format part only, and so
    less than any that is.

    Sentence vectors of one kind of text share most of their direction: those of items are centred on the mean history,
    those of profiles and of interests on the means of `references`.

    Args:
        split: the cut. item_vectors: [I, d] sentence vectors of the item texts; rows of items without history before
            the cut are not looked at. neighbors: [U, n] int user rows, -1 for none.
        encoder: `encode(texts) -> [n, d]`, the one that `item_vectors` are of.
        references: profiles as of the same cut; without any, profiles and interests are not centred.
        contrast: of what only neighbours chose, from 0 to 1; see `CONTRAST`.
        shown: latest items that a prompt shows. seed: of what is held back and of the clusters.

    Raises:
        ValueError: a contrast outside [0, 1], shapes that do not fit, item vectors that are not finite, no history.
    """

    __name__ = "verifiable"

    def __init__(
        self,
        split: Split,
        item_vectors: np.ndarray,
        neighbors: np.ndarray,
        encoder: Any,
        *,
        references: Sequence[str] = (),
        weights: Weights | None = None,
        contrast: float = CONTRAST,
        shown: int = HISTORY_ITEMS,
        clusters: int = CLUSTERS,
        seed: int = 0,
    ) -> None:
        if not 0 <= contrast <= 1:
            raise ValueError(f"contrast={contrast}: give a number from 0 to 1.")
        if len(item_vectors) != split.n_items or len(neighbors) != split.n_users:
            raise ValueError(
                f"{len(item_vectors)} item vectors and {len(neighbors)} rows of neighbours for {split.n_items} items "
                f"and {split.n_users} users: give one each."
            )
        if not len(split.history_item):
            raise ValueError(f"the {split.name} split has no history: there is nothing to judge profiles by.")
        self.weights = weights or Weights()
        self.neighbors = neighbors
        self.contrast = contrast
        self._rows = {str(user): row for row, user in enumerate(split.user_ids)}
        self._histories = histories(split)
        self._held_back = held_back(split, shown=shown, seed=seed)
        known = np.asarray(item_vectors, dtype=np.float64)[split.warm]
        if not np.isfinite(known).all():
            raise ValueError("the item vectors must be finite numbers.")
        self._vectors: np.ndarray = np.zeros(np.shape(item_vectors))
        self._vectors[split.warm] = unit(known)
        means = history_vectors(split, self._vectors)
        self._center = means[means.any(axis=1)].mean(axis=0)
        self._texts = _Texts(encoder)
        self._profile_center, interests = self._reference_vectors(references)
        self._clusters = TextClusters.of(
            self._vectors, interests, clusters, seed + _OTHER_CLUSTERS, rows=np.flatnonzero(split.warm)
        )
        self._directions: dict[int, np.ndarray] = {}

    def __call__(self, completions: Sequence[Completion], user_id: Sequence[str], **others: Any) -> list[float]:
        """The rewards of replies, for TRL; the parts are logged where TRL offers to.

        Judged is what a reply says of the person, as profiles are read later: a model that was tuned on dialogues calls
        it "The person:" and may go on with similar people.

        Args:
            completions: n texts, or chats whose last message is the reply. user_id: whom each is about.

        Raises:
            KeyError: a user who is not in the data.
        """
        parts = self.parts([persons_part(reply_text(completion)) for completion in completions], user_id)
        if log := others.get("log_metric"):
            for name in ("similarity", "format", "diversity"):
                log(f"verifiable/{name}", float(parts[name].mean()))
        return [float(value) for value in parts["total"]]

    def parts(self, texts: Sequence[str], users: Sequence[str]) -> dict[str, np.ndarray]:
        """float64 [n] each: similarity, format and diversity in [0, 1], and their weighted sum as total.

        Raises:
            KeyError: a user who is not in the data.
        """
        rows = [self._row(user) for user in users]
        found = {name: np.zeros(len(texts)) for name in ("similarity", "format", "diversity")}
        found["format"][:] = [format_score(text) for text in texts]
        whole = [place for place, text in enumerate(texts) if well_formed(text)]
        interests = [parse(texts[place], USER_ITEMS).interests for place in whole]
        if whole:
            # All in one call: what is new is encoded as one batch.
            self._texts([*(texts[place].strip() for place in whole), *(name for names in interests for name in names)])
        for place, names in zip(whole, interests, strict=True):
            found["similarity"][place] = self._similarity(texts[place].strip(), rows[place])
            found["diversity"][place] = self._diversity(names, rows[place])
        total = np.sum([getattr(self.weights, name) * values for name, values in found.items()], axis=0)
        return {**found, "total": total}

    def _row(self, user: str) -> int:
        if str(user) not in self._rows:
            raise KeyError(f"user {user!r} is not in the data that profiles are rewarded by: wrong data set?")
        return self._rows[str(user)]

    def _similarity(self, text: str, user: int) -> float:
        vector = centered(self._texts([text]), self._profile_center)[0]
        return float(0.5 + 0.5 * np.clip(self._direction(user) @ vector, -1.0, 1.0))

    def _direction(self, user: int) -> np.ndarray:
        """[d] what a profile of the user should point to, less what it should not."""
        if user not in self._directions:
            own = set(self._histories[user])
            near = {item for other in self.neighbors[user] if other >= 0 for item in self._histories[other]} - own
            theirs = self.contrast * self._mean_direction(sorted(near))
            self._directions[user] = self._mean_direction(self._held_back[user]) - theirs
        return self._directions[user]

    def _mean_direction(self, items: Sequence[int]) -> np.ndarray:
        if not items:
            return np.zeros(self._vectors.shape[1])
        mean: np.ndarray = centered(unit(self._vectors[list(items)].mean(axis=0)[None]), self._center)[0]
        return mean

    def _diversity(self, interests: Sequence[str], user: int) -> float:
        own = {int(self._clusters.of_item[item]) for item in self._histories[user]}
        met = set(self._clusters.nearest(self._texts(interests)).tolist())
        return len(own & met) / len(own) if own else 0.0

    def _reference_vectors(self, references: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """[d] the mean vector of well-formed references, and [m, d] the vectors of their interests."""
        texts = [text.strip() for text in references if isinstance(text, str) and well_formed(text)]
        interests = sorted({name for text in texts for name in parse(text, USER_ITEMS).interests})
        if not texts:
            width = self._vectors.shape[1]
            return np.zeros(width), np.zeros((1, width))
        self._texts([*texts, *interests])
        return self._texts(texts).mean(axis=0), self._texts(interests)


def reply_text(completion: Completion) -> str:
    """The reply of a completion as TRL hands it over: a text, or a chat whose last message is the reply."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
