"""The losses of a batch as dense formulas over all rows in float64, and small models to compare with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from reclm_hf.recommender import batch_rows, bipartite, losses
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES, PRESETS, RecLMRecommenderConfig
from reclm_hf.recommender.graph import normalized_adjacency
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

GRAPHS = ("lightgcn", "sgl", "simgcl")
KINDS = [
    (backbone, preset, sides, n_layers)
    for backbone in BACKBONE_NAMES
    for preset in PRESETS
    for sides in ("none", "both")
    for n_layers in ((1, 2, 3) if backbone in GRAPHS else (1,))
]
# How the rows of a batch come about: users' edges sliced out, the whole product, and the forms without sizes that
# depend on values, which an accelerator takes.
FORMS = ("sliced", "whole", "accelerator")
TEXT, WIDTH = 6, 5


def choose(form: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bipartite, "_SLICED_SHARE", 2.0 if form == "sliced" else -1.0)
    for module in (losses, batch_rows, bipartite):
        patch.setattr(module, "sizes_are_waited_for", lambda device: form == "accelerator")


@dataclass
class Case:
    """A float32 model with random weights and state, its history [U, I] and a batch."""

    model: RecLMRecommender
    history: np.ndarray
    batch: tuple[torch.Tensor, ...]


def made(backbone: str, preset: str, sides: str, n_layers: int = 2, shape: tuple[int, int, int] = (9, 7, 12)) -> Case:
    """shape: users, items, triples. The last user and the last item are in no pair where there are several."""
    n_users, n_items, n_triples = shape
    rng = np.random.default_rng(n_layers)
    history = (rng.random((n_users, n_items)) < 0.4).astype(np.float64)
    history[0, 0] = 1
    if n_users > 1 and n_items > 1:
        history[-1], history[:, -1] = 0, 0
    config = RecLMRecommenderConfig(
        backbone=backbone, preset=preset, profile_mode="none" if sides == "none" else "llm", profile_sides=sides,
        n_users=n_users, n_items=n_items, embedding_dim=WIDTH, text_dim=TEXT, profile_dim=TEXT, n_layers=n_layers,
        loss="bpr", l2=1e-2, ssl_weight=0.3, drop_rate=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = RecLMRecommender(config).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for name in ("item_text", "user_profile", "item_profile", "user_text", "popularity", "text_popularity_weight"):
            if hasattr(model, name):
                getattr(model, name).normal_()
        model.item_warm.copy_(torch.from_numpy(history.any(0).astype(np.float32)))
    if model.graph is not None:
        model.graph.set(*normalized_adjacency(csr_array(history.astype(np.float32)), config.reference))
    batch = tuple(torch.from_numpy(rng.integers(0, most, n_triples)) for most in (n_users, n_items, n_items))
    return Case(model, history, batch)


# -- the formulas -----------------------------------------------------------------------------------------------------


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def _times(matrix: torch.Tensor, _: int, x: torch.Tensor) -> torch.Tensor:
    return matrix @ x


class Dense:
    """The losses of a batch from the weights and the state of a model, with no code of it."""

    def __init__(self, case: Case) -> None:
        self.config, self.history = case.model.config, torch.from_numpy(case.history)
        self.dtype = case.model.dtype  # of the numbers that are drawn
        self.w = {name: p.detach().double().requires_grad_() for name, p in case.model.named_parameters()}
        self.b = {name: value.double() for name, value in case.model.named_buffers() if value.is_floating_point()}
        users, items = self.history.shape
        own = torch.eye(users + items, dtype=torch.float64) * self.config.reference
        self.structure = own.clone()
        self.structure[:users, users:], self.structure[users:, :users] = self.history, self.history.T
        self.degree = self.structure.sum(1)
        # As stored: float32.
        self.adjacency = self.normalized(self.structure).float().double()

    @staticmethod
    def normalized(matrix: torch.Tensor) -> torch.Tensor:
        scale = matrix.sum(1).clamp(min=1.0).rsqrt()
        return matrix * scale * scale.unsqueeze(1)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def mlp(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.linear(f"{name}.2", torch.relu(self.linear(f"{name}.0", x)))

    def initial(self, warm: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        user, item = self.w["user_embedding.weight"], self.mlp("project_text", self.b["item_text"])
        profiles = self.config.profile_mode != "none"
        if self.config.reference:
            if profiles:
                about = unit(self.mlp("shared_fusion.project", self.b["user_profile"]))
                user = torch.relu(self.linear("shared_fusion.fuse", torch.cat([user, about], 1)))
                about = self.mlp("shared_fusion.project", self.b["item_profile"])
                item = torch.relu(self.linear("shared_fusion.fuse", torch.cat([item, about], 1)))
            return user, unit(item)
        if profiles:
            user = self.linear("fusion.fuse", torch.cat([user, self.mlp("fusion.project", self.b["user_profile"])], 1))
            about = self.mlp("item_fusion.project", self.b["item_profile"])
            item = self.linear("item_fusion.fuse", torch.cat([item, about], 1))
        return user, item + self.w["item_embedding.weight"] * warm.unsqueeze(1)

    def propagated(self, nodes: torch.Tensor, step: Callable[[int, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        layers = [nodes]
        for number in range(self.config.n_layers):
            layers.append(step(number, layers[-1]))
        if self.config.reference:
            return torch.stack(layers).sum(0)
        if self.config.backbone != "simgcl":
            return torch.stack(layers).mean(0)
        return torch.where((self.degree == 0).unsqueeze(1), nodes, torch.stack(layers[1:]).mean(0))

    def scores(self, user: torch.Tensor, item: torch.Tensor, warm: torch.Tensor) -> torch.Tensor:
        """[U, I]."""
        if self.config.backbone in GRAPHS:
            nodes = self.propagated(torch.cat([user, item]), lambda _, x: self.adjacency @ x)
            user, item = nodes[: len(user)], item if self.config.reference else nodes[len(user) :]
        if self.config.backbone == "ncf":
            pairs = [side[..., :WIDTH] for side in (user[:, None], item[None])]
            found = (pairs[0] * pairs[1] * self.w["backbone.gmf"]).sum(-1)
            both = [side[:, -WIDTH:] for side in (user, item)]
            wide = torch.cat([both[0][:, None].expand(-1, len(item), -1), both[1][None].expand(len(user), -1, -1)], -1)
            hidden = torch.relu(self.linear("backbone.first", wide))
            if not self.config.reference:
                hidden = torch.relu(self.linear("backbone.second", hidden)) * self.w["backbone.out.weight"]
            found = found + hidden.sum(-1)
        else:
            found = user @ item.T
        if "item_bias.weight" in self.w:
            found = found + self.w["item_bias.weight"][:, 0] * warm
        return found if not self.config.floors else self.with_floors(found)

    def with_floors(self, found: torch.Tensor) -> torch.Tensor:
        text, warm = self.b["item_text"], self.b["item_warm"].long()
        head = 5.0 * (text * self.w["floors.head"][warm]).sum(1)
        expected = text @ self.b["text_popularity_weight"] + self.b["text_popularity_bias"] + self.config.cold_offset
        found = found * self.w["floors.gate"][warm] + head + torch.where(warm > 0, self.b["popularity"], expected)
        found = found + self.b["user_text"] @ text.T * self.w["floors.cosine"][warm]
        if "profile_gain" in self.w:
            found = found + self.b["user_profile"] @ text.T * self.w["profile_gain"][warm]
        return found

    def views(self, nodes: torch.Tensor) -> list[torch.Tensor]:
        """With the numbers that the model draws, in its order: of the entries by row and column, or of the noise."""
        entries = self.structure.nonzero(as_tuple=True)
        keep = 1 - self.config.drop_rate

        def noisy(x: torch.Tensor) -> torch.Tensor:
            return x + unit(torch.rand(x.shape).double()) * x.detach().sign() * self.config.noise

        def thinned() -> torch.Tensor:
            drawn = torch.zeros_like(self.structure)
            drawn[entries] = torch.rand(len(entries[0])).double()
            if self.config.reference:
                return self.adjacency * (drawn + keep >= 1) / keep
            return self.normalized(self.structure * (torch.triu(drawn) + torch.triu(drawn, 1).T < keep))

        found = []
        for _ in range(2):
            if self.config.backbone == "simgcl":
                found.append(self.propagated(nodes, lambda _, x: noisy(self.adjacency @ x)))
            else:
                found.append(self.propagated(nodes, partial(_times, thinned())))
        return found

    def contrast(self, first: torch.Tensor, second: torch.Tensor, anchors: torch.Tensor, known: Any) -> torch.Tensor:
        cosine = unit(first) @ unit(second).T / self.config.ssl_temperature
        rows = set(anchors.tolist()) | ({*known.nonzero()[:, 0].tolist()} if self.config.reference else set())
        table = cosine[:, sorted(rows)]
        anchors = anchors if self.config.reference else anchors.unique()
        return (torch.logsumexp(table, 1) - cosine.diagonal())[anchors].mean()

    def losses(self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor) -> list[torch.Tensor]:
        """BPR, the L2 term, the auxiliary loss."""
        warm = self.b["item_warm"]
        if self.config.id_dropout:
            warm = warm * (torch.rand(len(warm), dtype=self.dtype) >= self.config.id_dropout)
        user, item = self.initial(warm)
        scores = self.scores(user, item, warm)
        bpr = torch.log1p(torch.exp(scores[users, negatives] - scores[users, positives])).mean()
        if self.config.reference:
            l2 = torch.stack([weight.square().sum() for weight in self.w.values()]).sum()
        else:
            ids = [self.w["user_embedding.weight"][users]]
            ids += [self.w["item_embedding.weight"][rows] for rows in (positives, negatives)]
            l2 = torch.cat(ids, 1).square().sum(1).mean()
        if self.config.backbone not in ("sgl", "simgcl"):
            return [bpr, self.config.l2 * l2, bpr * 0]
        size, known = [len(user), len(item)], self.degree > 1
        views = [view.split(size) for view in self.views(torch.cat([user, item]))]
        sides = zip(*views, (users, positives), known.split(size), strict=True)
        auxiliary = torch.stack([self.contrast(*side) for side in sides]).sum()
        return [bpr, self.config.l2 * l2, self.config.ssl_weight * auxiliary]
