"""Half precision where it is asked for, and full precision where it must stay."""

from __future__ import annotations

import torch

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which matrix products are computed in `precision`; weights, sums and losses stay float32."""
    chosen = PRECISIONS[precision]
    return torch.autocast(device.type, dtype=chosen or torch.bfloat16, enabled=chosen is not None)


def widened(x: torch.Tensor) -> torch.Tensor:
    """Half precision as float32, for sums and losses; other types as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def in_full(device: torch.device) -> torch.autocast:
    """A context without half precision, for what knows no other or would lose too much."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=False)
