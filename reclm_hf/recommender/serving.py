"""What a trained recommender can do for people and items that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .explain import ExplainMixin
from .fold_in import NEW_USER
from .new_users import best_items, served_view
from .ranking import Recommendations
from .representations import Representations
from .similar import SimilarMixin
from .what_if import WhatIfMixin

if TYPE_CHECKING:
    import pandas as pd

# Profile modes whose vectors come from texts that somebody can write for a new item too.
_WRITTEN = ("llm", "masked_titles")


class NewItems(NamedTuple):
    """Checked rows of `add_items`."""

    ids: list[str]
    titles: list[str]
    texts: list[str]
    categories: list[list[str]]


class ServingMixin(WhatIfMixin, SimilarMixin, ExplainMixin):
    """`add_items`, `recommend_for_profile` and the other ways to use a `RecLMRecommender`; expects its attributes."""

    config: Any
    catalog: Any
    item_text: torch.Tensor
    text_mean: torch.Tensor
    item_profile: torch.Tensor

    def text_encoder(self) -> Any:
        """The encoder that the configuration names, the only one whose vectors these weights understand."""
        from .text_encoder import TextEncoder

        return TextEncoder(
            self.config.text_encoder,
            revision=self.config.text_encoder_revision,
            max_length=self.config.text_max_length,
        )

    @torch.no_grad()
    def add_items(
        self,
        items: pd.DataFrame,
        *,
        vectors: np.ndarray | None = None,
        item_profiles: Sequence[str] | None = None,
        profile_vectors: np.ndarray | None = None,
    ) -> None:
        """Add cold items, with no training: they are scored through their texts, and their profiles where given.

        They rank as if they had been in the catalogue, without history, when the model was built.

        Args:
            items: columns `item_id`, `title`, `text` (`title` and `text` stand in for each other) and, if there,
                `categories` (lists of names).
            vectors: [n, d_t] float32 encoder vectors of the texts; None encodes them here.
            item_profiles: n profile texts (a list or a column), empty for items without one, for a model whose items
                have profiles (`profile_sides="item"` or `"both"`). Without any, the new items have none.
            profile_vectors: [n, profile_dim] float32 encoder vectors of the profiles, zero rows for items without one;
                None encodes `item_profiles` here.

        Where an error is raised, model and catalogue are as they were.

        Raises:
            ValueError: an id is already in the catalogue or twice in `items`, a column is missing, an id or text is
                empty, categories are no lists, the vectors do not fit, or the model's items have no written profiles.
        """
        new = _checked(items)
        vectors = self.text_encoder().encode(new.texts) if vectors is None else np.asarray(vectors)
        text = self._centred("vectors", vectors, self.item_text.shape[1], len(new.ids), self.text_mean)
        profile = self._new_item_profiles(text, item_profiles, profile_vectors)
        grown = self._grown(text, profile)
        self.catalog.add_items(new.ids, new.titles, new.categories)
        for name, value in grown.items():
            setattr(self, name, value)
        self._add_self_loops(len(new.ids))
        self.config.n_items += len(new.ids)

    def _centred(self, name: str, vectors: np.ndarray, width: int, count: int, mean: torch.Tensor) -> torch.Tensor:
        """[n, width] encoder vectors without their mean, of length 1."""
        if vectors.shape != (count, width) or not np.isfinite(vectors).all():
            raise ValueError(f"add_items: {name} must be finite and [{count}, {width}], got {vectors.shape}.")
        raw = torch.as_tensor(vectors, dtype=mean.dtype, device=mean.device)
        return functional.normalize(raw - mean, dim=1)

    def _new_item_profiles(
        self, text: torch.Tensor, profiles: Sequence[str] | None, vectors: np.ndarray | None
    ) -> torch.Tensor:
        """[n, profile_dim] what the profile mode puts in the place of the new items' profiles, as `build` does."""
        model: Any = self
        count, width, mode = len(text), self.config.profile_dim, self.config.profile_mode
        if profiles is not None or vectors is not None:
            if not self.config.item_profiles or mode not in _WRITTEN:
                raise ValueError(
                    f"add_items: the items of this model have no written profiles (profile_mode={mode!r}, "
                    f"profile_sides={self.config.profile_sides!r}); leave them out."
                )
            given = self._encoded_profiles(profiles, count) if vectors is None else np.asarray(vectors)
            centred = self._centred("profile_vectors", given, width, count, model.item_profile_mean)
            return centred * torch.as_tensor((given != 0).any(axis=1, keepdims=True), device=centred.device)
        if self.config.item_profiles and mode == "raw_text":
            return text
        if self.config.item_profiles and mode == "constant":
            return model.item_profile[:1].expand(count, -1)
        return text.new_zeros(count, width)

    def _encoded_profiles(self, profiles: Sequence[str] | None, count: int) -> np.ndarray:
        """[n, profile_dim] encoder vectors, zero rows for texts that are empty or missing."""
        given = [] if profiles is None else profiles
        texts = [text.strip() if isinstance(text, str) else "" for text in given]
        if len(texts) != count:
            raise ValueError(f"add_items: {len(texts)} item_profiles for {count} items; give one for each.")
        written = [row for row, text in enumerate(texts) if text]
        vectors = np.zeros((count, self.config.profile_dim), dtype=np.float32)
        if written:
            vectors[written] = self.text_encoder().encode([texts[row] for row in written])
        return vectors

    def _grown(self, text: torch.Tensor, profile: torch.Tensor) -> dict[str, Any]:
        """Item buffers and tables with rows for n new items, of centred text and profile vectors."""
        grown: dict[str, Any] = {"item_text": torch.cat([self.item_text, text])}
        if self.config.item_profiles:
            grown["item_profile"] = torch.cat([self.item_profile, profile])
        for name in ("item_warm", "popularity"):
            buffer = getattr(self, name, None)
            if buffer is not None:
                grown[name] = torch.cat([buffer, buffer.new_zeros(len(text))])
        for name in ("item_embedding", "item_bias"):
            table = getattr(self, name)
            if table is not None:
                # Zeros, and masked by item_warm: an item nobody has touched has no ID signal.
                weight = torch.cat([table.weight, table.weight.new_zeros(len(text), table.embedding_dim)])
                grown[name] = nn.Embedding.from_pretrained(weight, freeze=False)
        return grown

    def _add_self_loops(self, count: int) -> None:
        """Each new node's own entry in the adjacency, where the preset has them; before `n_items` grows."""
        graph = getattr(self, "graph", None)
        if graph is None or not self.config.reference:
            return
        first = self.config.n_users + self.config.n_items
        node = torch.arange(first, first + count, dtype=graph.adj_idx.dtype, device=graph.adj_idx.device)
        value = torch.cat([graph.adj_val, graph.adj_val.new_ones(count)])
        graph.set(torch.cat([graph.adj_idx, torch.stack([node, node])], dim=1), value)
        self.config.nnz += count

    def recommend_for_profile(
        self,
        profile: str,
        k: int = 20,
        *,
        vector: np.ndarray | None = None,
        candidates: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
    ) -> Recommendations:
        """The k best items for somebody the model has never seen, from a profile text alone.

        The user's ID embedding is the mean over users with history; the profile takes the place of the text history.

        Args:
            profile: such as `User identity: ...; User interests: ...`.
            vector: [profile_dim] float32 encoder vector of the profile; None encodes it here.
            candidates, categories, deny: filters, as in `recommend`.

        Raises:
            KeyError: an unknown item in a filter.
            ValueError: an empty profile, k < 1, a model without any path from a text to a score, or what `recommend`
                refuses.
        """
        model: Any = self
        if not profile.strip():
            raise ValueError("recommend_for_profile: the profile is empty; say what the person likes.")
        self._require_reading()
        items = model.eligible_items(candidates, categories, deny)
        encoded = self.text_encoder().encode([profile])[0] if vector is None else np.asarray(vector)
        found = self._from_profile(torch.as_tensor(encoded, dtype=torch.float32))
        return best_items(model, found, [NEW_USER], items, k)

    @torch.no_grad()
    def _from_profile(self, encoded: torch.Tensor) -> Representations:
        """The served items for one new user, of whom only a profile vector [profile_dim] is known."""
        model: Any = self
        profile = functional.normalize(encoded.to(self.item_text.device).unsqueeze(0) - model.profile_mean, dim=1)
        return self.described(served_view(model), profile)


def _checked(items: pd.DataFrame) -> NewItems:
    """The rows of `add_items` with title and text standing in for each other. Raises ValueError as said there."""
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
    titles = [title or text for title, text in zip(titles, texts, strict=True)]
    named = items["categories"] if "categories" in items.columns else [None] * len(ids)
    return NewItems(ids, titles, texts, [_categories(item, names) for item, names in zip(ids, named, strict=True)])


def _categories(item: str, names: Any) -> list[str]:
    """The categories of one item; none where the value is missing."""
    if names is None or (isinstance(names, float) and np.isnan(names)):
        return []
    listed = np.iterable(names) and not isinstance(names, str)
    if not listed or not all(isinstance(name, str) for name in names):
        raise ValueError(f"add_items: item {item!r} has the categories {names!r}; give a list of names.")
    return list(names)
