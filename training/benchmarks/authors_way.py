"""The algorithms of the authors' code, restated from a description of what they cost, to time them beside ours.

Nothing here is their code. What is restated is what takes their time: negatives by a Python loop with look-ups in a
DOK, a data set that is asked for one triple after the other, the item MLP over the whole catalogue twice a step,
products with a COO matrix that is not coalesced, a norm over all parameters at every step, Adam one parameter after
the other, InfoNCE with whole temporaries and without a shift, evaluation with a dense mask, two sorts and a Python
loop over users, and NCF's scores by concatenating every pair.

Parameters are copied from a model of the preset `reference`, so losses, scores and metrics must agree with ours; a test
holds them together. The authors' tables hold the items with history only; items are given in the package's id space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from scipy.sparse import csr_array, dok_array

    from reclm_hf.data.splits import Split
    from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

GRAPHS = ("lightgcn", "sgl", "simgcl")
TEST_USERS = 1024  # scored at a time


class Triples(Dataset):
    """(user, positive, negative), one at a time, as rows of the authors' tables."""

    def __init__(self, split: Split) -> None:
        self.items = np.flatnonzero(split.warm)
        self.user = split.history_user.astype(np.int64)
        self.positive = np.searchsorted(self.items, split.history_item).astype(np.int64)
        self.negative = np.zeros(len(self.user), dtype=np.int64)
        self.history: dok_array = split.history_matrix()[:, self.items].todok()

    def draw(self) -> None:
        """One negative for each positive, drawn until it is one that the user does not have."""
        for row in range(len(self.user)):
            user = int(self.user[row])
            while True:
                item = np.random.randint(len(self.items))
                if (user, item) not in self.history:
                    break
            self.negative[row] = item

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, row: int) -> tuple[np.int64, np.int64, np.int64]:
        return self.user[row], self.positive[row], self.negative[row]


