"""A cold-start method after DropoutNet (Volkovs, Yu and Poutanen, NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..data.features import center, history_mean
from .base import Floor, one_thread
from .implicit_als import als_factors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data.splits import Split

HIDDEN = 256
OUTPUT = 64
BATCH = 512  # users, and items, of one step
LEARNING_RATE = 3e-3


@dataclass(eq=False)
class DropoutNet(Floor):
    """Two towers over [latent factor | content] that learn to do without the latent part, and so score cold items.

    The paper's: factors of implicit ALS (its WMF) as input; towers of tanh layers whose inner product reproduces the
    inner product of the factors, by squared error; training pairs half from what a user likes and half random; the
    latent input of a share of users and items set to zero (`dropout`); a cold item has none.
    Simplified: one hidden layer without batch normalisation; liked items are drawn from the history, not from the top
    of the factors' scores; all pairs of a batch count; Adam with one cycle of the learning rate; a fixed number of
    steps; no step that replaces a user's factors by the mean of the items' (its "transform"). User content is the
    mean of the history's item vectors. No figure of the paper was reproduced: "style" says so.

    Users without history score by the towers' biases alone, the same list for all of them.
    """

    name: ClassVar[str] = "dropoutnet_style"
    recommends_cold: ClassVar[bool] = True
    needs_vectors: ClassVar[bool] = True
    search_space: ClassVar[dict[str, list[Any]]] = {"shrinkage": [0.2, 0.05], "dropout": [0.5, 0.8, 0.2]}
    search_stages: ClassVar[tuple[tuple[str, tuple[str, ...]], ...]] = (
        ("catalogue", ("shrinkage",)),
        ("zero_shot", ("dropout",)),
    )

    shrinkage: float = 0.2
    dropout: float = 0.5
    rank: int = 16
    steps: int = 200
    seed: int = 0

    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        if not 0 <= self.dropout < 1 or self.steps < 1:
            raise ValueError(f"dropout={self.dropout} must lie in [0, 1) and steps={self.steps} be at least 1")
        latent = als_factors(split.history_matrix(), self.rank, self.shrinkage, self.seed)
        content = center(vectors, split.warm)[0]
        known = np.zeros(split.n_users, dtype=bool)
        known[split.history_user] = True
        users = _inputs(latent[0], history_mean(split, content), known)
        items = _inputs(latent[1], content, split.warm)
        with one_thread():
            towers = self._train(split, latent, users, items)
            return {"users": _outputs(towers[0], users), "items": _outputs(towers[1], items)}

    def _train(
        self, split: Split, latent: tuple[np.ndarray, np.ndarray], users: np.ndarray, items: np.ndarray
    ) -> tuple[nn.Module, nn.Module]:
        """The towers of users and items after `steps` steps.

        Args:
            latent: factors [U, rank] and [I, rank]. users, items: [U, rank + d] and [I, rank + d] inputs.
        """
        import torch

        towers = _towers(users.shape[1], self.seed)
        parameters = [parameter for tower in towers for parameter in tower.parameters()]
        optimizer = torch.optim.Adam(parameters)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=self.steps)
        liked = (latent[0][split.history_user] * latent[1][split.history_item]).sum(axis=1)
        size = float(np.sqrt(np.square(liked).mean()))
        goals = (latent[0] / (size if size > 0 else 1.0), latent[1])
        rng = np.random.default_rng(self.seed)
        for batch in _batches(split, self.steps, rng):
            sides = [
                tower(_dropped(rows[chosen], self.rank, self.dropout, rng))
                for tower, rows, chosen in zip(towers, (users, items), batch, strict=True)
            ]
            goal = torch.from_numpy(goals[0][batch[0]] @ goals[1][batch[1]].T)
            loss = torch.nn.functional.mse_loss(sides[0] @ sides[1].T, goal)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        return towers

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Inner products of the towers' outputs: float32 [B, C]."""
        scores: np.ndarray = self.state["users"][users] @ self.state["items"][items].T
        return scores


def _inputs(latent: np.ndarray, content: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[latent | content], float32 [n, rank + d], both parts of about the same length; `known` [n] bool have factors."""
    spread = float(latent[known].std())
    scaled = latent / (spread if spread > 0 else 1.0)
    return np.concatenate([scaled, content * latent.shape[1] ** 0.5], axis=1).astype(np.float32)


def _towers(width: int, seed: int) -> tuple[nn.Module, nn.Module]:
    """Towers of users and items for inputs of `width`; the global random numbers stay as they are."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        users, items = (nn.Sequential(nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUTPUT)) for _ in range(2))
    return users, items


def _batches(split: Split, steps: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`steps` times rows of users and of items: one history item of each of half the users, and random warm items."""
    history = split.history_matrix()
    lengths = np.diff(history.indptr)
    known, warm = np.flatnonzero(lengths), np.flatnonzero(split.warm)
    for _ in range(steps):
        users = rng.choice(known, size=min(BATCH, len(known)), replace=False)
        half = users[: (len(users) + 1) // 2]
        place = history.indptr[half] + (rng.random(len(half)) * lengths[half]).astype(np.int64)
        yield users, np.concatenate([history.indices[place], rng.choice(warm, size=len(half))])


def _dropped(inputs: np.ndarray, rank: int, dropout: float, rng: np.random.Generator) -> Tensor:
    """The inputs [b, rank + d], written over, in which a share of the rows has no latent part."""
    import torch

    inputs[rng.random(len(inputs)) < dropout, :rank] = 0.0
    return torch.from_numpy(inputs)


def _outputs(tower: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """float32 [n, OUTPUT]."""
    import torch

    with torch.inference_mode():
        found: np.ndarray = tower(torch.from_numpy(inputs)).numpy()
    return found
