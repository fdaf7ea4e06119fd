"""The text encoder that all visitors share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import RLock, Thread
from typing import TYPE_CHECKING

from ..recommender.text_encoder import TextEncoder

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

_KEPT = 4096
"""Texts whose vectors are kept: some 6 MB."""


class SharedEncoder(TextEncoder):
    """A `TextEncoder` for many threads: they take turns, and the model is loaded once.

    The vectors of the latest texts are kept in memory. What visitors write goes into no file.
    """

    def __init__(self, model_id: str, revision: str | None = None, max_length: int = 128) -> None:
        super().__init__(model_id, revision, max_length)
        self._lock = RLock()
        self._recent: dict[bytes, np.ndarray] = {}

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """[n, d_t] float32 vectors of length 1. Raises ValueError as `TextEncoder.encode`."""
        with self._lock:
            found = super().encode(texts, progress=progress)
            for key in list(self._recent)[: max(0, len(self._recent) - _KEPT)]:
                del self._recent[key]  # the oldest
            return found

    def pieces(self, text: str) -> int:
        """How many tokens the text has; those after the first `max_length` are not read."""
        with self._lock:  # a tokenizer is set anew for each call: two threads would break it
            tokenizer, _ = self._model()
            return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])

    def warm(self) -> Thread:
        """Load the model in a thread of its own, so that the first visitor who writes something does not wait.

        What goes wrong there is said in the log, and again to whoever needs the encoder.
        """
        thread = Thread(target=self._load, name="text encoder", daemon=True)
        thread.start()
        return thread

    def _load(self) -> None:
        try:
            self.encode(["something to begin with"])
        except Exception as error:  # nobody waits for this thread
            logger.warning("the text encoder %s could not be loaded: %s", self.model_id, error)

    def _known(self) -> dict[bytes, np.ndarray]:
        return self._recent

    def _store(self, keys: list[bytes], vectors: np.ndarray) -> None:
        return None
