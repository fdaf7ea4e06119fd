"""The configuration of a model by its name: from a folder, from the Hub, or from sizes that ship with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundles import PROBE_SECONDS

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_LLAMA_2: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
_LLAMA_2_7B = _LLAMA_2 | {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
}
_LLAMA_2_13B = _LLAMA_2 | {
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
}
_LLAMA_3_8B: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
_QWEN: dict[str, Any] = {"model_type": "qwen2", "max_position_embeddings": 32768, "num_hidden_layers": 28}
_SMOL: dict[str, Any] = {"model_type": "llama", "vocab_size": 49152, "tie_word_embeddings": True}


def _smol(hidden: int, feed_forward: int, layers: int, heads: int, kv_heads: int) -> dict[str, Any]:
    return _SMOL | {
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 8192,
    }


KNOWN: dict[str, dict[str, Any]] = {
    "meta-llama/Llama-2-7b-chat-hf": _LLAMA_2_7B,
    "meta-llama/Llama-2-7b-hf": _LLAMA_2_7B,
    "meta-llama/Llama-2-13b-chat-hf": _LLAMA_2_13B,
    "meta-llama/Meta-Llama-3-8B-Instruct": _LLAMA_3_8B,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_3_8B | {"max_position_embeddings": 131072},
    "Qwen/Qwen2.5-7B-Instruct": _QWEN
    | {
        "vocab_size": 152064,
        "tie_word_embeddings": False,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "Qwen/Qwen2.5-1.5B-Instruct": _QWEN
    | {
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
    },
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": _smol(2048, 8192, 24, 32, 32),
    "HuggingFaceTB/SmolLM2-360M-Instruct": _smol(960, 2560, 32, 15, 5),
    "HuggingFaceTB/SmolLM2-135M-Instruct": _smol(576, 1536, 30, 9, 3),
}
"""Sizes for planning where the Hub cannot be reached: enough to count parameters and memory, not to load a model."""

_FILES = ("config.json", "profiler_config.json", "adapter_config.json")


def find_config(model: str, revision: str | None = None) -> tuple[PretrainedConfig, str]:
    """The configuration of a model (of an adapter: of the model below it), and where it is from, in words.

    Raises:
        ValueError: neither a folder, nor on the Hub as far as it can be asked, nor known. OSError: a broken folder.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        found = next((folder / name for name in _FILES if (folder / name).is_file()), None)
        if found is None:
            raise ValueError(f"{model} holds none of {', '.join(_FILES)}: name the folder of a model or of a profiler.")
        return _read(found, str(found))
    reason = ""
    for name in _FILES:
        path, reason = _from_hub(model, name, revision)
        if path is not None:
            return _read(path, f"{name} of {model} on the Hub")
        if reason:
            break
    if model in KNOWN:
        return _configure(KNOWN[model]), f"sizes that ship with this package (the Hub did not answer: {reason})"
    raise ValueError(
        f"the configuration of {model!r} is not to be had ({reason or 'it has none'}), and its sizes do not ship with "
        f"this package, which knows {', '.join(KNOWN)}. Give the folder of a model, or reach the Hub."
    )


def _from_hub(model: str, name: str, revision: str | None) -> tuple[Path | None, str]:
    """A small file of the Hub or of its cache; None with a reason, or without one where the Hub says it has no such."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model, name, revision=revision, etag_timeout=PROBE_SECONDS)), ""
    except LocalEntryNotFoundError as error:  # a kind of EntryNotFoundError that means: could not ask
        return None, type(error).__name__
    except EntryNotFoundError:
        return None, ""
    except HFValidationError as error:
        raise ValueError(f"{model!r} is neither a folder nor a Hub id of the form owner/name.") from error
    except OSError as error:
        return None, type(error).__name__


def _read(path: Path, source: str) -> tuple[PretrainedConfig, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}): save or fetch the model again.") from error
    if path.name == _FILES[0]:
        return _configure(content), source
    below, revision = (
        ("base_model", "base_revision") if path.name == _FILES[1] else ("base_model_name_or_path", "revision")
    )
    config, found = find_config(str(content[below]), content.get(revision))
    return config, f"{source}, on {found}"


def _configure(sizes: dict[str, Any]) -> PretrainedConfig:
    from transformers import AutoConfig

    sizes = dict(sizes)
    kind = sizes.pop("model_type", None)
    sizes.pop("quantization_config", None)
    try:
        config: PretrainedConfig = AutoConfig.for_model(kind, **sizes)
    except ValueError as error:
        raise ValueError(f"model_type={kind!r} is not known to transformers: {error}") from error
    return config
