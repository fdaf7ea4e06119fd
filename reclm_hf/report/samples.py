"""A few profiles with their evidence, drawn by a rule and not by a hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SHOWN_EVIDENCE = 8


@dataclass(frozen=True)
class Sample:
    """One profile.

    Attributes:
        evidence: titles of the items it was written from, at most `SHOWN_EVIDENCE`; n_evidence: of how many.
        generator: what wrote it. as_of: up to when it knows anything.
    """

    user_id: str
    profile: str
    evidence: Sequence[str]
    n_evidence: int
    generator: str
    as_of: str


def sample_profiles(table: pd.DataFrame, titles: Mapping[str, str], seed: int = 0, count: int = 3) -> list[Sample]:
    """`count` rows of a `user_profiles` table, drawn by `seed` from its users in the order of their ids.

    Args:
        titles: item_id -> title; an unknown id stands for itself.
    """
    ordered = table.sort_values("user_id", kind="stable")
    chosen = np.random.default_rng(seed).permutation(len(ordered))[:count]
    return [
        Sample(
            user_id=str(row.user_id),
            profile=str(row.profile),
            evidence=[titles.get(item, item) for item in list(row.evidence)[:SHOWN_EVIDENCE]],
            n_evidence=len(row.evidence),
            generator=str(row.generator),
            as_of=f"{row.as_of:%Y-%m-%d}",
        )
        for row in ordered.iloc[chosen].itertuples()
    ]
