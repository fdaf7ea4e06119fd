"""How many bytes a step of training holds at its peak, by arithmetic on the shapes of a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOSS_CHUNK = 256
"""Labelled tokens whose logits TRL holds at a time (`SFTConfig(loss_type="chunked_nll")`, its default)."""

OVERHEAD = 2**30
"""Bytes that a GPU holds before the first weight: context, kernels, workspaces. An assumption."""

_SAME_INPUT = {
    "q_proj": "attention",
    "k_proj": "attention",
    "v_proj": "attention",
    "gate_proj": "mlp",
    "up_proj": "mlp",
}


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder with gated feed-forward layers: hidden, layers, heads, kv_heads, head_dim, feed_forward, V."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Sizes by a configuration of transformers.

        Raises:
            ValueError: it does not have them (not a decoder of the usual form).
        """
        try:
            heads = int(config.num_attention_heads)
            return cls(
                int(config.hidden_size),
                int(config.num_hidden_layers),
                heads,
                int(getattr(config, "num_key_value_heads", None) or heads),
                int(getattr(config, "head_dim", None) or config.hidden_size // heads),
                int(getattr(config, "intermediate_size", None) or 4 * config.hidden_size),
                int(config.vocab_size),
            )
        except AttributeError as error:
            raise ValueError(
                f"{type(config).__name__} does not say its sizes ({error}): memory is not known."
            ) from None


@dataclass(frozen=True)
class Precision:
    """Bytes of a number: `weights` as held, `products` as multiplied, `adapter_input` as kept for adapters."""

    weights: int
    products: int
    adapter_input: int

    @classmethod
    def of(cls, dtype: str, autocast: bool) -> Precision:
        """Of weights of a dtype; PEFT holds adapters in float32, which autocast multiplies in bfloat16."""
        weights = 2 if dtype == "bfloat16" else 4
        products = 2 if autocast else weights
        return cls(weights, products, products if autocast else 4)


def kept_of_layer(
    shape: Shape, precision: Precision, targets: Mapping[str, int], rank: int, length: int, *, full: bool = False
) -> float:
    """Bytes a token that one layer keeps for its backward pass, without gradient checkpointing.

    Counted from what autograd saves of transformers' Llama with `sdpa` attention, in the manner of Korthikanti et al.
    (2022, section 4.1: one term for each saved input), for a frozen base under LoRA. With h hidden, a heads of d, f
    feed-forward, S length, b bytes of products and c bytes of adapters' inputs:

        2 (4 h + 4)        inputs of both RMS norms in float32, and their scales
        4 a d b + 4 a      queries, keys, values (repeated to all heads) and output of the attention, log-sums
        S b                its row of the mask, which batches of unequal lengths need
        3 f b              gate, its activation, and the other factor
        sum of c (in + r)  the input of every adapter (once where adapters share it uncast), and between its halves

    Frozen layers keep nothing of their own. A whole trained model (`full`) keeps the inputs of its linear layers and
    of the norms' scales instead of the adapters': (4 h + f) b.

    Args:
        targets: name of an adapted layer -> its input width.
        length: tokens of a row.
    """
    h, b = shape.hidden, precision.products
    width = shape.heads * shape.head_dim
    kept = 2 * (4 * h + 4) + 4 * width * b + 4 * shape.heads + length * b + 3 * shape.feed_forward * b
    if full:
        return float(kept + (4 * h + shape.feed_forward) * b)
    shared = precision.adapter_input == precision.products == precision.weights
    inputs = {(_SAME_INPUT.get(name, name) if shared else name): size for name, size in targets.items()}
    return float(kept + precision.adapter_input * (sum(inputs.values()) + rank * len(targets)))


def activations(shape: Shape, precision: Precision, kept: float, tokens: int, checkpointing: bool) -> float:
    """Bytes that all layers keep for `tokens` tokens, and what the backward pass of one layer adds.

    With gradient checkpointing a layer keeps its input alone and is computed again when its turn comes (Chen et al.
    2016), so that one layer at a time is held whole. The backward pass holds gradients of the three feed-forward
    tensors and of the input besides.
    """
    backward = (3 * shape.feed_forward + 2 * shape.hidden) * precision.products
    layers = shape.layers * shape.hidden * precision.products + kept if checkpointing else shape.layers * kept
    ends = 4 * shape.hidden + shape.hidden * precision.weights  # the last norm; the embeddings
    return tokens * (layers + backward + ends)


def loss_head(shape: Shape, precision: Precision, tokens: int) -> float:
    """Bytes of so many tokens' logits over the vocabulary: as multiplied, in float32, log-softmax and its gradient."""
    return float(tokens * shape.vocabulary * (precision.products + 3 * 4))


def key_values(shape: Shape, precision: Precision, tokens: int) -> float:
    """Bytes of the cache of keys and values while replies are drawn."""
    return float(2 * shape.layers * shape.kv_heads * shape.head_dim * precision.products * tokens)
