"""From a repository to a model, its tokenizer and its configuration."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundles import ResolvedModel, load_causal_lm
from .configuration_reclm_profiler import DTYPES, RecLMProfilerConfig, current_prompts
from .files import ADAPTER_CONFIG, fetch, read_config, read_json, repository_files, require_weights
from .processing_reclm_profiler import has_tokenizer, load_tokenizer
from .weights import put_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

GENERATION_CONFIG = "generation_config.json"


@dataclass(frozen=True)
class Parts:
    """What a profiler is put together from; `found` is where its repository's files lie."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    config: RecLMProfilerConfig
    found: ResolvedModel


def load_parts(
    source: str, revision: str | None, dtype: str, base_model: str | None, *, trainable: bool, **options: Any
) -> Parts:
    """Load a profiler's parts on the CPU; arguments and errors are those of `RecLMProfiler.from_pretrained`.

    Args:
        options: token, cache_dir and local_files_only, for the base model too.
    """
    found = fetch(source, revision, **options)
    config = read_config(found, base_model)
    token = options.get("token")
    require_weights(Path(found.path), config.layout, lambda: repository_files(found, token))
    adapter = config.layout == "adapter"
    base = fetch(config.base_model, config.base_revision, **options) if adapter else found
    if adapter:
        _require_whole(base, source, token)
        config = _with_base(config, base)
    model: Any
    model, base_tokenizer, _ = load_causal_lm(base.path, dtype=_precision(dtype, config.dtype))
    tokenizer = load_tokenizer(found.path) if has_tokenizer(found.path) else base_tokenizer
    # Whatever saves this model later would write down where its files lie on this machine.
    model.name_or_path = model.config._name_or_path = config.base_model
    if adapter:
        model = put_adapter(model, found.path, trainable=trainable)
    _take_generation_config(model, Path(found.path))
    _compare_prompts(config, source)
    return Parts(model, tokenizer, config, found)


def _precision(asked: str, configured: str) -> str:
    from ..profiles.engine_transformers import fast_dtype

    chosen = configured if asked == "auto" else str(asked).removeprefix("torch.")
    if chosen not in DTYPES:
        raise ValueError(f"dtype={asked!r} is not known; choose one of {', '.join(DTYPES)}.")
    return fast_dtype() if chosen == "auto" else chosen


def _require_whole(base: ResolvedModel, source: str | Path, token: str | bool | None) -> None:
    folder = Path(base.path)
    if (folder / ADAPTER_CONFIG).is_file():
        raise ValueError(f"the base model {base.model_id} of {source} is an adapter itself: merge it first")
    require_weights(folder, "merged", lambda: repository_files(base, token))


def _with_base(config: RecLMProfilerConfig, base: ResolvedModel) -> RecLMProfilerConfig:
    """The configuration with the origin of the base weights at hand; says so when they are not those of the tuning."""
    label = base.label if base.revision is not None else Path(base.path).resolve().name
    if config.base_label and config.base_label != label:
        logger.warning("the adapter was made on %s and is put on %s", config.base_label, label)
    of_hub = base.revision if base.bundle is None else None
    return replace(config, base_label=label, base_revision=of_hub or config.base_revision)


def _compare_prompts(config: RecLMProfilerConfig, source: str) -> None:
    now = current_prompts()
    changed = [f"{kind} {old} (now {now[kind]})" for kind, old in config.prompts.items() if now.get(kind, old) != old]
    if changed:
        logger.warning("%s was tuned with other prompts than this version writes: %s", source, ", ".join(changed))


def _take_generation_config(model: Any, folder: Path) -> None:
    from transformers import GenerationConfig

    if (folder / GENERATION_CONFIG).is_file():
        read_json(folder / GENERATION_CONFIG)  # an error of transformers' own would not name it
        model.generation_config = GenerationConfig.from_pretrained(str(folder))
