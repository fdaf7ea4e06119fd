"""One batch shared by several processes; `test_two_process_training.py` has real ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reclm_hf.recommender.shares import WHOLE, Share, add_up, current_share, take_step


@pytest.mark.parametrize("n_rows", [0, 1, 2, 7])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_each_row_is_in_one_share(size: int, n_rows: int) -> None:
    rows = torch.arange(n_rows) + 10
    shares = [Share(rank, size).of(rows) for rank in range(size)]
    assert torch.equal(torch.cat(shares).sort().values, rows)
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_a_process_of_its_own_has_the_whole() -> None:
    assert current_share() == WHOLE
    rows = torch.arange(3)
    assert WHOLE.of(rows) is rows
    add_up([rows], WHOLE)  # no other process is asked for
    assert rows.tolist() == [0, 1, 2]


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Process 1 of 2, whose other process holds twice of everything; what was summed over both."""
    asked: list[torch.Tensor] = []

    def all_reduce(tensor: torch.Tensor) -> None:
        asked.append(tensor)
        tensor.add_(2 * tensor.clone())

    given: dict[str, Any] = {"is_initialized": lambda: True, "get_rank": lambda: 1, "get_world_size": lambda: 2}
    for name, value in {**given, "all_reduce": all_reduce}.items():
        monkeypatch.setattr(torch.distributed, name, value)
    return asked


def test_the_share_is_that_of_the_process_group(other: list[torch.Tensor]) -> None:
    assert current_share() == Share(1, 2)
    assert Share(1, 2).of(torch.arange(5)).tolist() == [1, 3]


def test_a_step_takes_the_gradients_of_all_processes(other: list[torch.Tensor]) -> None:
    model = torch.nn.Linear(2, 1)
    before = [p.detach().clone() for p in model.parameters()]
    model.weight.grad = torch.ones(1, 2)  # and none for the bias
    take_step(model, torch.optim.SGD(model.parameters(), lr=1.0), Share(1, 2))
    assert len(other) == 1
    torch.testing.assert_close(model.weight.detach(), before[0] - 3)
    assert torch.equal(model.bias.detach(), before[1])


def test_sums_are_taken_in_place(other: list[torch.Tensor]) -> None:
    tensors = [torch.ones(2), torch.ones(())]
    add_up(tensors, Share(1, 2))
    assert [tensor.tolist() for tensor in tensors] == [[3.0, 3.0], 3.0]
