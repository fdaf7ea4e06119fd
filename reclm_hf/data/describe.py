"""What a data set is: the rows of the paper's Table 4, quantiles, cold share, and whether its texts carry signal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from .features import center
from .splits import Split, Splits
from .tables import TableError

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
CLEAR_Z = 4.0
"""Standard deviations of the permuted texts that a clear signal lies above them."""
CLEAR_EFFECT = 0.01
"""Smallest difference of mean cosines that counts: with many pairs even a meaningless one becomes significant."""
NORMAL_95 = 1.96
_TOO_FEW_PAIRS = 20


@dataclass(frozen=True)
class Part:
    """One column of the paper's Table 4; density = interactions / (users x items)."""

    users: int
    items: int
    interactions: int
    density: float


@dataclass(frozen=True)
class TextSignal:
    """Are two items of one user closer in text than the same pairs with the texts dealt out anew?

    Attributes:
        observed: mean cosine over the pairs. permuted: the same, averaged over permutations of the items' vectors.
        effect: observed - permuted. z: effect / standard deviation over the permutations.
        low, high: 95 % interval of the effect over users, with these items and texts; NaN for a single user. z speaks
            of other texts (dealt at random among the items), the interval of other users.
        pairs, permutations: how many.
        clear: z >= CLEAR_Z and effect >= CLEAR_EFFECT.
        verdict: one line for people.
    """

    observed: float
    permuted: float
    effect: float
    z: float
    low: float
    high: float
    pairs: int
    permutations: int
    clear: bool
    verdict: str


