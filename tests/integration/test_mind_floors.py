"""The floors on the authors' MIND release, against figures that were measured before with other code.

Fixed settings, nothing is chosen. Candidates are the items of the test day (`test_items`), as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from reclm_hf.baselines import FLOORS
from reclm_hf.data.describe import CLEAR_EFFECT, CLEAR_Z, text_signal
from reclm_hf.data.importers.reclm_release import read_reclm_release
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split, snapshot_split
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.recommender.text_encoder import TextEncoder

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]

ALL = 10_000  # neighbours an item: more than there are items, because the figures come from uncut similarities


class Mind(NamedTuple):
    """The authors' split, and the item texts in its order."""

    split: Split
    texts: list[str]


@pytest.fixture(scope="module")
def mind(shared_data: Path) -> Mind:
    folder = shared_data / "reclm-release" / "mind"
    if not folder.is_dir():
        pytest.skip(f"the MIND release is not at {folder}")
    raw = read_reclm_release(folder)
    data = Interactions.from_tables(raw.items, raw.interactions, "mind")
    return Mind(snapshot_split(data).test, data.items["text"].tolist())


@pytest.fixture(scope="module")
def vectors(mind: Mind) -> np.ndarray:
    """The first time this encodes 3,827 texts, which takes minutes; afterwards they come from the cache."""
    return TextEncoder().encode(mind.texts, progress=False)


def metrics(
    name: str, params: Mapping[str, Any], setting: str, mind: Mind, vectors: np.ndarray | None = None
) -> dict[str, float]:
    floor = FLOORS[name](**params).fit(mind.split, vectors)
    return evaluate(floor, mind.split, settings=(setting,)).summary()[setting]


def test_the_split_is_the_published_one(mind: Mind) -> None:
    split = mind.split
    assert split.n_users == 57_128
    assert len(split.history_item) == 89_734
    assert len(split.target_item) == 87_974
    assert len(split.candidates("test_items")) == 2_461
    assert len(split.candidates("zero_shot")) == 1_441
    assert split.targets_matrix("zero_shot").nnz == 25_928


def test_popularity(mind: Mind) -> None:
    found = metrics("popularity", {}, "test_items", mind)
    assert found["recall@20"] == pytest.approx(0.0644, abs=0.0005)
    assert found["ndcg@20"] == pytest.approx(0.0316, abs=0.0005)
    assert found["recall@40"] == pytest.approx(0.1100, abs=0.0005)


@pytest.mark.parametrize(("ridge", "recall"), [(10, 0.0460), (50, 0.0470), (200, 0.0476)])
def test_ease(mind: Mind, ridge: float, recall: float) -> None:
    found = metrics("ease", {"ridge": ridge, "min_count": 1}, "test_items", mind)
    assert found["recall@20"] == pytest.approx(recall, abs=0.0005)


@pytest.mark.parametrize(("shrink", "recall"), [(0, 0.0317), (10, 0.0344)])
def test_item_knn(mind: Mind, shrink: float, recall: float) -> None:
    found = metrics("item_knn", {"k": ALL, "shrink": shrink}, "test_items", mind)
    assert found["recall@20"] == pytest.approx(recall, abs=0.001)


@pytest.mark.parametrize(
    ("setting", "centered", "recall"),
    [
        ("test_items", False, 0.0063),
        ("test_items", True, 0.0063),
        ("zero_shot", False, 0.0119),
        ("zero_shot", True, 0.0113),
    ],
)
def test_text_cosine(mind: Mind, vectors: np.ndarray, setting: str, centered: bool, recall: float) -> None:
    """The measured figures joined the four text fields by spaces, the importer by full stops."""
    found = metrics("text_cosine", {"centered": centered}, setting, mind, vectors)
    assert found["recall@20"] == pytest.approx(recall, abs=0.001)


def test_texts_carry_no_measurable_signal(mind: Mind, vectors: np.ndarray) -> None:
    """Two clicks of one user are no closer in text than under permuted texts: the release is known for it."""
    for seed in range(3):
        signal = text_signal(mind.split, vectors, seed=seed)
        assert not signal.clear
        assert signal.verdict.startswith("no measurable text signal")
        assert abs(signal.effect) < CLEAR_EFFECT
        assert abs(signal.z) < CLEAR_Z
