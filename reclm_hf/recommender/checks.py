"""What is compared before a saved recommender is put together, so that nobody gets half of one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from .catalog import Catalog

logger = logging.getLogger(__name__)

_SHOWN = 3
# Beside the fields that a configuration has itself: what transformers or the Hub's tools write into config.json.
_FOREIGN = {"auto_map", "_name_or_path", "torch_dtype", "transformers_version", "_commit_hash", "use_cache"}


def check_model_type(values: Mapping[str, Any], expected: str, path: Path) -> None:
    """Raise ValueError where a `config.json` is not of a recommender."""
    kind = values.get("model_type")
    if kind != expected:
        raise ValueError(
            f"{path} is of a model of type {kind!r}, no recommender ({expected!r}): see what its card says"
        )
    if values.get("transformers_weights") is not None:
        raise ValueError(
            f"{path} names weights of its own (transformers_weights): a recommender's are model.safetensors"
        )


def warn_of_unknown(values: Mapping[str, Any], known: Iterable[str], path: Path) -> None:
    """Say which fields of a `config.json` this version does not know; transformers keeps them without a word."""
    unknown = sorted(set(values) - set(known) - _FOREIGN)
    if unknown:
        logger.warning(
            "%s: fields that this version does not know are kept, but not used: %s. If a newer version wrote them, "
            "update reclm-hf.",
            path,
            ", ".join(unknown),
        )


def check_sizes(catalog: Catalog, config: Any, source: object) -> None:
    """Raise ValueError where a catalogue has another number of users or items than the configuration."""
    for name, found, stated in (
        ("users", catalog.n_users, config.n_users),
        ("items", catalog.n_items, config.n_items),
    ):
        if found != stated:
            raise ValueError(
                f"{source}: the catalogue has {found} {name}, config.json says {stated}: the files come from different "
                "models; save or fetch all of them again"
            )


def check_weights(expected: Mapping[str, torch.Tensor], files: Iterable[Path]) -> None:
    """Compare names, shapes and kinds of the tensors of safetensors files with those that a model needs.

    Args:
        expected: `state_dict()` of the model, which may lie on the meta device.

    Raises:
        ValueError: a broken file, or tensors that are missing, have no place or do not fit; names some.
    """
    found: dict[str, tuple[tuple[int, ...], bool]] = {}
    place = None
    for path in files:
        if path.suffix != ".safetensors":
            continue
        place = path.parent if place is not None else path
        found |= _tensors(path)
    wanted = {name: (tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in expected.items()}
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    wrong = [
        f"{name} {list(found[name][0])} instead of {list(wanted[name][0])}"
        if found[name][0] != wanted[name][0]
        else f"{name} holds {'floats' if found[name][1] else 'integers'}"
        for name in sorted(set(wanted) & set(found))
        if found[name] != wanted[name]
    ]
    for what, names in (("lack", missing), ("hold, with no place in the model,", unknown), ("do not fit:", wrong)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise ValueError(
                f"{place}: the weights {what} {', '.join(names[:_SHOWN])}{more}: config.json is of another model, or "
                "of another version of this package; save or fetch all files again"
            )


def _tensors(path: Path) -> dict[str, tuple[tuple[int, ...], bool]]:
    try:
        with safe_open(str(path), framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            return {
                name: (tuple(part.get_shape()), part.get_dtype().startswith(("F", "BF")))
                for name, part in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}): save or fetch it again") from error


def check_graph(model: Any, source: object) -> None:
    """Raise ValueError where the stored adjacency names users or items that are not there."""
    if model.graph is None or model.graph.adj_idx.numel() == 0:
        return
    index, nodes = model.graph.adj_idx, model.config.n_users + model.config.n_items
    if index.min() < 0 or index.max() >= nodes:
        raise ValueError(f"{source}: the graph names nodes beyond its {nodes} users and items: fetch it again")
