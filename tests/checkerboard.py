"""A small data set with known answers: users like the items of their own parity, and the item texts tell the parity."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Splits, temporal_split

N_USERS = 50
N_ITEMS = 50
N_WARM = 42  # items 0..41 occur in the first period; 42..45 first in validation, 46..49 first in test
_DAY = pd.Timedelta(days=1)
_START = pd.Timestamp("2020-01-01", tz="UTC")
_VALIDATION_DAY, _TEST_DAY, _END_DAY = 40, 50, 60


def checkerboard(dim: int = 16, noise: float = 0.1, seed: int = 0) -> tuple[Splits, np.ndarray]:
    """Splits of 50 users x 50 items and item text vectors, float32 [50, dim], of length 1.

    Row u of the users and row i of the items have parity u % 2 and i % 2 (ids sort by number: "user-07", "007").
    A user sees all warm items of the own parity but two before the validation cut. Then, in validation and again in
    test, the user takes one of these two and one of the two items of that parity that are new in the period. So in
    test a user has four unseen items of the own parity, two of which are the answers.

    Items appear one after the other during the first 40 days, so time blocks of the history have cold items too.
    Texts begin with "alpha" (even) or "beta" (odd); the vectors are two directions and a little noise.
    """
    rng = np.random.default_rng(seed)
    rows = [row for user in range(N_USERS) for row in _rows_of(user, rng)]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    item_ids = [f"{item:03d}" for item in range(N_ITEMS)]
    words = ["alpha" if item % 2 == 0 else "beta" for item in range(N_ITEMS)]
    items = pd.DataFrame(
        {
            "item_id": item_ids,
            "title": [f"Title {item}" for item in item_ids],
            "text": [f"{word} story number {item}" for word, item in zip(words, item_ids, strict=True)],
            "categories": [[word] for word in words],
            "created_at": pd.Series([pd.NaT] * N_ITEMS, dtype="datetime64[us, UTC]"),
        }
    )
    data = Interactions.from_tables(items, interactions, "checkerboard")
    early = (interactions["timestamp"] < _START + _VALIDATION_DAY * _DAY).sum()
    before_test = (interactions["timestamp"] < _START + _TEST_DAY * _DAY).sum()
    cut = int((_START + _TEST_DAY * _DAY).value // 1000)
    # Half a row more than the early ones, so that rounding cannot move the cut into them.
    splits = temporal_split(data, cut=cut, validation_fraction=1 - (early + 0.5) / before_test)
    return splits, _vectors(dim, noise, rng)


def answers(user: int, period: str) -> tuple[int, int]:
    """Rows of the warm and of the cold item that the user takes in `period` ("validation" or "test")."""
    own = list(range(user % 2, N_WARM, 2))
    place = user // 2
    if period == "validation":
        return own[place % len(own)], 42 + user % 2 + 2 * (place % 2)
    return own[(place + 7) % len(own)], 46 + user % 2 + 2 * (place % 2)


def _rows_of(user: int, rng: np.random.Generator) -> list[tuple[str, str, pd.Timestamp]]:
    periods = {"validation": (_VALIDATION_DAY, _TEST_DAY), "test": (_TEST_DAY, _END_DAY)}
    held_out = {answers(user, period)[0] for period in periods}
    # The release days spread over the first 32 of the 40 days before validation.
    days = [
        (item, rng.uniform(32 * item / N_WARM, _VALIDATION_DAY))
        for item in range(user % 2, N_WARM, 2)
        if item not in held_out
    ]
    days += [(item, rng.uniform(*bounds)) for period, bounds in periods.items() for item in answers(user, period)]
    return [(f"user-{user:02d}", f"{item:03d}", (_START + day * _DAY).floor("us")) for item, day in days]


def _vectors(dim: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    vectors = noise * rng.standard_normal((N_ITEMS, dim))
    vectors[np.arange(N_ITEMS), np.arange(N_ITEMS) % 2] += 1.0
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
