"""The preset `reference` against the authors' formulas (github.com/HKUDS/RecLM, base_models), restated in float64.

`Authors` reads parameter tensors and inputs of a model and shares no code with the package. Random numbers are replayed
in the order in which the package documents to draw them. The authors' tables hold the items of the train matrix only.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.utils.checkpoint import checkpoint

from reclm_hf.data.importers.reclm_release import read_reclm_release
from reclm_hf.data.importers.restricted_pickle import read_dictionary, read_matrix
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split, Splits, snapshot_split
from reclm_hf.evaluation.protocol import Evaluation, evaluate
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES, RecLMRecommenderConfig
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.checkerboard import checkerboard

GRAPHS = ("lightgcn", "sgl", "simgcl")
REG = {"bias_mf": 1e-7, "ncf": 1e-7, "lightgcn": 1e-7, "sgl": 1e-5, "simgcl": 1e-5}
LAYERS, TEMPERATURE, SSL_REG, KEEP_RATE, EPS = 2, 0.1, 1e-2, 0.5, 0.9
LOSS, GRADIENT, RELATIVE = 1e-5, 1e-6, 1e-4
STEP_SEED = 11

every_backbone = pytest.mark.parametrize("backbone", BACKBONE_NAMES)
base_and_augmented = pytest.mark.parametrize("augmented", [False, True], ids=["base", "augmented"])


class Losses(NamedTuple):
    """Of one batch, float64 scalars."""

    bpr: torch.Tensor
    contrast: torch.Tensor
    reg: torch.Tensor


class Authors:
    """The authors' model with the parameters of `model`, as float64 leaves, on the train matrix `history` [U, I]."""

    def __init__(self, model: RecLMRecommender, history: sp.csr_array) -> None:
        self.backbone, self.augmented = model.config.backbone, model.config.user_profiles
        self.leaves = {name: p.detach().double().requires_grad_() for name, p in model.named_parameters()}
        self.n_users, self.n_all_items = history.shape
        self.train_items = np.flatnonzero(history.sum(0))
        rows = torch.from_numpy(self.train_items)
        self.text = model.item_text.double()[rows]
        self.user_profile = model.user_profile.double()
        self.item_profile = model.item_profile.double()[rows] if self.augmented else None
        if self.backbone in GRAPHS:
            self._index_graph(history[:, self.train_items])

    def _index_graph(self, rating: sp.csr_array) -> None:
        n = sum(rating.shape)
        with_loops = sp.coo_array(sp.block_array([[None, rating], [rating.T, None]]) + sp.eye_array(n))
        scale = np.asarray(with_loops.sum(1)).ravel() ** -0.5
        order = np.lexsort((with_loops.col, with_loops.row))
        row, column = with_loops.row[order].astype(np.int64), with_loops.col[order].astype(np.int64)
        self.entries = torch.from_numpy(np.stack([row, column]))
        self.values = torch.from_numpy(scale[row] * scale[column])
        self.n_nodes = n
        # Places in what the package draws: items without history are nodes, with a self-loop each, there.
        self.node = np.concatenate([np.arange(self.n_users), self.n_users + self.train_items])
        every = self.n_users + self.n_all_items
        loops = np.setdiff1d(np.arange(self.n_users, every), self.node) * (every + 1)
        keys = self.node[row] * every + self.node[column]
        drawn = np.sort(np.concatenate([keys, loops]))
        self.n_drawn, self.place = len(drawn), torch.from_numpy(np.searchsorted(drawn, keys))

    # -- representations --------------------------------------------------------------------------------------------

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.leaves[f"{name}.weight"].T + self.leaves[f"{name}.bias"]

    def _two_layers(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self._linear(f"{name}.2", self._linear(f"{name}.0", x).relu())

    def initial(self) -> tuple[torch.Tensor, torch.Tensor]:
        """[U, d] users and [train items, d] items."""
        features, users = self._two_layers("project_text", self.text), self.leaves["user_embedding.weight"]
        if self.augmented:
            item_part = self._two_layers("shared_fusion.project", self.item_profile)
            user_part = unit(self._two_layers("shared_fusion.project", self.user_profile))
            features = self._linear("shared_fusion.fuse", torch.cat([features, item_part], 1)).relu()
            users = self._linear("shared_fusion.fuse", torch.cat([users, user_part], 1)).relu()
        return users, unit(features)

    def _spread(self, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        size = (self.n_nodes, self.n_nodes)
        return torch.sparse.mm(torch.sparse_coo_tensor(self.entries, values, size, check_invariants=True), x)

    def _sum_of_layers(self, x: torch.Tensor, values: torch.Tensor, noisy: bool = False) -> torch.Tensor:
        total = x
        for _ in range(LAYERS):
            x = self._spread(values, x)
            if noisy:
                noise = torch.rand(self.n_users + self.n_all_items, x.shape[1])[torch.from_numpy(self.node)]
                x = x + unit(noise.double()) * torch.sign(x) * EPS
            total = total + x
        return total

    def view(self, x: torch.Tensor) -> torch.Tensor:
        """A random view of all nodes."""
        if self.backbone == "simgcl":
            return self._sum_of_layers(x, self.values, noisy=True)
        kept = torch.floor(torch.rand(self.n_drawn)[self.place] + KEEP_RATE)
        return self._sum_of_layers(x, self.values * kept / KEEP_RATE)

    # -- losses -----------------------------------------------------------------------------------------------------

    def losses(self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor) -> Losses:
        """Of a batch in the id space of the package."""
        positives, negatives = (self._train_row(items) for items in (positives, negatives))
        user, item = self.initial()
        main, nodes = user, torch.cat([user, item])
        if self.backbone in GRAPHS:
            main = self._sum_of_layers(nodes, self.values)[: self.n_users]
        apart = self._score(main, item, users, positives) - self._score(main, item, users, negatives)
        bpr = -torch.log(torch.sigmoid(apart)).sum() / len(users)
        contrast = torch.zeros(())
        if self.backbone in ("sgl", "simgcl"):
            one, two = self.view(nodes), self.view(nodes)
            n = self.n_users
            contrast = SSL_REG * (contrasted(one[:n], two[:n], users) + contrasted(one[n:], two[n:], positives))
        norms = torch.stack([leaf.norm(2) ** 2 for leaf in self.leaves.values()])
        return Losses(bpr, contrast, REG[self.backbone] * norms.sum())

    def _train_row(self, items: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.searchsorted(self.train_items, items.numpy()))

    def _score(self, user: torch.Tensor, item: torch.Tensor, u: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        left, right = user[u], item[i]
        if self.backbone == "ncf":
            hidden = self._linear("backbone.first", torch.cat([left, right], 1)).relu()
            return (left * right * self.leaves["backbone.gmf"]).sum(1) + hidden.sum(1)
        scores = (left * right).sum(1)
        return scores + self.leaves["user_bias.weight"][u, 0] if self.backbone == "bias_mf" else scores


def unit(x: torch.Tensor) -> torch.Tensor:
    """Rows of length 1; zero rows stay zero."""
    return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)


def contrasted(one: torch.Tensor, two: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
    """Mean over `nodes` of -log(exp(cos / t) / sum of exp(cos / t) over the table), the authors' 1e-8 included."""
    one, two = unit(one + 1e-8)[nodes], unit(two + 1e-8)

    def summed(anchors: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        numerator = torch.exp((anchors * own).sum(1) / TEMPERATURE)
        denominator = torch.exp(anchors @ two.T / TEMPERATURE).sum(1) + 1e-8
        return -torch.log(numerator / denominator).sum()

    parts = [
        checkpoint(summed, *pair, use_reentrant=False)
        for pair in zip(one.split(256), two[nodes].split(256), strict=True)
    ]
    return torch.stack(parts).sum() / len(nodes)


def built(data: Splits, text: np.ndarray, backbone: str, augmented: bool, width: int) -> RecLMRecommender:
    """An untrained reference model of the test split, in training mode; random profiles where augmented."""
    config = RecLMRecommenderConfig(
        backbone=backbone,
        preset="reference",
        profile_mode="llm" if augmented else "none",
        profile_sides="both",
        embedding_dim=width,
        seed=3,
    )
    rng, split = np.random.default_rng(4), data.test
    profiles = [rng.standard_normal((n, text.shape[1]), dtype=np.float32) for n in (split.n_users, split.n_items)]
    return build_recommender(config, data.data, split, text, *(profiles if augmented else (None, None))).train()


def batch_of(split: Split, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random history pairs, and for each a random item of the train matrix that the user does not have."""
    rng = np.random.default_rng(5)
    chosen = rng.permutation(len(split.history_user))[:size]
    user, positive = split.history_user[chosen].astype(np.int64), split.history_item[chosen].astype(np.int64)
    taken = set(zip(split.history_user.tolist(), split.history_item.tolist(), strict=True))
    items = np.unique(split.history_item).astype(np.int64)
    negative = []
    for row in user.tolist():
        item = rng.choice(items)
        while (row, int(item)) in taken:
            item = rng.choice(items)
        negative.append(item)
    return torch.from_numpy(user), torch.from_numpy(positive), torch.from_numpy(np.array(negative))


def differences(model: RecLMRecommender, split: Split, size: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Absolute differences of the losses; of each gradient the largest absolute and the relative (2-norm) one."""
    batch = batch_of(split, size)
    torch.manual_seed(STEP_SEED)
    ours = model(user_index=batch[0], positive_index=batch[1], negative_index=batch[2])
    ours.loss.backward()
    authors = Authors(model, split.history_matrix())
    torch.manual_seed(STEP_SEED)
    theirs = authors.losses(*batch)
    total = theirs.bpr + theirs.contrast + theirs.reg
    total.backward()
    losses = {
        "loss": (ours.loss, total),
        "bpr": (ours.bpr_loss, theirs.bpr),
        "contrast": (ours.auxiliary_loss, theirs.contrast),
        "reg": (ours.l2_loss, theirs.reg),
    }
    gradients = {}
    for name, leaf in authors.leaves.items():
        apart = model.get_parameter(name).grad.double() - leaf.grad
        gradients[name] = np.array([apart.abs().max().item(), (apart.norm() / leaf.grad.norm()).item()])
    return {name: abs((pair[0] - pair[1]).item()) for name, pair in losses.items()}, gradients


def require_parity(model: RecLMRecommender, split: Split, size: int) -> None:
    losses, gradients = differences(model, split, size)
    assert max(losses.values()) <= LOSS, losses
    assert max(absolute for absolute, _ in gradients.values()) <= GRADIENT, gradients
    assert max(relative for _, relative in gradients.values()) <= RELATIVE, gradients


@every_backbone
@base_and_augmented
def test_losses_and_gradients_equal_the_authors(backbone: str, augmented: bool) -> None:
    data, text = checkerboard()
    assert data.test.cold.any(), "items without history must be in the tables of the package"
    require_parity(built(data, text, backbone, augmented, width=8), data.test, size=256)


def test_parameters_start_where_the_authors_start() -> None:
    data, text = checkerboard()
    model = built(data, text, "bias_mf", False, width=32)
    for table in (model.user_embedding.weight, model.user_bias.weight):
        assert 0 <= table.min().item() < 0.1
        assert 0.9 < table.max().item() < 1
    for backbone in ("ncf", *GRAPHS):
        bound = (6 / (data.test.n_users + 32)) ** 0.5  # Xavier
        assert 0.95 * bound < built(data, text, backbone, False, 32).user_embedding.weight.abs().max().item() <= bound
    gmf = built(data, text, "ncf", False, width=32).backbone.gmf
    assert gmf.shape == (1, 32)
    assert 0.8 * (6 / 33) ** 0.5 < gmf.abs().max().item() <= (6 / 33) ** 0.5


# -- the authors' MIND --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mind_folder(shared_data: Path) -> Path:
    folder = shared_data / "reclm-release" / "mind"
    if not folder.is_dir():
        pytest.skip(f"the authors' release is not at {folder}")
    return folder


@pytest.fixture(scope="module")
def mind(mind_folder: Path) -> Splits:
    tables = read_reclm_release(mind_folder)
    return snapshot_split(Interactions.from_tables(tables.items, tables.interactions, "mind"))


@pytest.mark.slow
@pytest.mark.shared_data
@every_backbone
@base_and_augmented
def test_a_batch_of_mind_equals_the_authors(mind: Splits, backbone: str, augmented: bool) -> None:
    text = np.random.default_rng(6).standard_normal((mind.test.n_items, 384), dtype=np.float32)
    require_parity(built(mind, text, backbone, augmented, width=32), mind.test, size=4096)


class FixedScores:
    """An integer below 2^24 for each user and item, other ones for all items of a user: no ties in float32."""

    prime = 16_777_213

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return ((users[:, None] * 7919 + items * 104_729 + 13) % self.prime).astype(np.float32)


def authors_metrics(scores: torch.Tensor, targets: sp.csr_array, k: int) -> list[tuple[int, float, float]]:
    """(row, recall, ndcg) of the rows with targets, by the definitions of the authors' calcRes."""
    best = torch.topk(scores, k).indices.tolist()
    found = []
    for row, top in enumerate(best):
        wanted = targets.indices[targets.indptr[row] : targets.indptr[row + 1]].tolist()
        if not wanted:
            continue
        hits = [top.index(item) for item in wanted if item in top]
        ideal = sum(1 / np.log2(place + 2) for place in range(min(len(wanted), k)))
        found.append((row, len(hits) / len(wanted), sum(1 / np.log2(place + 2) for place in hits) / ideal))
    return found


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("setting", "files", "n_users"),
    [
        ("test_items", ("tstMat_zero_.pkl", "item_id_map_test.pkl", "maskMat_zero.pkl"), 56972),
        ("zero_shot", ("tstMat_zero_shot.pkl", "item_id_map_zero.pkl", None), 20394),
    ],
)
def test_metrics_on_mind_equal_the_authors(
    mind: Splits, mind_folder: Path, setting: str, files: tuple[str, str, str | None], n_users: int
) -> None:
    targets = read_matrix(mind_folder / files[0]).tocsr()
    column_of = read_dictionary(mind_folder / files[1])
    mask = sp.csr_array(targets.shape) if files[2] is None else read_matrix(mind_folder / files[2]).tocsr()
    row_of_item = {item: row for row, item in enumerate(mind.test.item_ids)}
    items = np.empty(len(column_of), dtype=np.int64)
    for item, column in column_of.items():
        items[column] = row_of_item[str(item)]
    row_of_user = {user: row for row, user in enumerate(mind.test.user_ids)}
    users = np.array([row_of_user[str(user)] for user in range(targets.shape[0])])

    ours: Evaluation = evaluate(FixedScores(), mind.test, settings=(setting,), ks=(20, 40))
    assert len(ours[setting].users) == n_users
    for k in (20, 40):
        found = []
        for start in range(0, len(users), 2048):
            block = slice(start, start + 2048)
            scores = torch.from_numpy(FixedScores().score(users[block], items))
            masked = torch.from_numpy(mask[block].toarray())
            rows = authors_metrics(scores * (1 - masked) - 1e8 * masked, targets[block], k)
            found += [(users[start + row], recall, ndcg) for row, recall, ndcg in rows]
        expected = np.array(sorted(found))
        np.testing.assert_array_equal(ours[setting].users, expected[:, 0])
        np.testing.assert_allclose(ours[setting].metrics[f"recall@{k}"], expected[:, 1], rtol=0, atol=1e-9)
        np.testing.assert_allclose(ours[setting].metrics[f"ndcg@{k}"], expected[:, 2], rtol=0, atol=1e-9)
        assert expected[:, 1].mean() > 0.5 * k / len(items), "some targets are among the first"
