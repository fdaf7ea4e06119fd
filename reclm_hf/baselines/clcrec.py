"""A cold-start method after CLCRec (Wei et al., ACM MM 2021, "Contrastive Learning for Cold-Start Recommendation")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..data.features import center
from .base import Floor, one_thread

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from torch import Tensor, nn

    from ..data.splits import Split

WIDTH = 64
HIDDEN = 256
BATCH = 512
NEGATIVES = 128
LEARNING_RATE = 1e-3
INITIAL_SPREAD = 0.02
# So that a small data set is not left as it was drawn: its epochs are short.
LEAST_STEPS = 300


@dataclass(eq=False)
class CLCRec(Floor):
    """ID embeddings of users and items and a content encoder, tied together by two contrastive losses.

    The paper's: InfoNCE between a user and an item of the history, and between an item's ID embedding and its encoded
    content (of length 1 both), half and half; in the first one an item's embedding is replaced by its encoded content
    with probability `hybrid`; a warm item scores by its ID embedding, a cold one by its encoded content; encoder of two
    layers with a leaky ReLU, 64 dimensions.
    Simplified: a step has NEGATIVES negatives for all its pairs, drawn uniformly from the warm items, without those in
    a user's history; no penalty on the length of embeddings; a fixed number of epochs. No figure of the paper was
    reproduced: "style" says so. How cold items stand against warm ones follows from the lengths that training
    happens to give to both kinds of vectors, and varies with the seed.

    Users without history score 0 everywhere.
    """

    name: ClassVar[str] = "clcrec_style"
    recommends_cold: ClassVar[bool] = True
    needs_vectors: ClassVar[bool] = True
    search_space: ClassVar[dict[str, list[Any]]] = {"temperature": [0.5, 0.2], "hybrid": [0.5, 0.2]}

    temperature: float = 0.5
    hybrid: float = 0.5
    epochs: int = 5
    seed: int = 0

    def _fit(self, split: Split, vectors: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        if self.temperature <= 0 or not 0 <= self.hybrid <= 1 or self.epochs < 1:
            raise ValueError(
                f"temperature={self.temperature} must be positive, hybrid={self.hybrid} lie in [0, 1] and "
                f"epochs={self.epochs} be at least 1"
            )
        # What was drawn for a user without history says nothing.
        known = np.bincount(split.history_user, minlength=split.n_users)[:, None] > 0
        content = torch.from_numpy(center(vectors, split.warm)[0])
        with one_thread():
            users, items, encoder = self._train(split, content)
            with torch.inference_mode():
                scored = torch.where(torch.from_numpy(split.warm)[:, None], items, encoder(content)).numpy()
        return {"users": users.detach().numpy() * known, "items": scored}

    def _train(self, split: Split, content: Tensor) -> tuple[Tensor, Tensor, nn.Module]:
        """Embeddings of users [U, WIDTH] and items [I, WIDTH] and the encoder, for item content [I, d]."""
        import torch

        users, items, encoder = _parameters(split, content.shape[1], self.seed)
        optimizer = torch.optim.Adam([users, items, *encoder.parameters()], lr=LEARNING_RATE, fused=True)
        for batch in _batches(split, self.epochs, self.hybrid, np.random.default_rng(self.seed)):
            loss = self._loss(users, items, encoder, content, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return users, items, encoder

    def _loss(self, users: Tensor, items: Tensor, encoder: nn.Module, content: Tensor, batch: _Batch) -> Tensor:
        """Mean of the two contrastive losses; the first rows of `batch.item` are the positives, the rest negatives."""
        import torch
        from torch.nn.functional import normalize

        n = len(batch.user)
        # An item stands in a batch several times and is encoded once.
        different, place = batch.item.unique(return_inverse=True)
        encoded, embedded = encoder(content[different])[place], items[batch.item]
        mixed = torch.where(batch.swapped, encoded, embedded)
        preference = _info_nce(users[batch.user], mixed[:n], mixed[n:], batch.known, self.temperature)
        encoded, embedded = normalize(encoded, dim=1), normalize(embedded[:n], dim=1)
        alignment = _info_nce(embedded, encoded[:n], encoded[n:], batch.same, self.temperature)
        return (preference + alignment) / 2

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Inner products: float32 [B, C]."""
        scores: np.ndarray = self.state["users"][users] @ self.state["items"][items].T
        return scores


@dataclass(frozen=True)
class _Batch:
    """One step.

    Attributes:
        user: [b] int64. item: [b + negatives] int64, each user's item, then the negatives of all.
        swapped: [b + negatives, 1] bool, items that are represented by their content.
        known, same: [b, negatives] bool, negatives that are in the user's history, or are the positive itself.
    """

    user: Tensor
    item: Tensor
    swapped: Tensor
    known: Tensor
    same: Tensor


def _batches(split: Split, epochs: int, hybrid: float, rng: np.random.Generator) -> Iterator[_Batch]:
    """The history in a new order, in batches, `epochs` times and until there have been LEAST_STEPS steps."""
    import torch

    history, warm = split.history_matrix(), np.flatnonzero(split.warm)
    n_rows = len(split.history_item)
    steps_of_epoch = -(-n_rows // BATCH)
    for _ in range(max(epochs, -(-LEAST_STEPS // steps_of_epoch))):
        order = rng.permutation(n_rows)
        for start in range(0, n_rows, BATCH):
            rows = order[start : start + BATCH]
            user, positive = split.history_user[rows].astype(np.int64), split.history_item[rows].astype(np.int64)
            negative = rng.choice(warm, size=min(NEGATIVES, len(warm)), replace=False)
            item = np.concatenate([positive, negative])
            yield _Batch(
                user=torch.from_numpy(user),
                item=torch.from_numpy(item),
                swapped=torch.from_numpy(rng.random((len(item), 1)) < hybrid),
                known=torch.from_numpy(_in_history(history, user, negative)),
                same=torch.from_numpy(positive[:, None] == negative),
            )


def _in_history(history: csr_array, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """[B, C] bool, which of the different `items` [C] the `users` [B] have in their history."""
    column = np.full(history.shape[1], -1)
    column[items] = np.arange(len(items))
    rows = history[users]
    row, found = np.repeat(np.arange(len(users)), np.diff(rows.indptr)), column[rows.indices]
    mask = np.zeros((len(users), len(items)), dtype=bool)
    mask[row[found >= 0], found[found >= 0]] = True
    return mask


def _parameters(split: Split, d: int, seed: int) -> tuple[Tensor, Tensor, nn.Module]:
    """Embeddings [U, WIDTH] and [I, WIDTH] and the encoder; the global random numbers stay as they are."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        users, items = (nn.Parameter(INITIAL_SPREAD * torch.randn(n, WIDTH)) for n in (split.n_users, split.n_items))
        encoder = nn.Sequential(nn.Linear(d, HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, WIDTH))
    return users, items, encoder


def _info_nce(anchor: Tensor, positive: Tensor, negative: Tensor, masked: Tensor, temperature: float) -> Tensor:
    """Mean of -log(e^(a.p/t) / (e^(a.p/t) + sum e^(a.n/t))) over anchors [b, d], positives [b, d], negatives [n, d].

    `masked` [b, n] bool negatives do not count for an anchor.
    """
    import torch

    right = (anchor * positive).sum(dim=1, keepdim=True) / temperature
    wrong = (anchor @ negative.T / temperature).masked_fill(masked, -torch.inf)
    return (torch.cat([right, wrong], dim=1).logsumexp(dim=1) - right[:, 0]).mean()
