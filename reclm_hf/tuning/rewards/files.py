"""The weights of a reward model: read from either layout, merged, and an adapter written as PEFT writes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...bundles import ResolvedModel
from ...profiler.files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_json, require_weights
from ...whole_models import load_model, refuse_missing, require_floats, tensor_kinds, weight_files

if TYPE_CHECKING:
    import torch

HEAD = "score.weight"


@dataclass(frozen=True)
class AdapterParts:
    """A trained adapter with its head, kept beside the model that it was added to: settings and named tensors."""

    config: Any
    tensors: Mapping[str, torch.Tensor]

    @classmethod
    def of(cls, model: Any) -> AdapterParts:
        """Of a PEFT model, before it is merged."""
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(model, adapter_name=model.active_adapter, save_embedding_layers=False)
        tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
        return cls(copy.deepcopy(model.peft_config[model.active_adapter]), tensors)

    def write(self, folder: Path, base_model: str, base_revision: str | None) -> None:
        """PEFT's files, with the base model named by its id and not by where its files lie."""
        from safetensors.torch import save_file

        stated = copy.deepcopy(self.config)
        stated.base_model_name_or_path, stated.revision, stated.inference_mode = base_model, base_revision, True
        for name in ("target_modules", "modules_to_save"):
            # Sets, or lists that grow with every load: in one order, each once.
            named = getattr(stated, name)
            setattr(stated, name, named if named is None or isinstance(named, str) else sorted(set(named)))
        stated.save_pretrained(str(folder))
        save_file(dict(self.tensors), folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def load_scorer(folder: str | Path, dtype: str) -> tuple[Any, list[str]]:
    """A sequence classification model of one label from a folder, and the weights that the folder lacks.

    Raises:
        OSError, ValueError: see `reclm_hf.whole_models.load_model`.
    """
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    told = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # a table of what a chat model has more and less; checked here instead
    try:
        return load_model(AutoModelForSequenceClassification, folder, dtype, num_labels=1)
    finally:
        transformers_logging.set_verbosity(told)


def load_adapted(base: ResolvedModel, folder: Path, dtype: str) -> tuple[Any, AdapterParts]:
    """A base model with the adapter and head of a folder merged in."""
    try:
        from peft import PeftConfig, PeftModelForSequenceClassification
    except ImportError as error:
        raise ImportError("Adapters need peft: pip install 'reclm-hf[train]'") from error
    stated = read_json(folder / ADAPTER_CONFIG)
    if stated.get("task_type") != "SEQ_CLS" or stated.get("peft_type") != "LORA":
        raise ValueError(
            f"{folder / ADAPTER_CONFIG}: task_type={stated.get('task_type')!r}, peft_type={stated.get('peft_type')!r}; "
            "a reward model's are SEQ_CLS and LORA."
        )
    if (Path(base.path) / ADAPTER_CONFIG).is_file():
        raise ValueError(f"the base model {base.model_id} of {folder} is an adapter itself: merge it first")
    require_weights(Path(base.path), "merged")
    model, missing = load_scorer(base.path, dtype)
    refuse_missing(f"the base model {base.model_id} of {folder}", set(missing) - {HEAD})
    require_floats([folder / ADAPTER_WEIGHTS])
    settings = PeftConfig.from_pretrained(str(folder))
    settings.inference_mode = True
    adapted = PeftModelForSequenceClassification(model, settings)
    try:
        result = adapted.load_adapter(str(folder), "default", torch_device="cpu")
    except RuntimeError as error:
        raise ValueError(f"the adapter in {folder} does not fit the base model {base.model_id} ({error})") from error
    if result.missing_keys or result.unexpected_keys:
        first = [*result.missing_keys, *result.unexpected_keys][0]
        raise ValueError(f"the adapter in {folder} does not fit the base model {base.model_id}: {first} is the first")
    parts = AdapterParts.of(adapted)
    return merge(adapted, dtype), parts


def merge(adapted: Any, dtype: str) -> Any:
    """A PEFT model with a head as one whole model in one precision; what was passed is used up."""
    import torch

    # PEFT keeps what it trains in float32; heads and hidden states must agree.
    return adapted.merge_and_unload().to(getattr(torch, dtype)).eval()


def require_head(folder: Path, layout: str) -> None:
    """Raise ValueError where no file has the weights of the head, or a file is broken."""
    files = [folder / ADAPTER_WEIGHTS] if layout == "adapter" else weight_files(folder)
    for file in files:
        if any(name.split(".")[-2:] == HEAD.split(".") for name in tensor_kinds(file)):
            return
    raise ValueError(
        f"{folder} has no weights of the head ({HEAD}): it scores nothing. Name what `reclm reward` wrote, or train it "
        "again."
    )
