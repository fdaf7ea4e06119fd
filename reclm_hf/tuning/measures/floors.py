"""What Yes and No are told apart by without a language model, on the same rows.

An item that is a Yes stands in the user's own history, and so in every count over histories: each floor looks at the
data as they would be without the pair that is asked about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from ...data.splits import Split
from ...profiles.quality import centered, unit

FLOORS = ("popularity", "text", "item_knn", "combined")
FOLDS = 5
_SHRINK = 10.0
_RIDGE = 1.0  # on the weights of standardised scores; a weak prior that keeps separable data finite


def floor_scores(
    split: Split, item_vectors: np.ndarray, users: Sequence[str], items: Sequence[str], labels: np.ndarray
) -> dict[str, np.ndarray]:
    """`FLOORS`, each float64 [n], the higher the likelier is a Yes.

    - popularity: log(1 + interactions before the cut).
    - text: cosine of the item's text with the mean of the user's other items' texts, centred over warm items.
    - item_knn: mean over the user's other items j of n_ij / (sqrt(n_i n_j) + 10), n_ij users in common.
    - combined: logistic regression on the three, fitted on the other users' rows (`combined`).

    Args:
        item_vectors: [I, d] of the item texts. users, items: ids of the pairs. labels: [n] bool.

    Raises:
        KeyError: an id that the data do not have.
    """
    user_row = {str(identity): row for row, identity in enumerate(split.user_ids)}
    item_row = {str(identity): row for row, identity in enumerate(split.item_ids)}
    unknown = [identity for identity in users if identity not in user_row]
    unknown += [identity for identity in items if identity not in item_row]
    if unknown:
        raise KeyError(f"the data have no {unknown[0]!r}: these rows are about another data set")
    people = np.array([user_row[identity] for identity in users])
    asked = np.array([item_row[identity] for identity in items])
    found = {
        "popularity": _popularity(split, people, asked),
        "text": _text(split, item_vectors, people, asked),
        "item_knn": _item_knn(split, people, asked),
    }
    return {**found, "combined": combined(found, users, labels)}


def _popularity(split: Split, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    counts = np.bincount(split.history_item, minlength=split.n_items).astype(np.float64)
    return np.log1p(counts[items] - _held(split, users, items))


def _held(split: Split, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """float64 [n]: 1 where the pair is in the history."""
    return np.asarray(split.history_matrix()[users, items], dtype=np.float64).ravel()


def _text(split: Split, item_vectors: np.ndarray, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    directions = centered(item_vectors, np.asarray(item_vectors, dtype=np.float64)[split.warm].mean(axis=0))
    own = split.history_matrix() @ directions  # [U, d] sums
    others = unit(own[users] - _held(split, users, items)[:, None] * directions[items])
    return np.asarray((others * directions[items]).sum(axis=1))


def _item_knn(split: Split, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    history = split.history_matrix()
    columns = history.tocsc()
    counts = np.bincount(split.history_item, minlength=split.n_items).astype(np.float64)
    held = _held(split, users, items)
    found = np.zeros(len(users))
    for row, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
        own = history.indices[history.indptr[user] : history.indptr[user + 1]]
        own = own[own != item]
        if not len(own):
            continue
        readers = columns.indices[columns.indptr[item] : columns.indptr[item + 1]]
        readers = readers[readers != user]
        together = np.asarray(history[readers].sum(axis=0)).ravel()[own]
        found[row] = (together / (np.sqrt((counts[item] - held[row]) * counts[own]) + _SHRINK)).mean()
    return found


def combined(scores: Mapping[str, np.ndarray], users: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """float64 [n]: log-odds of a Yes by a logistic regression that never saw the user it speaks about.

    Users fall into `FOLDS` folds by a hash of their ids; each fold is scored by weights from the others. Scores are
    standardised by the rows that the weights are fitted on.

    Args:
        scores: name -> [n]. users: [n] ids. labels: [n] bool.
    """
    features = np.column_stack(list(scores.values()))
    fold = np.array([int.from_bytes(hashlib.sha256(str(user).encode()).digest()[:4], "big") % FOLDS for user in users])
    found = np.zeros(len(features))
    for number in np.unique(fold):
        here = fold == number
        if here.all():
            continue  # nobody else to learn from: all rows score alike
        middle, spread = features[~here].mean(axis=0), features[~here].std(axis=0)
        scaled = (features - middle) / np.where(spread > 0, spread, 1.0)
        weights = logistic_weights(scaled[~here], np.asarray(labels)[~here])
        found[here] = scaled[here] @ weights[1:] + weights[0]
    return found


def logistic_weights(features: np.ndarray, labels: np.ndarray, ridge: float = _RIDGE) -> np.ndarray:
    """[1 + k] float64, intercept first: the minimum of the log loss plus ridge / 2 times the squared weights.

    Args:
        features: [n, k]. labels: [n] bool.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    known = np.column_stack([np.ones(len(features)), features])
    truth = np.asarray(labels, dtype=np.float64)
    prior = np.r_[0.0, np.full(features.shape[1], ridge)]  # the intercept is free

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        odds = known @ weights
        value = np.logaddexp(0.0, odds).sum() - truth @ odds + 0.5 * prior @ weights**2
        return float(value), known.T @ (expit(odds) - truth) + prior * weights

    return np.asarray(minimize(loss, np.zeros(known.shape[1]), jac=True, method="L-BFGS-B").x)
