"""What a trained recommender can do for people and items that it was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .catalog import Recommendations, tie_order, top_k
from .new_users import encode_new_users

if TYPE_CHECKING:
    import pandas as pd

_NEW_USER = "new user"


class ServingMixin:
    """`add_items` and `recommend_for_profile` of `RecLMRecommender`; expects its attributes."""

    config: Any
    catalog: Any
    item_text: torch.Tensor
    text_mean: torch.Tensor

    def text_encoder(self) -> Any:
        """The encoder that the configuration names, the only one whose vectors these weights understand."""
        from .text_encoder import TextEncoder

        return TextEncoder(
            self.config.text_encoder,
            revision=self.config.text_encoder_revision,
            max_length=self.config.text_max_length,
        )

    @torch.no_grad()
    def add_items(self, items: pd.DataFrame, *, vectors: np.ndarray | None = None) -> None:
        """Add cold items, with no training: they are scored through their texts.

        Args:
            items: columns `item_id`, `title`, `text` (`title` and `text` stand in for each other).
            vectors: [n, d_t] float32 encoder vectors of the texts; None encodes them here.

        Where an error is raised, model and catalogue are as they were.

        Raises:
            ValueError: an id is already in the catalogue or twice in `items`, a column is missing, an id or text is
                empty, or the vectors do not fit.
        """
        for column in ("item_id", "title"):
            if column not in items.columns:
                raise ValueError(f"add_items: there is no column {column!r}; it has {list(items.columns)}.")
        ids = [value if isinstance(value, str) else "" for value in items["item_id"]]
        titles = [value.strip() if isinstance(value, str) else "" for value in items["title"]]
        texts = [value.strip() if isinstance(value, str) else "" for value in items.get("text", items["title"])]
        texts = [text or title for text, title in zip(texts, titles, strict=True)]
        for position, (item, text) in enumerate(zip(ids, texts, strict=True)):
            if not item.strip():
                raise ValueError(
                    f"add_items: row {position + 1} has the id {items['item_id'].iloc[position]!r}; give text."
                )
            if not text:
                raise ValueError(f"add_items: item {item!r} has no text; give it a title.")
        vectors = self.text_encoder().encode(texts) if vectors is None else np.asarray(vectors)
        expected = (len(texts), self.item_text.shape[1])
        if vectors.shape != expected or not np.isfinite(vectors).all():
            raise ValueError(
                f"add_items: vectors must be finite and [{expected[0]}, {expected[1]}], got {vectors.shape}."
            )
        raw = torch.as_tensor(vectors, dtype=self.item_text.dtype, device=self.item_text.device)
        grown = self._grown(functional.normalize(raw - self.text_mean, dim=1))
        self.catalog.add_items(ids, [title or text for title, text in zip(titles, texts, strict=True)])
        for name, value in grown.items():
            setattr(self, name, value)
        self.config.n_items += len(texts)

    def _grown(self, item_text: torch.Tensor) -> dict[str, Any]:
        """Item buffers and tables with rows for new items, whose centred vectors are item_text [n, d_t]."""
        count = len(item_text)
        grown: dict[str, Any] = {"item_text": torch.cat([self.item_text, item_text])}
        for name in ("item_warm", "popularity", "item_profile"):
            buffer = getattr(self, name, None)
            if buffer is not None and len(buffer):
                grown[name] = torch.cat([buffer, buffer.new_zeros(count, *buffer.shape[1:])])
        for name in ("item_embedding", "item_bias"):
            table = getattr(self, name)
            if table is not None:
                # Zeros, and masked by item_warm: an item nobody has touched has no ID signal.
                weight = torch.cat([table.weight, table.weight.new_zeros(count, table.embedding_dim)])
                grown[name] = nn.Embedding.from_pretrained(weight, freeze=False)
        return grown

    @torch.no_grad()
    def recommend_for_profile(self, profile: str, k: int = 20, *, vector: np.ndarray | None = None) -> Recommendations:
        """The k best items for somebody the model has never seen, from a profile text alone.

        The user's ID embedding is the mean over all users; the profile takes the place of the text history.

        Args:
            profile: such as `User identity: ...; User interests: ...`.
            vector: [profile_dim] float32 encoder vector of the profile; None encodes it here.

        Raises:
            ValueError: an empty profile, k < 1, or a model without any path from a text to a score.
        """
        if not profile.strip():
            raise ValueError("recommend_for_profile: the profile is empty; say what the person likes.")
        if not self.config.floors and not (self.config.user_profiles and self.config.profile_mode == "llm"):
            raise ValueError(
                f"This model was trained with profile_mode={self.config.profile_mode!r} and cannot read a profile; "
                "train one with profile_mode='llm' or preset='floor_residual'."
            )
        encoded = self.text_encoder().encode([profile])[0] if vector is None else vector
        scores = self._profile_scores(torch.as_tensor(np.asarray(encoded), dtype=torch.float32)).numpy()
        best = top_k(scores[None, :], k, tie_order(self.catalog.n_items))[0]
        return Recommendations(
            user_ids=[_NEW_USER],
            item_ids=[[self.catalog.item_ids[item] for item in best]],
            titles=[[self.catalog.titles[item] for item in best]],
            scores=[[float(scores[item]) for item in best]],
        )

    def _profile_scores(self, encoded: torch.Tensor) -> torch.Tensor:
        """[I] scores of a user who is only a profile vector [profile_dim]."""
        model: Any = self
        profile = functional.normalize(encoded.to(self.item_text.device).unsqueeze(0) - model.profile_mean, dim=1)
        mean = model.user_embedding.weight.mean(0, keepdim=True)  # [1, w]
        found = encode_new_users(model, mean, profile, profile)
        items = torch.arange(len(self.item_text), device=profile.device)
        return found.scores(model.backbone, items[:1] * 0, items)[0].float().cpu()
