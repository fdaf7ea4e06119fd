"""The losses of one batch, scalars each."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Cells of one block of similarities, [anchors, table] float32: 16 MiB stay in the cache.
_BLOCK_CELLS = 2**22


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

    Memory is bounded: against a whole table, the gradient is taken block by block along with the loss.
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
    return _WholeTable.apply(first, second, target, temperature) / len(anchors)


class _WholeTable(torch.autograd.Function):
    """The summed cross-entropy of anchors [B, w] whose own rows in the table [n, w] are `target` [B]."""

    @staticmethod
    def forward(
        context: Any, anchors: torch.Tensor, table: torch.Tensor, target: torch.Tensor, temperature: float
    ) -> torch.Tensor:
        scaled, columns = anchors / temperature, table.T.contiguous()
        size = max(1, _BLOCK_CELLS // len(table))
        total, to_anchors, to_table = anchors.new_zeros(()), torch.empty_like(anchors), torch.zeros_like(table)
        for block, own_row, gradient in zip(
            scaled.split(size), target.unsqueeze(1).split(size), to_anchors.split(size), strict=True
        ):
            share = block @ columns  # turned in place into the softmax, then into its gradient
            own, largest = share.gather(1, own_row), share.amax(1, keepdim=True)
            mass = share.sub_(largest).exp_().sum(1, keepdim=True)
            total += (mass.log() + largest - own).sum()
            share.div_(mass).scatter_add_(1, own_row, torch.full_like(own, -1.0))
            torch.mm(share, table, out=gradient)
            to_table.addmm_(share.T, block)
        context.save_for_backward(to_anchors / temperature, to_table)
        return total

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        to_anchors, to_table = context.saved_tensors
        return to_anchors * gradient, to_table * gradient, None, None
