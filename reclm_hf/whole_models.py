"""transformers models and tokenizers out of a folder: whole, from safetensors, without code, or an error that says why.

transformers itself fills tensors that a file lacks with random numbers, and casts whatever numbers it finds there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SHOWN = 3
_TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json")
_WAY_OUT = "save or fetch it again"


def load_model(auto: Any, folder: str | Path, dtype: str, **options: Any) -> tuple[Any, list[str]]:
    """A model of one of the Auto classes, and the names of the tensors that its files lack, sorted.

    Tied tensors, such as the head of most small chat models, are not lacking where the one they are tied to is there.

    Args:
        auto: `AutoModelForCausalLM`, ... dtype: of the weights in memory, a name in torch.
        options: further ones of `auto.from_pretrained`.

    Raises:
        OSError: files are missing. ValueError: a file is broken, or its tensors do not fit the configuration.
    """
    import torch

    if (Path(folder) / "adapter_config.json").is_file():
        raise ValueError(f"{folder} holds adapter_config.json: an adapter, or a model with one on it; merge it first")
    plain = {"use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
    try:
        model, report = auto.from_pretrained(str(folder), dtype=getattr(torch, dtype), **plain, **options)
    except (OSError, ImportError, MemoryError):
        raise
    except Exception as error:  # whatever a configuration without meaning leads to
        for path in weight_files(folder):
            tensor_kinds(path)  # names the file where one is broken
        raise ValueError(f"{folder}: {_reason(folder, error)}: {_WAY_OUT}") from error
    if getattr(model.config, "quantization_config", None) is None:
        require_floats(weight_files(folder), _floats(model))
    return model, sorted(report["missing_keys"])


def refuse_missing(folder: str | Path, missing: Iterable[str]) -> None:
    """Raise ValueError, naming some, where weights are missing."""
    names = sorted(missing)
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise ValueError(
            f"{folder}: the weights lack {', '.join(names[:_SHOWN])}{more}; random ones in their place would say "
            f"nothing: {_WAY_OUT}"
        )


def load_tokenizer(folder: str | Path, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder. Code that comes with it is not run.

    Raises:
        OSError: there is none. ValueError: a broken file; names it.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=False, **options
        )
    except (OSError, ImportError):
        raise
    except Exception as error:  # the tokenizers library raises plain exceptions
        named = _broken_json(Path(folder), _TOKENIZER_FILES) or Path(folder) / "tokenizer.json"
        raise ValueError(f"{named}: no tokenizer can be read ({_first_lines(error)}): {_WAY_OUT}") from error
    return tokenizer


def weight_files(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob("model*.safetensors"))


def tensor_kinds(path: Path) -> dict[str, str]:
    """Name -> safetensors' name of the kind of numbers, from the file's header alone.

    Raises:
        ValueError: the file is not readable; names it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not readable ({error}): {_WAY_OUT}") from error


def require_floats(files: Iterable[Path], names: Iterable[str] | None = None) -> None:
    """Raise ValueError, naming file and tensor, where weights are integers, which would be cast without a word.

    Args:
        names: of the tensors that must be floats; None: all.
    """
    wanted = None if names is None else set(names)
    for path in files:
        for name, kind in tensor_kinds(path).items():
            if not kind.startswith(("F", "BF")) and (wanted is None or name in wanted):
                raise ValueError(f"{path}: {name} holds {kind}, no floating-point numbers: {_WAY_OUT}")


def _floats(model: Any) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


def _reason(folder: str | Path, error: Exception) -> str:
    if "ignore_mismatched_sizes" in str(error):
        return "the shapes of the weights do not fit config.json"
    broken = _broken_json(Path(folder), [path.name for path in Path(folder).glob("*.json")])
    said = f"no model can be read ({_first_lines(error)})"
    return f"{broken.name} is not JSON" if broken is not None else said


def _broken_json(folder: Path, names: Iterable[str]) -> Path | None:
    for name in names:
        try:
            if (folder / name).is_file():
                json.loads((folder / name).read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            return folder / name
    return None


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__
