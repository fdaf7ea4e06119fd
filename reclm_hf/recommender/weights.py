"""Initial weights, written through `transformers.initialization`, which leaves loaded weights alone."""

from __future__ import annotations

import torch
from torch import nn
from transformers import initialization as init

from .backbone_ncf import NCF
from .fusion import ProfileFusion


def initialise(module: nn.Module, reference: bool, uniform: bool) -> None:
    """Set the initial weights of one module.

    Args:
        reference: linear layers start as PyTorch's own do, as in the authors' code, instead of Xavier.
        uniform: an embedding that starts uniform on [0, 1).
    """
    if isinstance(module, nn.Embedding):
        _embedding(module, uniform)
    elif isinstance(module, nn.Linear):
        _linear(module, reference)
    elif isinstance(module, NCF):
        init.xavier_uniform_(module.gmf)
    elif isinstance(module, ProfileFusion):
        # The identity on the embedding beside a small profile part.
        d = module.fuse.out_features
        init.copy_(module.fuse.weight[:, :d], torch.eye(d, device=module.fuse.weight.device))


def _embedding(module: nn.Embedding, uniform: bool) -> None:
    if uniform:
        init.uniform_(module.weight)
    elif module.embedding_dim == 1:
        init.zeros_(module.weight)
    else:
        init.xavier_uniform_(module.weight)


def _linear(module: nn.Linear, reference: bool) -> None:
    if reference:
        bound = module.in_features**-0.5
        init.uniform_(module.weight, -bound, bound)
        if module.bias is not None:
            init.uniform_(module.bias, -bound, bound)
        return
    init.xavier_uniform_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)
