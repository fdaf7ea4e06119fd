"""The losses of one batch, scalars each."""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# Anchors of one block against a whole table: 512 x 60,000 float32 are 120 MB.
_ANCHORS = 512


def bpr(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Bayesian personalised ranking (Rendle et al. 2009): mean -log sigmoid(positive - negative), [B] and [B]."""
    return -functional.logsigmoid(positive - negative).mean()


def info_nce(
    first: torch.Tensor,
    second: torch.Tensor,
    anchors: torch.Tensor,
    temperature: float,
    whole_table: bool,
    known: torch.Tensor | None = None,
) -> torch.Tensor:
    """InfoNCE over cosines: an anchor's row in the first view is to be nearest to its own row in the second.

    Args:
        first, second: [n, w] two views of one table. anchors: [B] int64 rows, repeated ones allowed.
        whole_table: contrast with all rows of the second view and count repeated anchors as often as they occur
            (the preset `reference`), instead of with the batch's distinct rows (SGL, eq. 10 there).
        known: [n] bool, with `whole_table` the rows that the table consists of, beside the anchors; None means all.

    Memory is bounded: against a whole table, blocks of similarities are computed again for the gradient.
    """
    if not whole_table:
        anchors = anchors.unique()
        second = functional.normalize(second[anchors], dim=-1)
        target = torch.arange(len(anchors), device=anchors.device)
        return functional.cross_entropy(functional.normalize(first[anchors], dim=-1) @ second.T / temperature, target)
    first, target = first[anchors], anchors
    if known is not None:
        known = known.index_fill(0, anchors, True)
        second, target = second[known], (known.cumsum(0) - 1)[anchors]
    first, second = functional.normalize(first, dim=-1), functional.normalize(second, dim=-1)
    total = first.new_zeros(())
    for block, rows in zip(first.split(_ANCHORS), target.split(_ANCHORS), strict=True):
        total = total + checkpoint(_summed, block, second, rows, temperature, use_reentrant=False)
    return total / len(anchors)


def _summed(block: torch.Tensor, table: torch.Tensor, target: torch.Tensor, temperature: float) -> torch.Tensor:
    return functional.cross_entropy(block @ table.T / temperature, target, reduction="sum")
