"""Sentence vectors of item texts and profiles, cached by content."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .catalog import read_tensors, write_atomically

logger = logging.getLogger(__name__)

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
# Tokens of a batch, padding included: the inner layer of so many fits the cache of a core.
_BATCH_TOKENS = 1024
# So many texts are sorted at a time; their tokens are in memory meanwhile.
_WINDOW = 8192


def _bundles() -> Any:
    # transformers copies this folder to the Hub as custom code and demands every import outside `try`: scoring works
    # there without the package, encoding needs it.
    try:
        from reclm_hf import bundles
    except ImportError as error:
        raise ImportError("Encoding texts needs the package: pip install reclm-hf") from error
    return bundles


class TextEncoder:
    """Mean-pooled, L2-normalised vectors of a transformer encoder (Sentence-BERT, Reimers and Gurevych 2019).

    Args:
        model_id: Hub id or folder. revision: of the Hub repository. max_length: tokens; longer texts are cut.
        cache: folder of the vector cache; None takes the package's cache folder.
    """

    def __init__(
        self,
        model_id: str = DEFAULT_ENCODER,
        revision: str | None = None,
        max_length: int = 128,
        cache: str | Path | None = None,
    ) -> None:
        self.model_id = model_id
        self.revision = revision
        self.max_length = max_length
        self._cache_root = None if cache is None else Path(cache)
        self._resolved: Any = None
        self._loaded: Any = None
        self._vectors: dict[bytes, np.ndarray] | None = None

    @property
    def dimension(self) -> int:
        """d_t, the width of the vectors."""
        from transformers import AutoConfig

        return int(AutoConfig.from_pretrained(self._source().path).hidden_size)

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        """[n, d_t] float32 vectors of length 1.

        Texts that were encoded before, in any run, are read from the cache.

        Raises:
            ValueError: a text is not a string or is empty, named by its position.
        """
        for position, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"text {position} is {text!r}: give non-empty strings only.")
        if not len(texts):
            return np.zeros((0, self.dimension), dtype=np.float32)
        known = self._known()
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            vectors = self._compute(list(missing.values()), progress)
            known.update(zip(missing, vectors, strict=True))
            self._store(list(missing), vectors)
        return np.stack([known[key] for key in keys])

    def _source(self) -> Any:
        if self._resolved is None:
            self._resolved = _bundles().resolve_model(self.model_id, self.revision)
        return self._resolved

    def _model(self) -> Any:
        if self._loaded is None:
            from transformers import AutoModel, AutoTokenizer

            path = self._source().path
            self._loaded = (AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval())
        return self._loaded

    def _compute(self, texts: list[str], progress: bool) -> np.ndarray:
        import torch
        from tqdm.auto import tqdm

        tokenizer, model = self._model()
        vectors = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode(), tqdm(total=len(texts), desc="texts", unit="text", disable=not progress) as bar:
            for rows in self._batches(texts, tokenizer):
                batch = tokenizer(
                    [texts[row] for row in rows],
                    padding=True,
                    truncation=True,
                    max_length=self.max_length,
                    return_tensors="pt",
                )
                hidden = model(**batch).last_hidden_state  # [b, tokens, d_t]
                mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                mean = (hidden * mask).sum(1) / mask.sum(1)
                vectors[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
                bar.update(len(rows))
        return vectors

    def _batches(self, texts: list[str], tokenizer: Any) -> Iterator[np.ndarray]:
        """Positions of the texts of each batch, int64 [b]: texts of one length together, so that little is padding."""
        for start in range(0, len(texts), _WINDOW):
            window = texts[start : start + _WINDOW]
            tokens = tokenizer(window, truncation=True, max_length=self.max_length, return_attention_mask=False)
            lengths = np.array([len(ids) for ids in tokens["input_ids"]])
            order = np.argsort(lengths, kind="stable")
            first = 0
            for place, position in enumerate(order):
                if place > first and (place + 1 - first) * lengths[position] > _BATCH_TOKENS:
                    yield start + order[first:place]
                    first = place
            yield start + order[first:]

    # -- cache: one file a call, named by its content; reading takes all of them -------------------------------------

    def _cache_folder(self) -> Path:
        source = self._source()
        identity = f"{self.model_id}\x00{source.revision}\x00{source.path if source.revision is None else ''}"
        key = hashlib.sha256(f"{identity}\x00{self.max_length}".encode()).hexdigest()[:16]
        return (self._cache_root or _bundles().cache_folder() / "vectors") / key

    def _known(self) -> dict[bytes, np.ndarray]:
        if self._vectors is None:
            self._vectors = {}
            for path in sorted(self._cache_folder().glob("*.safetensors")):
                try:
                    tensors = read_tensors(path, ("keys", "vectors"))
                except (ValueError, OSError) as error:
                    logger.warning("%s; its texts are encoded again.", error)
                    path.unlink(missing_ok=True)
                    continue
                keys = (bytes(row) for row in tensors["keys"])
                self._vectors.update(zip(keys, tensors["vectors"], strict=True))
        return self._vectors

    def _store(self, keys: list[bytes], vectors: np.ndarray) -> None:
        from safetensors.numpy import save_file

        folder = self._cache_folder()
        tensors = {"keys": np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1), "vectors": vectors}
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / f"{name}.safetensors", lambda path: save_file(tensors, path))
        except OSError as error:
            logger.warning(
                "the vectors could not be cached in %s (%s); they are computed again next time.", folder, error
            )
