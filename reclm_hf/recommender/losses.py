"""The losses of one batch, scalars each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .precision import in_full, widened
from .shares import WHOLE, Share

# Cells of one block of similarities, [anchors, table] float32: 16 MiB stay in the cache.
_BLOCK_CELLS = 2**22
# Sums of exp(40) are far from the largest float32, exp(-40) from the smallest: no maximum need be looked for.
_SAFE_EXPONENT = 40.0
_PIECE = 2**16


def bpr(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Bayesian personalised ranking (Rendle et al. 2009): sum of -log sigmoid(positive - negative), [B] and [B]."""
    return -functional.logsigmoid(widened(positive) - widened(negative)).sum()


def squared_norm(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum of the squares of all entries, a scalar; one pass forward and one back, with no other temporaries."""
    return torch.stack([_SquaredNorm.apply(tensor) for tensor in tensors]).sum()


class _SquaredNorm(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(x)
        # In pieces: one running sum over millions of squares would lose digits.
        return torch.stack([torch.dot(part, part) for part in x.reshape(-1).split(_PIECE)]).sum()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return context.saved_tensors[0] * (2 * gradient)


def info_nce(
    first: torch.Tensor,
    second: torch.Tensor,
    anchors: torch.Tensor,
    temperature: float,
    whole_table: bool,
    known: torch.Tensor | None = None,
    share: Share = WHOLE,
) -> torch.Tensor:
    """InfoNCE over cosines: an anchor's row in the first view is to be nearest to its own row in the second.

    Args:
        first, second: [n, w] two views of one table. anchors: [B] int64 rows, repeated ones allowed.
        whole_table: contrast with all rows of the second view and count repeated anchors as often as they occur
            (the preset `reference`), instead of with the batch's distinct rows (SGL, eq. 10 there).
        known: [n] bool, with `whole_table` the rows that the table consists of, beside the anchors; None means all.
        share: which of several processes this is; each takes some of the anchors, and their losses add up.

    Memory is bounded: against a whole table, the gradient is taken block by block along with the loss.
    """
    if not whole_table:
        return _in_batch(first, second, anchors, temperature, share)
    mine, hidden = share.of(anchors), None
    target = mine
    if known is not None:
        known = known.index_fill(0, anchors, True)
        if sizes_are_waited_for(first.device):
            hidden = torch.where(known, 0.0, -torch.inf)
        else:
            second, target = second[known], (known.cumsum(0) - 1)[mine]
    first, second = functional.normalize(first[mine], dim=-1), functional.normalize(second, dim=-1)
    with in_full(first.device):
        return _WholeTable.apply(widened(first), widened(second), target, temperature, hidden) / len(anchors)


def _in_batch(
    first: torch.Tensor, second: torch.Tensor, anchors: torch.Tensor, temperature: float, share: Share
) -> torch.Tensor:
    once = None  # [B] bool: the first of equal anchors, where all of them stay
    if sizes_are_waited_for(first.device):
        anchors = anchors.sort().values
        once = torch.cat([anchors.new_ones(1, dtype=torch.bool), anchors.diff() != 0])
    else:
        anchors = anchors.unique()
    own = share.of(torch.arange(len(anchors), device=anchors.device))
    first, second = functional.normalize(first[anchors[own]], dim=-1), functional.normalize(second[anchors], dim=-1)
    with in_full(first.device):
        logits = widened(first) @ widened(second).T / temperature
    if once is None:
        return functional.cross_entropy(logits, own, reduction="sum") / len(anchors)
    lost = functional.cross_entropy(logits.masked_fill(~once, -torch.inf), own, reduction="none")
    return torch.where(once[own], lost, 0.0).sum() / once.sum()


def sizes_are_waited_for(device: torch.device) -> bool:
    """Whether a size that depends on values would have to be waited for; then masks take the place of selections."""
    return device.type != "cpu"


class _WholeTable(torch.autograd.Function):
    """The summed cross-entropy of anchors [B, w] whose own rows in the table [n, w] are `target` [B].

    hidden: [n], -inf for rows that do not count, else 0; or None.

    Rows have length 1, so that similarities are bounded by 1 / temperature. Each block of similarities is written,
    turned into exponentials, and read by its sum and by two products, whose narrow sides are normalised.
    """

    @staticmethod
    def forward(
        context: Any,
        anchors: torch.Tensor,
        table: torch.Tensor,
        target: torch.Tensor,
        temperature: float,
        hidden: torch.Tensor | None,
    ) -> torch.Tensor:
        scaled, columns, own = anchors / temperature, table.T.contiguous(), table[target]
        size = max(1, _BLOCK_CELLS // len(table))
        buffer = table.new_empty(min(size, len(scaled)), len(table))
        total, to_anchors, to_table = -(scaled * own).sum(), torch.empty_like(anchors), torch.zeros_like(table)
        for block, gradient in zip(scaled.split(size), to_anchors.split(size), strict=True):
            share = torch.mm(block, columns, out=buffer[: len(block)])
            if hidden is not None:
                share += hidden
            if 1 / temperature > _SAFE_EXPONENT:
                largest = share.amax(1, keepdim=True)
                share, total = share.sub_(largest), total + largest.sum()
            mass = share.exp_().sum(1, keepdim=True)
            total += mass.log().sum()
            torch.mm(share, table, out=gradient).div_(mass)
            to_table.addmm_(share.T, block / mass)
        to_table.index_add_(0, target, scaled, alpha=-1)
        context.save_for_backward((to_anchors - own) / temperature, to_table)
        return total

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        to_anchors, to_table = context.saved_tensors
        return to_anchors * gradient, to_table * gradient, None, None, None