@dataclass(frozen=True)
class Description:
    """See `describe`. Times are ISO 8601 in UTC, or None where the data have none."""

    name: str
    train: Part
    test: Part
    zero_shot: Part
    cold_item_share: float
    cold_interaction_share: float
    users_without_history: int
    duplicates_dropped: int
    history_length: dict[str, float]
    item_popularity: dict[str, float]
    first_time: str | None
    last_time: str | None
    validation_cut: str | None
    test_cut: str | None
    fingerprint: str
    text_signal: TextSignal | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The description as text for a terminal."""
        parts = {"train": self.train, "test": self.test, "zero-shot test": self.zero_shot}
        shown = [f"{self.name} (split {self.fingerprint})", "", _row("", "users", "items", "interactions", "density")]
        for label, part in parts.items():
            counts = (f"{part.users:,}", f"{part.items:,}", f"{part.interactions:,}", f"{part.density:.4%}")
            shown.append(_row(label, *counts))
        cold = (
            f"{self.cold_item_share:.1%} of the test items, {self.cold_interaction_share:.1%} of the test interactions"
        )
        shown += [
            "",
            f"cold            {cold}",
            f"left out        {self.users_without_history:,} users without history",
        ]
        shown.append(f"repeated pairs  {self.duplicates_dropped:,} rows dropped")
        if self.first_time:
            shown.append(f"time            {self.first_time} .. {self.last_time}")
            shown.append(f"cuts            validation {self.validation_cut}, test {self.test_cut}")
        shown += ["", _row("quantile", *self.history_length)]
        shown.append(_row("history length", *(f"{value:,.0f}" for value in self.history_length.values())))
        shown.append(_row("item popularity", *(f"{value:,.0f}" for value in self.item_popularity.values())))
        if self.text_signal is not None:
            shown += ["", f"text signal     {self.text_signal.verdict}"]
        return shown


def describe(
    splits: Splits, vectors: np.ndarray | None = None, *, permutations: int = 50, seed: int = 0
) -> Description:
    """Count what the protocol will see (Table 4 of the paper: train and zero-shot test), and look for text signal.

    Args:
        vectors: [I, d] text vectors in the order of the item ids; without them the diagnostic is left out.
    """
    data, test = splits.data, splits.test
    cold_target = test.cold[test.target_item]
    signal = None if vectors is None else text_signal(test, vectors, permutations=permutations, seed=seed)
    return Description(
        name=data.name,
        train=_part(test.history_user, test.history_item),
        test=_part(test.target_user, test.target_item),
        zero_shot=_part(test.target_user[cold_target], test.target_item[cold_target]),
        cold_item_share=float(test.cold.sum() / len(np.unique(test.target_item))),
        cold_interaction_share=float(cold_target.mean()),
        users_without_history=test.users_without_history,
        duplicates_dropped=data.duplicates,
        history_length=_quantiles(test.history_user),
        item_popularity=_quantiles(test.history_item),
        first_time=None if data.timestamp is None else _iso(data.timestamp.min()),
        last_time=None if data.timestamp is None else _iso(data.timestamp.max()),
        validation_cut=_iso(splits.validation.cut),
        test_cut=_iso(test.cut),
        fingerprint=splits.fingerprint,
        text_signal=signal,
    )


def text_signal(
    split: Split, vectors: np.ndarray, n_pairs: int = 20_000, permutations: int = 50, seed: int = 0
) -> TextSignal:
    """Compare the cosine of item pairs that share a user with the same pairs under permuted texts.

    Dealing the vectors out anew among the items with history keeps who took what, and thereby every item's popularity
    and every pair; only the tie between an item and its text is cut. Vectors are centred first: sentence encoders give
    all texts of one domain a large common part.

    Args:
        split: its history is used, nothing after the cut.
        vectors: [I, d] in the order of the item ids.
        permutations: 20 to 200; z is uncertain by about 1 / sqrt(2 permutations) of itself.

    Raises:
        ValueError: vectors that do not fit the items or are not finite, or fewer than two permutations.
        TableError: too few users with two items.
    """
    if vectors.ndim != 2 or len(vectors) != split.n_items:
        raise ValueError(f"vectors have shape {vectors.shape}, expected [{split.n_items}, d]: a row for each item.")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors hold NaN or infinite values; encode the texts again.")
    if permutations < 2:
        raise ValueError(f"permutations={permutations}: at least 2 are needed, 20 to 200 are sensible.")
    rng = np.random.default_rng(seed)
    warm = np.flatnonzero(split.warm)
    centred = center(np.asarray(vectors, dtype=np.float32), split.warm)[0][warm]  # [W, d]
    row = np.zeros(split.n_items, dtype=np.int64)
    row[warm] = np.arange(len(warm))
    user, *pair = _pairs(split, n_pairs, rng)
    left, right = (row[items] for items in pair)
    if len(left) < _TOO_FEW_PAIRS:
        raise TableError(f"The history holds {len(left)} pairs of items that share a user, too few to say anything.")
    cosine = _cosines(centred, left, right)
    observed = float(cosine.mean())
    null = np.empty(permutations)
    for number in range(permutations):
        dealt = rng.permutation(len(warm))
        null[number] = _cosines(centred, dealt[left], dealt[right]).mean()
    effect = observed - float(null.mean())
    spread = float(null.std(ddof=1))
    # Texts that are all alike have no spread; then there is no effect either.
    z = effect / spread if spread > 0 else 0.0
    # What is subtracted is a mean over finitely many permutations, with an error of its own.
    half = NORMAL_95 * float(np.hypot(_error_over_users(cosine, user), spread / permutations**0.5))
    clear = z >= CLEAR_Z and effect >= CLEAR_EFFECT
    numbers = f"mean cosine of two items of one user {observed:.3f}, with permuted texts {null.mean():.3f}"
    verdict = f"{'clear signal' if clear else 'no measurable text signal'}: {numbers} (effect {effect:+.3f}, z {z:.1f})"
    ends = (effect - half, effect + half)
    return TextSignal(observed, float(null.mean()), effect, z, *ends, len(left), permutations, clear, verdict)


def _pairs(split: Split, n_pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three int arrays: a user, and the items of two random rows of that history."""
    matrix = split.history_matrix()
    lengths = np.diff(matrix.indptr)
    users = np.flatnonzero(lengths >= 2)
    if not len(users):
        return (np.empty(0, dtype=np.int64),) * 3
    # Uniform over users: a handful with very long histories would otherwise be the whole sample.
    chosen = rng.choice(users, size=n_pairs)
    first = rng.integers(lengths[chosen])
    step = rng.integers(1, lengths[chosen])
    second = (first + step) % lengths[chosen]
    start = matrix.indptr[chosen]
    return chosen, matrix.indices[start + first], matrix.indices[start + second]


def _cosines(vectors: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", vectors[left], vectors[right]).astype(np.float64)


def _error_over_users(values: np.ndarray, user: np.ndarray) -> float:
    """Standard error of the mean of `values` [n] where users [n] are drawn, not single values; NaN for one user.

    The linearised ratio estimator of cluster sampling (Cochran, Sampling Techniques, 1977, chapter 6).
    """
    _, cluster = np.unique(user, return_inverse=True)
    residual = np.bincount(cluster, weights=values - values.mean())
    n = len(residual)
    return float(np.sqrt(np.square(residual).sum() * n / (n - 1)) / len(values)) if n > 1 else float("nan")


def _part(user: np.ndarray, item: np.ndarray) -> Part:
    users, items = len(np.unique(user)), len(np.unique(item))
    return Part(users, items, len(user), len(user) / (users * items) if len(user) else 0.0)


def _quantiles(rows: np.ndarray) -> dict[str, float]:
    counts = np.unique(rows, return_counts=True)[1]
    return {f"{share:.0%}": float(np.quantile(counts, share)) for share in QUANTILES}


def _iso(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    return datetime.fromtimestamp(int(microseconds) / 1e6, tz=UTC).isoformat(timespec="seconds")


def _row(label: str, *cells: str) -> str:
    return f"{label:<16}" + "".join(f"{cell:>13}" if len(cells) < 6 else f"{cell:>8}" for cell in cells)
