"""Base models and adapters: put together with every mismatch refused, written as plain PEFT files or merged."""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..whole_models import require_floats
from .files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_json

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

    from .configuration_reclm_profiler import RecLMProfilerConfig

logger = logging.getLogger(__name__)


def is_adapted(model: Any) -> bool:
    """Whether a model is a PEFT model; peft is not imported for the answer."""
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")


def put_adapter(model: PreTrainedModel, folder: str | Path, *, trainable: bool = False) -> PeftModel:
    """A base model with the LoRA adapter of a folder on it.

    Raises:
        ImportError: peft is not installed.
        ValueError: an adapter of another kind or task, or one that was made for another base model.
    """
    try:
        from peft import PeftConfig, PeftModelForCausalLM
    except ImportError as error:
        raise ImportError("Adapters need peft: pip install 'reclm-hf[train]'") from error
    folder = Path(folder)
    stated = read_json(folder / ADAPTER_CONFIG)
    if stated.get("peft_type") != "LORA":
        raise ValueError(
            f"{folder / ADAPTER_CONFIG}: peft_type={stated.get('peft_type')!r}; only LORA is read. Merge the adapter "
            "with peft and load the merged model."
        )
    if stated.get("task_type") not in (None, "CAUSAL_LM"):
        raise ValueError(
            f"{folder / ADAPTER_CONFIG}: task_type={stated['task_type']!r} writes nothing; CAUSAL_LM does."
        )
    require_floats([folder / ADAPTER_WEIGHTS])
    try:
        settings = PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder / ADAPTER_CONFIG} means nothing to peft ({_first_lines(error)})") from error
    settings.inference_mode = not trainable
    base = model.name_or_path
    try:
        adapted = PeftModelForCausalLM(model, settings)
        result = adapted.load_adapter(str(folder), "default", is_trainable=trainable, torch_device=str(model.device))
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"the adapter in {folder} does not fit the base model {base} ({_first_lines(error)})"
        ) from error
    wrong = [*result.missing_keys, *result.unexpected_keys]
    if wrong:
        raise ValueError(
            f"the adapter in {folder} does not fit the base model {base}: {len(result.missing_keys)} tensors are "
            f"missing, {len(result.unexpected_keys)} have no place, the first is {wrong[0]}"
        )
    return adapted.eval()


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300]


def write_adapter(model: PeftModel, config: RecLMProfilerConfig, folder: Path) -> None:
    """The adapter in use as PEFT writes it, with the base model named by its id and not by where its files lie."""
    adapter = model.active_adapter
    recorded = model.peft_config[adapter]
    stated = copy.deepcopy(recorded)
    stated.base_model_name_or_path = config.base_model
    stated.revision = config.base_revision
    stated.inference_mode = True
    # Whether embeddings have to be saved is known here; left to decide, PEFT would ask the Hub.
    model.save_pretrained(str(folder), selected_adapters=[adapter], save_embedding_layers=False)
    inner = folder / adapter
    if adapter != "default":
        for path in list(inner.iterdir()):
            path.replace(folder / path.name)
        shutil.rmtree(inner)
    # PEFT's card names the folder of the base model on this machine; ours is written when the profiler is published.
    (folder / "README.md").unlink(missing_ok=True)
    (folder / ADAPTER_CONFIG).unlink()
    stated.save_pretrained(str(folder))


def merged(model: PeftModel) -> PreTrainedModel:
    """A copy of the model with the adapter added to its weights; the model itself stays as it is."""
    whole: PreTrainedModel = copy.deepcopy(model).merge_and_unload()
    return whole.eval()


def digest(model: Any) -> str:
    """SHA-256 over the adapter's weights, or over all weights of a model without one; hexadecimal digits."""
    if is_adapted(model):
        from peft import get_peft_model_state_dict

        tensors = get_peft_model_state_dict(model, adapter_name=model.active_adapter, save_embedding_layers=False)
    else:
        tensors = model.state_dict()
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(f"{name}:{tuple(tensors[name].shape)}:{tensors[name].dtype}\x00".encode())
        found.update(_bytes(tensors[name]))
    return found.hexdigest()


def _bytes(tensor: torch.Tensor) -> Any:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
