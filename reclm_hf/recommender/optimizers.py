"""Adam over all parameters, and a form of it that skips the rows of large tables that a batch does not touch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, overload

import torch

if TYPE_CHECKING:
    from .modeling_reclm_recommender import RecLMRecommender
    from .trainer import TrainerOptions

OPTIMIZERS = ("adam", "row_sparse_adam")
_FLOOR_RATE = 0.02  # the weights beside the floors learn faster than the tables


def make_optimizer(model: RecLMRecommender, options: TrainerOptions) -> torch.optim.Optimizer:
    """Adam, fused; or row-sparse for the tables of users and items.

    Raises:
        ValueError: `row_sparse_adam` for a model whose every step moves all rows.
    """
    sparse = options.optimizer == "row_sparse_adam"
    few = [p for name, p in model.named_parameters() if name.startswith("floors.") or name == "profile_gain"]
    chosen = {id(p) for p in few}
    many = [p for p in model.parameters() if id(p) not in chosen]
    groups: list[dict[str, Any]] = [{"params": many, "lr": options.learning_rate}]
    if few:
        groups.append({"params": few, "lr": _FLOOR_RATE})
    tables = [model.user_embedding, model.item_embedding, model.item_bias]
    if sparse:
        _require_sparse(model)
    for table in tables:
        if table is not None:
            table.sparse = sparse
    return RowSparseAdam(groups) if sparse else torch.optim.Adam(groups, fused=True)


def dense_gradients(model: RecLMRecommender) -> None:
    """Undo what `row_sparse_adam` asks of the tables, so that any optimizer can go on with the model."""
    for table in (model.user_embedding, model.item_embedding, model.item_bias):
        if table is not None:
            table.sparse = False


class RowGradients:
    """Gradients of tables of which a step touches some rows: one buffer for an epoch, cleared by rows.

    Otherwise every step would clear, and fault in, as much memory as the tables take. Only for models that look rows
    up; a graph has gradients for all of them. The gradients are the same, dense ones.
    """

    def __init__(self, model: RecLMRecommender, optimizer: torch.optim.Optimizer) -> None:
        fits = model.device.type == "cpu" and not model.backbone.needs_graph
        fits = fits and not isinstance(optimizer, RowSparseAdam)
        self._model = model
        self._users = [model.user_embedding] if fits else []
        self._items = [table for table in (model.item_embedding, model.item_bias) if fits and table is not None]

    def __enter__(self) -> Self:
        for table in (*self._users, *self._items):
            table.sparse = True  # is added to the rows of the buffer
            table.weight.grad = torch.zeros_like(table.weight)
        return self

    def __exit__(self, *error: object) -> None:
        for table in (*self._users, *self._items):
            table.sparse, table.weight.grad = False, None

    def clear(self, users: torch.Tensor, items: torch.Tensor) -> None:
        """Forget the gradients of a step that touched these rows, int64."""
        kept = {id(table.weight) for table in (*self._users, *self._items)}
        for parameter in self._model.parameters():
            if id(parameter) not in kept:
                parameter.grad = None
        for tables, rows in ((self._users, users), (self._items, items)):
            for table in tables:
                assert table.weight.grad is not None
                table.weight.grad.index_fill_(0, rows, 0.0)


def _require_sparse(model: RecLMRecommender) -> None:
    config = model.config
    why = None
    if model.backbone.needs_graph:
        why = f"backbone={config.backbone!r} propagates all rows at every step"
    elif config.loss != "bpr":
        why = f"loss={config.loss!r} is taken over all items"
    elif config.reference:
        why = "preset='reference' has an L2 term over all parameters"
    if why:
        raise ValueError(f"optimizer='row_sparse_adam': {why}; take optimizer='adam'.")


class RowSparseAdam(torch.optim.Optimizer):
    """Adam whose moments of a table's row move only when a batch touches the row.

    As `torch.optim.SparseAdam` for sparse gradients (lazy moments, no step for an untouched row, bias correction by the
    number of steps; but eps is added after that correction, as in Adam), and as `torch.optim.Adam` for dense ones. A
    step costs the rows of the batch instead of the whole table.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """Args: as of `torch.optim.Adam`; `weight_decay` is for parameters with dense gradients."""
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step; arguments as of `torch.optim.Optimizer`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    moments = self._moments(parameter)
                    moments["step"] += 1
                    update = _sparse_update if parameter.grad.is_sparse else _dense_update
                    update(parameter, moments, group)
        return loss

    def _moments(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        moments: dict[str, torch.Tensor] = self.state[parameter]
        if not moments:
            moments["step"] = torch.zeros((), dtype=torch.float32)
            moments["exp_avg"] = torch.zeros_like(parameter)
            moments["exp_avg_sq"] = torch.zeros_like(parameter)
        return moments


def _sparse_update(parameter: torch.Tensor, moments: dict[str, torch.Tensor], group: dict[str, Any]) -> None:
    assert parameter.grad is not None
    gradient = parameter.grad.coalesce()
    rows, value = gradient.indices()[0], gradient.values()
    (beta1, beta2), step = group["betas"], float(moments["step"])
    first = moments["exp_avg"][rows].lerp_(value, 1 - beta1)
    second = moments["exp_avg_sq"][rows].mul_(beta2).addcmul_(value, value, value=1 - beta2)
    moments["exp_avg"].index_copy_(0, rows, first)
    moments["exp_avg_sq"].index_copy_(0, rows, second)
    size = group["lr"] / (1 - beta1**step)
    width = second.div_(1 - beta2**step).sqrt_().add_(group["eps"])
    parameter.index_add_(0, rows, first.div_(width), alpha=-size)


def _dense_update(parameter: torch.Tensor, moments: dict[str, torch.Tensor], group: dict[str, Any]) -> None:
    assert parameter.grad is not None
    gradient, (beta1, beta2), step = parameter.grad, group["betas"], float(moments["step"])
    if group["weight_decay"]:
        gradient = gradient.add(parameter, alpha=group["weight_decay"])
    first = moments["exp_avg"].lerp_(gradient, 1 - beta1)
    second = moments["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    width = second.div(1 - beta2**step).sqrt_().add_(group["eps"])
    parameter.addcdiv_(first, width, value=-group["lr"] / (1 - beta1**step))


def decay_all(model: RecLMRecommender, optimizer: torch.optim.Optimizer) -> bool:
    """Let the optimizer take the gradient of an L2 term over all parameters along; whether there is one.

    Adam's coupled `weight_decay` adds 2 x l2 x parameter to the gradient, as the term would, in the pass that reads
    both anyway.
    """
    over_all = model.item_embedding is None
    for group in optimizer.param_groups:
        group["weight_decay"] = 2 * model.config.l2 if over_all else 0.0
    return over_all


def complete_gradients(model: RecLMRecommender) -> None:
    """Zeros where there is no gradient: layers that a variant does not use decay too, as in the authors' code."""
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
