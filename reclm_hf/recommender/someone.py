"""Whom `rank_for` ranks for; apart from it, so that whoever only describes a person need not load torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Someone:
    """Whom to rank for, and what is known of them.

    Attributes:
        user_id: a known user; None: somebody new.
        history: item ids, in any order, repeated ones count once. None: the known user's own, or nothing of somebody
            new. Any list, be it the known user's own, is folded in.
        profile: profile text. None: the known user's own, or nothing of somebody new; "": as if none had been written.
        vector: [profile_dim] float32 encoder vector of `profile`; None encodes it.
    """

    user_id: str | None = None
    history: Sequence[str] | None = None
    profile: str | None = None
    vector: np.ndarray | None = None
