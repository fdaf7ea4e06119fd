"""Clusters of the catalogue by its texts, and how much of a history the interests of a profile reach in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...profiles.profile import USER_ITEMS
from ...profiles.quality import centered

CLUSTERS = 24


@dataclass(frozen=True)
class TextClusters:
    """k-means clusters of item texts; items and interests are each centred on their own kind.

    Attributes:
        centers: [K, d] float64 of length 1. of_item: [I] int64, the nearest center of every item.
        interest_center: [d] float64, the mean of interests' vectors, which is taken from them.
    """

    centers: np.ndarray
    of_item: np.ndarray
    interest_center: np.ndarray

    @classmethod
    def of(
        cls,
        item_vectors: np.ndarray,
        interest_vectors: np.ndarray,
        n: int = CLUSTERS,
        seed: int = 0,
        *,
        rows: np.ndarray | None = None,
    ) -> TextClusters:
        """Cluster the catalogue.

        Args:
            item_vectors: [I, d] of the item texts. rows: int, the items that are clustered (those known before the
                cut); None: all.
            interest_vectors: [m, d] of many users' interests, from any table of profiles as of the cut: only their
                mean is used. Phrases share most of their direction, and so do titles; what differs between the two
                kinds of text must not decide which cluster is near. The same table must serve whatever is compared.
            n: clusters at most.

        Raises:
            ValueError: n < 1, no items, or vectors of different widths.
        """
        from scipy.cluster.vq import kmeans2

        taken = np.asarray(item_vectors if rows is None else item_vectors[rows], dtype=np.float64)
        if n < 1 or not len(taken):
            raise ValueError(f"n={n} clusters of {len(taken)} items: give at least one of each.")
        if np.shape(interest_vectors)[1:] != taken.shape[1:] or not len(interest_vectors):
            raise ValueError(
                f"interest vectors of shape {np.shape(interest_vectors)} beside items' of width {taken.shape[1]}: give "
                "some, of one encoder."
            )
        middle = taken.mean(axis=0)
        directions = centered(taken, middle)
        different = len(np.unique(directions.round(9), axis=0))
        found, _ = kmeans2(directions, min(n, different), minit="++", rng=np.random.default_rng(seed))
        centers = centered(found, np.zeros(found.shape[1]))
        of_item = (centered(item_vectors, middle) @ centers.T).argmax(axis=1)
        return cls(centers, of_item, np.asarray(interest_vectors, dtype=np.float64).mean(axis=0))

    def nearest(self, interest_vectors: np.ndarray) -> np.ndarray:
        """[k] int64, the cluster that each interest is nearest to.

        Args:
            interest_vectors: [k, d] sentence vectors.
        """
        return np.asarray((centered(interest_vectors, self.interest_center) @ self.centers.T).argmax(axis=1))


def coverage(
    clusters: TextClusters, history: Sequence[int] | np.ndarray, interest_vectors: np.ndarray, size: int = USER_ITEMS
) -> float:
    """The share of a history that lies in text clusters that some interest is nearest to, of what is possible.

    Clusters count by how much of the history they hold: a long history touches nearly all, and to hit any of these is
    no merit. 1.0 means that the interests reach the history's `size` largest clusters, which is all they can.

    Args:
        history: item rows. interest_vectors: [k, d] of the profile's interests; there may be none.

    Returns:
        A number in [0, 1]; NaN without history.
    """
    if not len(history):
        return float("nan")
    mass = np.bincount(clusters.of_item[np.asarray(history)], minlength=len(clusters.centers))
    if not len(interest_vectors):
        return 0.0
    reached = mass[np.unique(clusters.nearest(interest_vectors)[:size])].sum()
    return float(reached / np.sort(mass)[::-1][:size].sum())
