"""Representations of all users and items, and the score that they make."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, NamedTuple, TypeVar

import torch

from .backbone import Backbone, Tables
from .batch_rows import BatchRows
from .precision import widened

T = TypeVar("T")


class PairTables(NamedTuple):
    """Of a backbone that scores pairs by itself. user: [U, w], item: [I, w], gate: [I] weight of its score."""

    user: torch.Tensor
    item: torch.Tensor
    gate: torch.Tensor


class Representations(NamedTuple):
    """score(u, i) = user[u] . item[i] + item_bias[i] (+ gate[i] x the backbone's score of the pair).

    user: [U, D], item: [I, D], item_bias: [I]. pair: None where the inner product and the bias are the whole
    score; D may be 0 where they are not.
    """

    user: torch.Tensor
    item: torch.Tensor
    item_bias: torch.Tensor
    pair: PairTables | None = None

    def by_column(self) -> Representations:
        """The same, with the item table in memory column by column: one user's scores are then read twice as fast."""
        return self._replace(item=self.item.T.contiguous().T)

    def scores(self, backbone: Backbone, users: torch.Tensor, items: torch.Tensor | slice) -> torch.Tensor:
        """[B, C] scores of user rows [B] for item rows [C], both int64; slice(None) takes all items and copies none."""
        scores = self.user[users] @ self.item[items].T
        scores += self.item_bias[items]  # in place: a block of scores is large
        if self.pair is not None:
            own = backbone.pair_scores(self.pair.user[users], self.pair.item[items])
            scores = torch.addcmul(scores, own, self.pair.gate[items])
        return scores

    def matched(self, backbone: Backbone, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """[B] scores of the pairs in line, users [B] and items [B]."""
        scores = (self.user[users] * self.item[items]).sum(-1) + self.item_bias[items]
        if self.pair is not None:
            own = backbone.matched_scores(self.pair.user[users], self.pair.item[items])
            scores = scores + own * self.pair.gate[items]
        return scores

    def compared(self, backbone: Backbone, batch: BatchRows) -> tuple[torch.Tensor, torch.Tensor]:
        """[B] scores of the users of a batch, whose rows these are, for their positives and for their negatives."""
        scores, user, items = [], widened(self.user), widened(self.item)
        for place in batch.place.view(2, -1):
            score = (user * items.index_select(0, place)).sum(-1) + self.item_bias[place]
            if self.pair is not None:
                own = backbone.matched_scores(self.pair.user, self.pair.item.index_select(0, place))
                score = score + own * self.pair.gate[place]
            scores.append(score)
        return scores[0], scores[1]

    def with_users(self, rows: torch.Tensor, pair_rows: torch.Tensor) -> Representations:
        """The same items for other users: rows [B, D], and [B, w] for a backbone that scores pairs."""
        pair = None if self.pair is None else self.pair._replace(user=pair_rows)
        return self._replace(user=rows, pair=pair)


class Memory:
    """What was computed from the weights and buffers of one version; a copy of a model starts without.

    Threads may ask at once: one computes, the others wait for it.
    """

    def __init__(self) -> None:
        self.version: Any = None
        self.values: dict[str, Any] = {}
        self._lock = RLock()  # what is computed may ask for what it is computed from

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()

    def forget(self) -> None:
        """Compute everything anew when it is asked for."""
        with self._lock:
            self.version, self.values = None, {}

    def get(self, version: Any, name: str, make: Callable[[], T]) -> T:
        """`make()`, called once a version."""
        with self._lock:
            if self.version != version:
                self.version, self.values = version, {}
            if name not in self.values:
                with torch.no_grad():
                    self.values[name] = make()
            return self.values[name]


class ScoreParts(NamedTuple):
    """The terms of the score apart, so that training need not push gradients through fixed text vectors.

    backbone: representations with every item bias. initial: what went into the backbone. text_weight, profile_weight:
    [I, 1] of user_text . item_text and of user_profile . item_text, None where there is no such term.
    """

    backbone: Representations
    initial: Tables
    text_weight: torch.Tensor | None
    profile_weight: torch.Tensor | None
