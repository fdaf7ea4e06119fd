"""Greedy continuation of many prompts that share a beginning, without running any token of a prompt twice.

The shared beginning (system message and examples) goes through the model once; its keys and values are copied into
the cache of every batch. Prompts are padded on the left, so that in the cache the padding lies between the shared
beginning and the rest of a prompt, hidden by the attention mask, with positions counted over visible tokens only.
A continuation can be hidden again and another text put in its place, so that a second slot is filled from the same
cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _RoomyLayer(DynamicLayer):
    """A cache layer with room for the whole decoding: tokens are written in place.

    The stock layer concatenates, which copies the whole cache for every new token; on a CPU that costs more than the
    model itself.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, batch: int, capacity: int) -> None:
        super().__init__()
        self.dtype, self.device = keys.dtype, keys.device
        _, heads, self._length, width = keys.shape
        self._all_keys = keys.new_zeros((batch, heads, capacity, width))
        self._all_values = values.new_zeros((batch, heads, capacity, values.shape[-1]))
        self._all_keys[:, :, : self._length] = keys
        self._all_values[:, :, : self._length] = values
        self._show()

    def _show(self) -> None:
        self.keys = self._all_keys[:, :, : self._length]
        self.values = self._all_values[:, :, : self._length]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = self._length + key_states.shape[-2]
        self._all_keys[:, :, self._length : end] = key_states
        self._all_values[:, :, self._length : end] = value_states
        self._length = end
        self._show()
        return self._all_keys[:, :, :end], self._all_values[:, :, :end]

    def get_seq_length(self) -> int:
        return self._length


class SharedPrefix:
    """The keys and values of the tokens that all prompts begin with.

    Args:
        model: a causal language model, in evaluation mode.
        tokens: the common first tokens; at least one, since padding must never be all that a token can see.

    Raises:
        ValueError: no tokens.
    """

    def __init__(self, model: PreTrainedModel, tokens: Sequence[int]) -> None:
        if not tokens:
            raise ValueError("the prompts need at least one token in common to begin with")
        self.model = model
        self.tokens = list(tokens)
        with torch.inference_mode():
            ids = torch.tensor([self.tokens], device=model.device)
            self.layers = [
                (layer.keys, layer.values)
                for layer in model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values.layers
            ]

    def batch(self, suffixes: Sequence[Sequence[int]], pad: int, room: int) -> PromptBatch:
        """Start decoding prompts `self.tokens + suffix`, with room for `room` further tokens in each."""
        return PromptBatch(self, suffixes, pad, room)


class PromptBatch:
    """A batch of prompts being continued. Rows are independent; `logits` [B, V] float32 are those of the next token."""

    def __init__(self, prefix: SharedPrefix, suffixes: Sequence[Sequence[int]], pad: int, room: int) -> None:
        self.model = prefix.model
        self.pad = pad
        self.size = len(suffixes)
        used = len(prefix.tokens)
        capacity = used + max(map(len, suffixes)) + room
        self.cache = Cache(layers=[_RoomyLayer(keys, values, self.size, capacity) for keys, values in prefix.layers])
        self.mask = torch.ones((self.size, used), dtype=torch.long, device=self.model.device)
        self.visible = torch.full((self.size,), used, dtype=torch.long, device=self.model.device)
        self.logits = self.read(suffixes)

    def read(self, chunks: Sequence[Sequence[int]]) -> torch.Tensor:
        """Let every row read some tokens (padded on the left) and return the logits after the last one."""
        width = max(map(len, chunks))
        ids = torch.full((self.size, width), self.pad, dtype=torch.long)
        mask = torch.zeros((self.size, width), dtype=torch.long)
        for row, chunk in enumerate(chunks):
            if chunk:
                ids[row, width - len(chunk) :] = torch.tensor(list(chunk))
                mask[row, width - len(chunk) :] = 1
        return self._step(ids.to(self.mask.device), mask.to(self.mask.device))

    def _step(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        positions = (self.visible[:, None] + mask.cumsum(1) - 1).clamp_min(0)
        self.mask = torch.cat([self.mask, mask], dim=1)
        self.visible = self.visible + mask.sum(1)
        with torch.inference_mode():
            out = self.model(
                input_ids=ids,
                attention_mask=self.mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self.logits = out.logits[:, -1].float()
        return self.logits

    def continue_with(
        self,
        pick: Callable[[torch.Tensor, list[list[int]]], torch.Tensor],
        finished: Callable[[int, list[int]], bool],
        max_tokens: int,
    ) -> list[list[int]]:
        """Extend every row token by token; returns the new tokens of each row, the ending one included.

        Args:
            pick: (logits [B, V], tokens of each row so far) -> [B] next tokens.
            finished: (row, its tokens so far) -> whether the row needs no more.
            max_tokens: the most tokens of a row.
        """
        rows: list[list[int]] = [[] for _ in range(self.size)]
        open_rows = list(range(self.size))
        for step in range(max_tokens):
            chosen = pick(self.logits, rows).tolist()
            for row in open_rows:
                rows[row].append(chosen[row])
            open_rows = [row for row in open_rows if not finished(row, rows[row])]
            if not open_rows or step + 1 == max_tokens:
                break
            self.read([[rows[row][-1]] if row in open_rows else [] for row in range(self.size)])
        return rows

    def hide_since(self, length: int) -> None:
        """Hide everything read after the first `length` columns, as if it had never been read."""
        self.visible = self.visible - self.mask[:, length:].sum(1)
        self.mask[:, length:] = 0

    @property
    def length(self) -> int:
        """Columns in the cache, padding included."""
        return self.mask.shape[1]
