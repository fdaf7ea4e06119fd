"""One batch shared by several processes: each computes the loss of its rows, the gradients are added up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch


class Share(NamedTuple):
    """Process `rank` of `size`."""

    rank: int
    size: int

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        """Every `size`-th of `rows` [B], from the `rank`-th."""
        return rows if self.size == 1 else rows[self.rank :: self.size]


WHOLE = Share(0, 1)


def current_share() -> Share:
    """The share of this process, where `torch.distributed` is initialised (`accelerate launch`, torchrun).

    All processes must train then: one that trains alone waits for the others for ever.
    """
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return WHOLE
    return Share(distributed.get_rank(), distributed.get_world_size())


def wait_for_all(share: Share) -> None:
    """Return once every process has come here."""
    if share.size > 1:
        torch.distributed.barrier()


def take_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, share: Share) -> None:
    """A step of the optimizer with the gradients of all processes."""
    moved = [parameter for parameter in model.parameters() if parameter.grad is not None]
    add_up([parameter.grad for parameter in moved if parameter.grad is not None], share)
    optimizer.step()
    # A fused optimizer writes without counting, and whoever remembers what it computed from a weight would not notice.
    torch.autograd.graph.increment_version(moved)


def add_up(tensors: Iterable[torch.Tensor], share: Share) -> None:
    """Replace each tensor by its sum over the processes, in place; all of them call this with the same shapes."""
    if share.size > 1:
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)
