"""Scores of blocks of users: the same however the item table is read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reclm_hf.recommender.block_scores import block_scores

from .models import untrained


@pytest.mark.parametrize("backbone", ["bias_mf", "ncf"])
@pytest.mark.parametrize("n_users", [1, 30])
def test_scores_do_not_depend_on_how_the_items_are_chosen(backbone: str, n_users: int) -> None:
    model = untrained(backbone, "standard", "none").double()
    encoded, n_items = model.served(), model.config.n_items
    users = np.random.default_rng(0).integers(0, model.config.n_users, n_users)
    every = np.arange(n_items)
    rng = np.random.default_rng(1)
    for items in (every, every[1:], every[::-1], rng.permutation(every), every[:3], np.append(every[1:], 1), every[:0]):
        plain = encoded.scores(model.backbone, torch.as_tensor(users), torch.as_tensor(items.copy()))
        found = block_scores(encoded, model.backbone, users, items.copy())
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, plain.detach().numpy(), rtol=1e-6, atol=1e-6)
