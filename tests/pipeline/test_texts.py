"""Vectors of profiles: rows of those who have one, zeros for everybody else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reclm_hf.pipeline.texts import encode_profiles


class Encoder:
    """Remembers what it was asked for; the n-th text of a call becomes n + 1."""

    dimension = 2

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.texts += texts
        return np.repeat(np.arange(1, len(texts) + 1, dtype=np.float32)[:, None], 2, axis=1)


def test_what_says_nothing_has_no_vector() -> None:
    """A missing profile, and the labels alone: their vector would be the same direction for all who have none."""
    said = {
        "d": "User identity: angler; User interests: lakes",
        "a": None,
        "b": "User identity: ; User interests:",
        "c": "",
        "e": float("nan"),
        "f": "User identity: ; User interests: maps",
    }
    encoder = Encoder()
    table = pd.DataFrame({"user_id": list(said), "profile": list(said.values())}, dtype=object)
    vectors = encode_profiles(table, np.array(list("abcdefg"), dtype=object), encoder)
    assert encoder.texts == [said["d"], said["f"]]
    assert (vectors.shape, vectors.dtype) == ((7, 2), np.float32)
    assert vectors[:, 0].tolist() == [0, 0, 0, 1, 0, 2, 0]


@pytest.mark.parametrize("profiles", [[], [None, None]])
def test_a_table_without_any_is_all_zeros(profiles: list[None]) -> None:
    encoder = Encoder()
    table = pd.DataFrame({"item_id": ["x", "y"][: len(profiles)], "profile": profiles})
    assert not encode_profiles(table, np.array(["x", "y"], dtype=object), encoder).any()
    assert encoder.texts == []


def test_a_profile_of_somebody_else_is_named() -> None:
    table = pd.DataFrame({"user_id": ["x"], "profile": ["User identity: a; User interests: b"]})
    with pytest.raises(KeyError, match="profiles of 1 users that are not in the data, first 'x'"):
        encode_profiles(table, np.array(["y"], dtype=object), Encoder())
