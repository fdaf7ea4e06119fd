"""Counts as in the paper's Table 4, and a diagnostic that tells texts with signal from texts without."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.bundled import bundled_splits
from reclm_hf.data.describe import CLEAR_EFFECT, CLEAR_Z, _error_over_users, describe, text_signal
from reclm_hf.data.features import normalize_rows
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Splits, temporal_split
from reclm_hf.data.tables import TableError

DIMENSION = 256


def hashed_words(texts: list[str]) -> np.ndarray:
    """[n, 256] float32 inverse-frequency word counts in hash buckets: text vectors without a model."""
    words = [text.lower().replace(",", " ").replace(".", " ").split() for text in texts]
    frequency: dict[str, int] = {}
    for entry in words:
        for word in set(entry):
            frequency[word] = frequency.get(word, 0) + 1
    vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
    for row, entry in enumerate(words):
        for word in entry:
            code = zlib.crc32(word.encode())
            vectors[row, code % DIMENSION] += (1 if code & 1024 else -1) * np.log(len(texts) / frequency[word] + 1)
    return vectors


@pytest.fixture(scope="module")
def splits() -> Splits:
    return bundled_splits()


@pytest.fixture(scope="module")
def vectors(splits: Splits) -> np.ndarray:
    return hashed_words(splits.data.items["text"].tolist())


def toy() -> Splits:
    """Ten rows, day by day: train has users a, b and items 1, 2, 3; item 4 is cold; c is a stranger."""
    words = ["a1", "a2", "b1", "b3", "a3", "b2", "a4", "b4", "c4", "c1"]
    rows = pd.DataFrame({"user_id": [word[0] for word in words], "item_id": [word[1] for word in words]})
    rows["timestamp"] = pd.to_datetime(range(len(words)), unit="D", utc=True)
    items = pd.DataFrame({"item_id": list("1234"), "title": list("ABCD")})
    return temporal_split(Interactions.from_tables(items, rows, "toy"), cut=6 * 86_400_000_000)


def test_table_4_of_a_toy() -> None:
    found = describe(toy())
    train, test, zero = found.train, found.test, found.zero_shot
    assert (train.users, train.items, train.interactions, train.density) == (2, 3, 6, 1.0)
    assert (test.users, test.items, test.interactions, test.density) == (2, 1, 2, 1.0)
    assert (zero.users, zero.items, zero.interactions) == (2, 1, 2)
    assert found.cold_item_share == found.cold_interaction_share == 1.0
    assert found.users_without_history == 1
    assert found.history_length["50%"] == 3
    assert found.item_popularity["100%"] == 2
    assert (found.first_time, found.test_cut) == ("1970-01-01T00:00:00+00:00", "1970-01-07T00:00:00+00:00")
    assert found.text_signal is None


def test_bundled_data(splits: Splits) -> None:
    found = describe(splits)
    assert (found.train.users, found.train.items, found.train.interactions) == (2_086, 8_057, 51_199)
    assert found.zero_shot.items == 701
    assert found.history_length["0%"] == 10
    assert json.loads(json.dumps(found.to_dict()))["train"]["items"] == 8_057
    text = "\n".join(found.lines())
    for expected in ("8,057", "701", "0.3046%", "2013-07-31"):
        assert expected in text


def test_the_bundled_texts_carry_a_clear_signal(splits: Splits, vectors: np.ndarray) -> None:
    signal = text_signal(splits.test, vectors, n_pairs=10_000, permutations=20)
    assert signal.clear
    assert signal.z > 2 * CLEAR_Z
    assert signal.verdict.startswith("clear signal")


@pytest.mark.parametrize("seed", range(5))
def test_permuted_texts_carry_none(splits: Splits, vectors: np.ndarray, seed: int) -> None:
    dealt = np.random.default_rng(seed).permutation(len(vectors))
    signal = text_signal(splits.test, vectors[dealt], n_pairs=10_000, permutations=20, seed=seed)
    assert not signal.clear
    assert abs(signal.effect) < CLEAR_EFFECT
    assert signal.verdict.startswith("no measurable text signal")


def test_a_large_z_alone_is_not_clear(splits: Splits, vectors: np.ndarray) -> None:
    """A trace of signal under much noise: significant with enough pairs, yet too small to matter."""
    noise = np.random.default_rng(0).standard_normal((splits.data.n_items, DIMENSION)).astype(np.float32)
    trace = np.concatenate([0.85 * normalize_rows(noise), 0.5 * normalize_rows(vectors)], axis=1)
    signal = text_signal(splits.test, trace, permutations=20)
    assert signal.z >= CLEAR_Z
    assert signal.effect < CLEAR_EFFECT
    assert not signal.clear


def test_equal_texts_carry_none(splits: Splits) -> None:
    signal = text_signal(splits.test, np.ones((splits.data.n_items, 4), dtype=np.float32), permutations=5)
    assert (signal.z, signal.clear) == (0.0, False)


def test_the_seed_decides(splits: Splits, vectors: np.ndarray) -> None:
    first, second, other = (
        text_signal(splits.test, vectors, n_pairs=2_000, permutations=5, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second != other


def test_the_interval_surrounds_the_effect(splits: Splits, vectors: np.ndarray) -> None:
    many, few = (text_signal(splits.test, vectors, n_pairs=n, permutations=20) for n in (20_000, 2_000))
    for signal in (many, few):
        assert (signal.low + signal.high) / 2 == pytest.approx(signal.effect)
        assert 0 < signal.low < signal.high
    assert few.high - few.low > 2 * (many.high - many.low)


def test_the_error_over_users_is_that_of_drawing_users() -> None:
    rng = np.random.default_rng(0)
    user = rng.integers(0, 80, 1_000)
    values = rng.normal(size=80)[user] + 0.5 * rng.normal(size=1_000)  # what users differ by, and single pairs
    total, count = np.bincount(user, weights=values), np.bincount(user)
    draws = rng.multinomial(80, np.full(80, 1 / 80), size=4_000)
    drawn = float(((draws @ total) / (draws @ count)).std())
    assert _error_over_users(values, user) == pytest.approx(drawn, rel=0.06)
    assert drawn > 2 * values.std() / 1_000**0.5, "pairs of one user are not independent"
    single = np.arange(1_000)
    assert _error_over_users(values, single) == pytest.approx(values.std(ddof=1) / 1_000**0.5)
    assert np.isnan(_error_over_users(values, np.zeros(1_000)))


def test_bad_vectors(splits: Splits, vectors: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a row for each item"):
        text_signal(splits.test, vectors[:-1])
    broken = vectors.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        text_signal(splits.test, broken)
    with pytest.raises(ValueError, match="permutations=1"):
        text_signal(splits.test, vectors, permutations=1)


def test_too_few_pairs() -> None:
    words = "a1 b2 c3 a4 b4"
    rows = pd.DataFrame(
        {"user_id": [word[0] for word in words.split()], "item_id": [word[1] for word in words.split()]}
    )
    rows["timestamp"] = pd.to_datetime(range(5), unit="D", utc=True)
    items = pd.DataFrame({"item_id": list("1234"), "title": list("ABCD")})
    data = Interactions.from_tables(items, rows, "thin")
    split = temporal_split(data, cut=4 * 86_400_000_000, validation_fraction=0.3).validation
    with pytest.raises(TableError, match="too few"):
        text_signal(split, np.eye(4, dtype=np.float32))
