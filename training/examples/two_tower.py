"""LLM profiles in a model that is not ours: a plain PyTorch two-tower on the bundled data.

    python training/examples/two_tower.py --seeds 3

`TwoTower` inherits nothing from reclm_hf. It borrows one layer, `ProfileFusion`, for its user tower (profiles) and for
its item tower (item texts), and is judged by `evaluate` because it has `score(users, items)`. Everything here looks at
the validation period only; the settings below were chosen there for the model without profiles.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.data.features import center, history_mean
from reclm_hf.data.splits import Split
from reclm_hf.evaluation import evaluate
from reclm_hf.pipeline.texts import encode_items, encode_profiles
from reclm_hf.recommender.fusion import ProfileFusion
from reclm_hf.recommender.profile_modes import ProfileSide, profile_vectors
from reclm_hf.recommender.text_encoder import TextEncoder

MODES = ("none", "llm", "constant", "shuffled", "raw_text")
SETTINGS = ("catalogue", "catalogue_warm", "catalogue_cold", "zero_shot")


class TwoTower(nn.Module):
    """score(u, i) = cosine of the two towers / temperature.

    Args:
        item_text: [I, d_t] vectors of the item texts. item_warm: [I] 1.0 for items with history; the id of any other
            item was never trained and is left out.
        user_profile: [U, profile_dim] vectors of the profiles, zeros for users without one; None for no profiles.
    """

    item_text: torch.Tensor
    item_warm: torch.Tensor
    user_profile: Any

    def __init__(
        self,
        n_users: int,
        item_text: torch.Tensor,
        item_warm: torch.Tensor,
        user_profile: torch.Tensor | None,
        d: int = 64,
        temperature: float = 0.15,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.user_id, self.item_id = nn.Embedding(n_users, d), nn.Embedding(len(item_text), d)
        for table in (self.user_id, self.item_id):
            nn.init.normal_(table.weight, std=0.1)
        self.register_buffer("item_text", item_text)
        self.register_buffer("item_warm", item_warm)
        self.register_buffer("user_profile", user_profile)
        self.item_fusion = ProfileFusion(d, item_text.shape[1])
        self.user_fusion = None if user_profile is None else ProfileFusion(d, user_profile.shape[1])
        self.user_tower = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d))
        self.item_tower = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d))

    def users(self, rows: torch.Tensor) -> torch.Tensor:
        """[n] int64 user rows -> [n, d], of length 1."""
        x = self.user_id(rows)
        if self.user_fusion is not None:
            x = self.user_fusion(x, self.user_profile[rows])
        return functional.normalize(self.user_tower(x), dim=-1)

    def items(self, rows: torch.Tensor) -> torch.Tensor:
        """[n] int64 item rows -> [n, d], of length 1."""
        x = self.item_fusion(self.item_id(rows) * self.item_warm[rows, None], self.item_text[rows])
        return functional.normalize(self.item_tower(x), dim=-1)

    @torch.no_grad()
    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float32 [B, C]: all that `reclm_hf.evaluation.evaluate` asks of a model."""
        scores = self.users(torch.as_tensor(users)) @ self.items(torch.as_tensor(items)).T
        return (scores / self.temperature).numpy()


def train(
    model: TwoTower,
    user: np.ndarray,
    item: np.ndarray,
    epochs: int,
    seed: int = 0,
    batch_size: int = 1024,
    learning_rate: float = 2e-3,
) -> list[float]:
    """In-batch softmax with the correction for how often an item is drawn (Yi et al., RecSys 2019, eq. 5).

    Args:
        user, item: [n] int rows of the interactions.

    Returns:
        The mean loss of each epoch.
    """
    pairs = torch.from_numpy(np.stack([user, item]).astype(np.int64))
    log_share = torch.bincount(pairs[1], minlength=len(model.item_text)).clamp(min=1).div(len(user)).log()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.1)
    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for batch in pairs[:, torch.from_numpy(rng.permutation(len(user)))].split(batch_size, dim=1):
            logits = model.users(batch[0]) @ model.items(batch[1]).T / model.temperature - log_share[batch[1]]
            # The same item further along in the batch is no negative.
            same = (batch[1][:, None] == batch[1]) & ~torch.eye(batch.shape[1], dtype=torch.bool)
            loss = functional.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(batch.shape[1]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * batch.shape[1]
        losses.append(total / len(user))
    return losses


def load_vectors(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Centred vectors of the bundled items [I, 384] and of the profiles as of the cut of `split` [U, 384]."""
    encoder = TextEncoder()
    items = encode_items(bundled_splits().data, encoder)
    profiles = encode_profiles(bundled_profiles(which=split.name), split.user_ids, encoder)
    written = np.abs(profiles).sum(axis=1) > 0
    # Profiles of one domain share most of their direction; a user without one keeps the zero row.
    return center(items, split.warm)[0], center(profiles, written)[0] * written[:, None]


def main() -> None:
    """Train every mode with every seed and print recall@20 and NDCG@20 on the validation period."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12, help="the same for every mode")
    args = parser.parse_args()
    split = bundled_splits().validation
    item_text, llm = load_vectors(split)
    side = ProfileSide(llm, history_mean(split, item_text), split.history_matrix())
    text, warm = torch.from_numpy(item_text), torch.from_numpy(split.warm.astype(np.float32))
    print("recall@20 / NDCG@20  " + "".join(f"{name:<17}" for name in SETTINGS))
    for mode in MODES:
        rows = []
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            vectors = profile_vectors(mode, side, seed)
            model = TwoTower(split.n_users, text, warm, None if vectors is None else torch.from_numpy(vectors))
            train(model, split.history_user, split.history_item, args.epochs, seed)
            found = evaluate(model, split, ks=(20,)).summary()
            rows.append([[found[name][metric] for metric in ("recall@20", "ndcg@20")] for name in SETTINGS])
            show(f"{mode:<10} seed {seed:<4}", rows[-1])
        show(f"{mode:<10} mean     ", np.mean(rows, axis=0))


def show(label: str, row: Any) -> None:
    """Print one row, a pair of figures for each of `SETTINGS`."""
    print(label + "".join(f"  {recall:.4f} / {ndcg:.4f}" for recall, ndcg in row), flush=True)


if __name__ == "__main__":
    main()
