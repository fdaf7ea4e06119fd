"""What stands in the place of a user's profile vector: the LLM's profile, or a placebo that tells what it was worth."""

from __future__ import annotations

import numpy as np

_QUARTILES = (0.25, 0.5, 0.75)


def profile_vectors(
    mode: str,
    *,
    llm: np.ndarray | None,
    raw_text: np.ndarray | None,
    history_length: np.ndarray,
    seed: int = 0,
) -> np.ndarray | None:
    """[U, profile_dim] float32 vectors for a profile mode, or None for `none`.

    Args:
        mode: `none`; `llm`; `constant`: every user has the mean profile, the base's twin in parameters; `shuffled`:
            profiles permuted among users whose history lengths are in the same quartile; `raw_text`: the mean of the
            user's own history item vectors.
        llm: [U, profile_dim] embedded profiles, zero rows for users without one; needed by all modes but `none` and
            `raw_text`.
        raw_text: [U, d_t] history means; needed by `raw_text`.
        history_length: [U] int.

    Raises:
        ValueError: an unknown mode, or vectors that the mode needs are missing.
    """
    if mode == "none":
        return None
    if mode == "raw_text":
        if raw_text is None:
            raise ValueError("profile_mode='raw_text' needs item text vectors.")
        return raw_text
    if mode not in ("llm", "constant", "shuffled"):
        raise ValueError(f"profile_mode={mode!r} is not known.")
    if llm is None:
        raise ValueError(f"profile_mode={mode!r} needs a profile table: run `reclm profiles build` first.")
    if mode == "llm":
        return llm
    written = np.abs(llm).sum(axis=1) > 0
    if mode == "constant":
        return np.broadcast_to(llm[written].mean(axis=0), llm.shape).astype(np.float32)
    return _shuffled(llm, written, history_length, np.random.default_rng(seed))


def _shuffled(llm: np.ndarray, written: np.ndarray, length: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # Within quartiles of history length, because the length itself says something about a user.
    shuffled = llm.copy()
    edges = np.quantile(length[written], _QUARTILES) if written.any() else np.zeros(3)
    quartile = np.searchsorted(edges, length, side="right")
    for number in range(4):
        rows = np.flatnonzero(written & (quartile == number))
        shuffled[rows] = llm[rng.permutation(rows)]
    return shuffled
