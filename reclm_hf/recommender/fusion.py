"""Fusing text and profile vectors into ID embeddings (RecLM section 2.2, eq. 1 and 2)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def mlp(n_in: int, n_out: int) -> nn.Sequential:
    """The two-layer ReLU projection d_t -> d -> d of eq. 1, used for T_raw and T_pro."""
    return nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU(), nn.Linear(n_out, n_out))


class ProfileFusion(nn.Module):
    """Psi(x | T_pro(p)) of eq. 2: concatenate an embedding and a projected profile vector, map 2d -> d.

    Works in any model: give it the embeddings [n, d] and the profile vectors [n, profile_dim] of the same rows.
    Psi starts as the identity on x plus a projected profile; a profile of zeros leaves x as it is.
    """

    def __init__(self, embedding_dim: int, profile_dim: int) -> None:
        super().__init__()
        self.project = mlp(profile_dim, embedding_dim)  # T_pro
        self.fuse = nn.Linear(2 * embedding_dim, embedding_dim)  # Psi
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)
            self.fuse.weight[:, :embedding_dim] = torch.eye(embedding_dim)

    def forward(self, embedding: torch.Tensor, profile: torch.Tensor) -> torch.Tensor:
        """[n, d], [n, profile_dim] -> [n, d]."""
        return self.fuse(torch.cat([embedding, self.project(profile)], dim=-1))


class SharedFusion(nn.Module):
    """The fusion of the preset `reference`: one T_pro and one Psi with ReLU for users and items alike."""

    def __init__(self, embedding_dim: int, profile_dim: int) -> None:
        super().__init__()
        self.project = mlp(profile_dim, embedding_dim)
        self.fuse = nn.Linear(2 * embedding_dim, embedding_dim)

    def user(self, embedding: torch.Tensor, profile: torch.Tensor) -> torch.Tensor:
        """[n, d], [n, profile_dim] -> [n, d]; the projected profile has length 1."""
        projected = functional.normalize(self.project(profile), dim=-1)
        return functional.relu(self.fuse(torch.cat([embedding, projected], dim=-1)))

    def item(self, features: torch.Tensor, profile: torch.Tensor) -> torch.Tensor:
        """[n, d], [n, profile_dim] -> [n, d]."""
        return functional.relu(self.fuse(torch.cat([features, self.project(profile)], dim=-1)))
