"""The graph and its propagation against dense formulas."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from reclm_hf.recommender.backbone_lightgcn import LightGCN
from reclm_hf.recommender.bipartite import Product
from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig
from reclm_hf.recommender.graph import Adjacency, Graph, normalized_adjacency

RNG = np.random.default_rng(0)
N_USERS, N_ITEMS = 7, 5
N_NODES = N_USERS + N_ITEMS


def history() -> csr_array:
    """[7, 5] of ones; user 6 and item 4 are in no pair."""
    pairs = (RNG.random((N_USERS, N_ITEMS)) < 0.5).astype(np.float32)
    pairs[6], pairs[:, 4] = 0, 0
    pairs[0, 0] = 1
    return csr_array(pairs)


def dense(matrix: csr_array) -> np.ndarray:
    """D^-1/2 A D^-1/2 with loops over nodes; rows of isolated nodes are zero."""
    full = np.zeros((N_NODES, N_NODES))
    full[:N_USERS, N_USERS:] = matrix.toarray()
    full[N_USERS:, :N_USERS] = matrix.toarray().T
    degree = full.sum(0)
    for row in range(N_NODES):
        for column in range(N_NODES):
            if full[row, column]:
                full[row, column] /= np.sqrt(degree[row] * degree[column])
    return full


def graph(matrix: csr_array) -> Graph:
    found = Graph(0)
    found.set(*normalized_adjacency(matrix))
    return found


def test_the_adjacency_equals_the_dense_formula() -> None:
    pairs = history()
    index, value = normalized_adjacency(pairs)
    assert index.shape == (2, 2 * pairs.nnz)
    assert (index.dtype, value.dtype) == (torch.int32, torch.float32)
    assert (index[0].diff() >= 0).all(), "rows sorted, as CSR needs them"
    np.testing.assert_allclose(graph(pairs).adjacency(N_NODES).matrix.to_dense(), dense(pairs), atol=1e-6)


def test_items_added_later_have_no_edges() -> None:
    pairs = history()
    found = graph(pairs)
    assert found.adjacency(N_NODES).matrix is found.adjacency(N_NODES).matrix, "built once"
    grown = found.adjacency(N_NODES + 2).matrix.to_dense().numpy()
    np.testing.assert_allclose(grown[:N_NODES, :N_NODES], dense(pairs), atol=1e-6)
    assert not grown[N_NODES:].any()
    assert not grown[:, N_NODES:].any()


def test_another_graph_replaces_the_built_one() -> None:
    found = graph(history())
    assert found.adjacency(N_NODES).matrix.shape == (N_NODES, N_NODES)
    other = csr_array(np.eye(N_USERS, N_ITEMS, dtype=np.float32))
    found.set(*normalized_adjacency(other))
    np.testing.assert_allclose(found.adjacency(N_NODES).matrix.to_dense(), dense(other), atol=1e-6)


def test_the_gradient_of_the_symmetric_product() -> None:
    adjacency = graph(history()).adjacency(N_NODES).matrix.to(torch.float64)
    x = torch.from_numpy(RNG.standard_normal((N_NODES, 3))).requires_grad_()

    def propagate(value: torch.Tensor) -> torch.Tensor:
        return Product.apply(adjacency, adjacency, value)

    assert torch.autograd.gradcheck(propagate, (x,))
    # Twice through the graph, as two layers go, and with a gradient that is not contiguous.
    assert torch.autograd.gradcheck(lambda value: propagate(propagate(value)).T.square(), (x,))


def test_other_values_on_the_same_structure_and_their_gradient() -> None:
    adjacency = graph(history()).adjacency(N_NODES)
    index = torch.stack([adjacency.row, adjacency.column])
    assert torch.equal(index[:, adjacency.twin], index.flip(0)), "the twin of (r, c) is (c, r)"
    value = torch.rand(len(adjacency.value), generator=torch.Generator().manual_seed(0))  # not symmetric
    dense_matrix = torch.zeros(N_NODES, N_NODES).index_put((adjacency.row.long(), adjacency.column.long()), value)
    x = torch.randn(N_NODES, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weight = torch.randn(N_NODES, 3, generator=torch.Generator().manual_seed(2))
    product = adjacency.propagate_with(value, x)
    torch.testing.assert_close(product, dense_matrix @ x)
    (product * weight).sum().backward()
    torch.testing.assert_close(x.grad, dense_matrix.T @ weight)


def test_self_loops_are_normalised_with_the_rest() -> None:
    pairs = history()
    full = np.eye(N_NODES)
    full[:N_USERS, N_USERS:], full[N_USERS:, :N_USERS] = pairs.toarray(), pairs.toarray().T
    scale = full.sum(0) ** -0.5
    found = Adjacency(*normalized_adjacency(pairs, self_loops=True), N_NODES)
    np.testing.assert_allclose(found.matrix.to_dense(), full * scale * scale[:, None], atol=1e-6)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_lightgcn_equals_the_dense_loop(n_layers: int) -> None:
    pairs = history()
    user, item = (RNG.standard_normal((rows, 4)).astype(np.float32) for rows in (N_USERS, N_ITEMS))
    layer = np.concatenate([user, item])
    layers = [layer]
    for _ in range(n_layers):
        layer = dense(pairs) @ layer
        layers.append(layer)
    expected = np.mean(layers, axis=0)
    found = LightGCN(RecLMRecommenderConfig(n_layers=n_layers))(
        torch.from_numpy(user), torch.from_numpy(item), graph(pairs).adjacency(N_NODES)
    )
    np.testing.assert_allclose(np.concatenate([part.numpy() for part in found]), expected, atol=1e-6)
    isolated = found[0][6].numpy()
    np.testing.assert_allclose(isolated, user[6] / (n_layers + 1), atol=1e-6)


def test_lightgcn_without_a_graph_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs the adjacency"):
        LightGCN(RecLMRecommenderConfig())(torch.zeros(1, 2), torch.zeros(1, 2), None)


def test_a_model_in_use_can_be_copied() -> None:
    graph = Graph(0)
    graph.set(*normalized_adjacency(csr_array(np.eye(3, 4, dtype=np.float32))))
    built = graph.adjacency(7).matrix.to_dense()
    copied = copy.deepcopy(graph)
    assert torch.equal(copied.adjacency(7).matrix.to_dense(), built)
    copied.adj_val.zero_()
    assert torch.equal(graph.adjacency(7).matrix.to_dense(), built)