class AuthorsModel(nn.Module):
    """The base variant with the parameters of `model`."""

    def __init__(self, model: RecLMRecommender, split: Split) -> None:
        super().__init__()
        config = model.config
        self.backbone, self.layers = config.backbone, config.n_layers
        self.l2, self.weight, self.temperature = config.l2, config.ssl_weight, config.ssl_temperature
        self.keep, self.noise = 1.0 - config.drop_rate, config.noise
        self.all_parameters = nn.ParameterList(p.detach().clone() for p in model.parameters())
        self.named = dict(zip((name for name, _ in model.named_parameters()), self.all_parameters, strict=True))
        self.users = self.named["user_embedding.weight"]
        items = np.flatnonzero(split.warm)
        self.text = model.item_text[torch.from_numpy(items)].clone()
        self.all_text = model.item_text
        if self.backbone in GRAPHS:
            self.graph = _coo(split.history_matrix()[:, items])

    # -- representations --------------------------------------------------------------------------------------------

    def item_rows(self, text: torch.Tensor) -> torch.Tensor:
        """[n, d_t] -> [n, d], length 1."""
        name = "project_text"
        hidden = functional.linear(text, self.named[f"{name}.0.weight"], self.named[f"{name}.0.bias"]).relu()
        return functional.normalize(
            functional.linear(hidden, self.named[f"{name}.2.weight"], self.named[f"{name}.2.bias"]), dim=-1
        )

    def _propagated(
        self, x: torch.Tensor, graph: torch.Tensor, noise: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> torch.Tensor:
        layers = [x]
        for _ in range(self.layers):
            x = torch.spmm(graph, layers[-1])
            layers.append(x if noise is None else noise(x))
        return torch.stack(layers).sum(0)

    def _view(self, nodes: torch.Tensor) -> torch.Tensor:
        if self.backbone == "simgcl":
            return self._propagated(nodes, self.graph, self._noisy)
        kept = torch.floor(torch.rand(self.graph._values().shape) + self.keep).bool()
        values = self.graph._values()[kept] / self.keep
        thinned = torch.sparse_coo_tensor(
            self.graph._indices()[:, kept], values, self.graph.shape, check_invariants=False
        )
        return self._propagated(nodes, thinned)

    def _noisy(self, x: torch.Tensor) -> torch.Tensor:
        return x + functional.normalize(torch.rand(x.shape), dim=-1) * torch.sign(x.detach()) * self.noise

    # -- losses -----------------------------------------------------------------------------------------------------

    def loss(self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        """BPR, InfoNCE where there is one, and the norm of everything; rows of the authors' tables, int64 [B]."""
        contrast = torch.zeros(())
        if self.backbone in GRAPHS:
            item = self.item_rows(self.text)
            nodes = torch.cat([self.users, item])
            user = self._propagated(nodes, self.graph)[: len(self.users)]
            scores = [(user[users] * item[chosen]).sum(-1) for chosen in (positives, negatives)]
            if self.backbone != "lightgcn":
                contrast = self.weight * self._contrast(nodes, users, positives)
        else:
            # The whole catalogue through the MLP for the positives, and again for the negatives.
            scores = [self._scores(users, self.item_rows(self.text)[chosen]) for chosen in (positives, negatives)]
        ranking = -(scores[0] - scores[1]).sigmoid().log().sum() / len(users)
        norm = torch.zeros(())
        for parameter in self.all_parameters:
            norm = norm + parameter.norm(2).square()
        return ranking + contrast + self.l2 * norm

    def _scores(self, users: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """[B] scores of user rows [B] with item vectors [B, d]."""
        user = self.users[users]
        if self.backbone == "ncf":
            return self.pair_scores(user, item)
        return (user * item).sum(-1) + self.named["user_bias.weight"][users, 0]

    def pair_scores(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """NCF: [n] scores of vectors in line, [n, d] each."""
        hidden = torch.cat([user, item], dim=-1)
        first, bias = self.named["backbone.first.weight"], self.named["backbone.first.bias"]
        return (user * item * self.named["backbone.gmf"]).sum(-1) + functional.linear(hidden, first, bias).relu().sum(
            -1
        )

    def _contrast(self, nodes: torch.Tensor, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        one, two = self._view(nodes), self._view(nodes)
        n = len(self.users)
        return self._info_nce(one[:n], two[:n], users) + self._info_nce(one[n:], two[n:], items)

    def _info_nce(self, one: torch.Tensor, two: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        one, two = functional.normalize(one + 1e-8, dim=-1), functional.normalize(two + 1e-8, dim=-1)
        picked, own = one[anchors], two[anchors]
        above = torch.exp((picked * own).sum(-1) / self.temperature)
        below = torch.exp(picked @ two.T / self.temperature).sum(-1) + 1e-8
        return -torch.log(above / below).mean()

    # -- scores of the test day -------------------------------------------------------------------------------------

    @torch.no_grad()
    def all_scores(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """[B, C] of user rows and items of the package's id space; the item MLP runs again at every call."""
        item = self.item_rows(self.all_text[items])
        if self.backbone == "ncf":
            user, size = self.users[users], (len(users), len(items), item.shape[1])
            left = user.unsqueeze(1).expand(size).reshape(-1, item.shape[1])
            right = item.unsqueeze(0).expand(size).reshape(-1, item.shape[1])
            return self.pair_scores(left, right).view(size[:2])
        if self.backbone == "bias_mf":
            return self.users[users] @ item.T + self.named["user_bias.weight"][users]
        nodes = torch.cat([self.users, self.item_rows(self.text)])
        return self._propagated(nodes, self.graph)[users] @ item.T


def _coo(history: csr_array) -> torch.Tensor:
    """A + I of the bipartite graph, normalised, as a COO tensor that is not marked as coalesced."""
    from scipy.sparse import block_array, coo_array, eye_array

    n = sum(history.shape)
    both = coo_array(block_array([[None, history], [history.T, None]]) + eye_array(n))
    scale = np.asarray(both.sum(1)).ravel() ** -0.5
    values = torch.from_numpy((scale[both.row] * scale[both.col]).astype(np.float32))
    index = torch.from_numpy(np.stack([both.row, both.col]).astype(np.int64))
    return torch.sparse_coo_tensor(index, values, (n, n), check_invariants=False)


def make_optimizer(model: AuthorsModel, learning_rate: float) -> torch.optim.Optimizer:
    """Adam over one parameter after the other."""
    return torch.optim.Adam(model.parameters(), lr=learning_rate, foreach=False, fused=False)


def step(model: AuthorsModel, optimizer: torch.optim.Optimizer, batch: list[torch.Tensor]) -> float:
    """One update; the loss before it."""
    loss = model.loss(*batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def train_epoch(model: AuthorsModel, optimizer: torch.optim.Optimizer, triples: Triples, batch_size: int) -> float:
    """Draw negatives and go through all triples once; the mean loss of a step."""
    triples.draw()
    losses = [step(model, optimizer, batch) for batch in DataLoader(triples, batch_size, shuffle=True)]
    return float(np.mean(losses))


def evaluate(model: AuthorsModel, split: Split, setting: str, ks: tuple[int, int] = (20, 40)) -> dict[str, float]:
    """Recall and NDCG at both k; train items are masked among the `test_items`, new ones need no mask."""
    items = split.candidates(setting).astype(np.int64)
    targets = split.targets_matrix(setting)[:, items]
    mask = split.history_matrix()[:, items] if setting != "zero_shot" else None
    users = np.flatnonzero(np.diff(targets.indptr))
    sums = np.zeros(4)
    for rows in _blocks(users):
        scores = model.all_scores(torch.from_numpy(rows), torch.from_numpy(items))
        if mask is not None:
            dense = torch.from_numpy(mask[rows].toarray())
            scores = scores * (1 - dense) - 1e8 * dense
        for place, k in enumerate(ks):
            top = torch.topk(scores, min(k, len(items))).indices.numpy()
            sums[2 * place : 2 * place + 2] += _summed_metrics(top, rows, targets, k)
    names = [f"{metric}@{k}" for k in ks for metric in ("recall", "ndcg")]
    return dict(zip(names, (sums / len(users)).tolist(), strict=True))


def _blocks(users: np.ndarray) -> Iterator[np.ndarray]:
    return (users[start : start + TEST_USERS] for start in range(0, len(users), TEST_USERS))


def _summed_metrics(top: np.ndarray, users: np.ndarray, targets: csr_array, k: int) -> tuple[float, float]:
    """Sums of recall and NDCG at k over users, one after the other."""
    recall = ndcg = 0.0
    for row, user in enumerate(users):
        wanted = list(targets.indices[targets.indptr[user] : targets.indptr[user + 1]])
        best = list(top[row])
        ideal = np.sum([np.reciprocal(np.log2(place + 2)) for place in range(min(k, len(wanted)))])
        hits, gain = 0, 0.0
        for item in wanted:
            if item in best:
                hits += 1
                gain += np.reciprocal(np.log2(best.index(item) + 2))
        recall += hits / len(wanted)
        ndcg += gain / ideal
    return recall, ndcg
