"""Recommenders, profilers and reward models as repositories: their files, and what their manifests say of them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.folder import file_sha256
from ..profiler.configuration_reclm_profiler import PROFILER_CONFIG
from ..profiler.files import ADAPTER_CONFIG
from .base_models import REWARD_CONFIG, clean_config, rebase_adapter, rename_base, write_changed
from .kinds import KINDS, Kind
from .manifest import input_entry, new_manifest
from .records import (
    RESULTS,
    data_of,
    figures_of,
    is_hub_id,
    nameless,
    of_seed,
    read_record,
    repository_input,
    run_record,
    stage_inputs_of,
    with_earlier,
)
from .safety import check_names

if TYPE_CHECKING:
    from .staging import PushOptions

logger = logging.getLogger(__name__)

_STRUCTURE = (
    "backbone",
    "preset",
    "profile_mode",
    "profile_sides",
    "profile_fit",
    "n_users",
    "n_items",
    "embedding_dim",
    "profile_dim",
    "n_layers",
    "text_encoder",
    "text_encoder_revision",
    "text_max_length",
)
_PROFILER_FIELDS = ("layout", "form", "prompts", "user_size", "item_size", "max_tokens", "base_label")


def stage_recommender(source: Path, place: Path, repo_id: str, options: PushOptions) -> dict[str, Any]:
    """Stage what `RecLMRecommender.save_pretrained` wrote; see `staging.stager_of`.

    Raises:
        ValueError: results that were asked for have no row of it; code files that are not there.
    """
    _take_model(source, place, KINDS["recommender"])
    config = clean_config(source, "config.json")
    config.pop("auto_map", None)
    if options.code:
        config["auto_map"] = _take_code(place)
    write_changed(config, source, place, "config.json")
    return _finished(source, options, _recommender_manifest(source, place, config, repo_id, options))


def _recommender_manifest(
    source: Path, place: Path, config: Mapping[str, Any], repo_id: str, options: PushOptions
) -> dict[str, Any]:
    run = _run_of(source)
    own, done = run_record(source), read_record(source.parent / "done.json")
    record = own if run is None or own.get("fingerprint") else run_record(run)
    spec, label = done.get("spec", {}), source.resolve().parent.name if done else source.resolve().name
    results = Path(options.results).expanduser() if options.results else run
    figures = [] if results is None else figures_of(results, source, label, asked=bool(options.results))
    opened, tables = record.get("test_opened"), options.tables or record.get("tables")
    settings = {**spec, **done.get("options", {}), **done.get("settings", {})} if done else record.get("options", {})
    encoder_commit = config.get("text_encoder_revision")
    pinned = encoder_commit if isinstance(encoder_commit, str) and len(encoder_commit) == 40 else None
    encoder = str(config.get("text_encoder", ""))
    return new_manifest(
        "recommender",
        repo_id,
        inputs=[
            *([repository_input("tables", tables)] if tables else []),
            input_entry("text_encoder", nameless(encoder), encoder if is_hub_id(encoder) else None, pinned),
        ],
        config_sha256=file_sha256(place / "config.json"),
        seed=of_seed((config.get("seed"), spec.get("seed"))),
        settings=nameless(settings),
        versions=record.get("versions", {}),
        cost={"seconds": done.get("seconds", record.get("seconds"))} if done or "seconds" in record else {},
        data=data_of(record),
        profiles=record.get("profiles", {}) if _written(config) else {},
        certificates=record.get("certificates", []) if _written(config) else [],
        figures=figures,
        # What `reclm train` left unopened, the evaluation has opened.
        test_opened="by `reclm evaluate`, after training" if figures and opened in (None, "no") else opened,
        measures={name: done[name] for name in ("best_epoch", "validation_value") if name in done},
        details={
            **{name: config.get(name) for name in _STRUCTURE},
            "d_t": config.get("text_dim"),
            "code": options.code,
        },
    )


def stage_profiler_adapter(source: Path, place: Path, repo_id: str, options: PushOptions) -> dict[str, Any]:
    """Stage a LoRA adapter that writes profiles, with its base model named by Hub id.

    Raises:
        ValueError: the base model is a folder, and no Hub id is given for it.
    """
    _take_model(source, place, KINDS["profiler-adapter"])
    base = rebase_adapter(source, place, options)
    adapter, config = read_record(place / ADAPTER_CONFIG), read_record(place / PROFILER_CONFIG)
    details = {
        **{name: config.get(name) for name in _PROFILER_FIELDS if name in config},
        **_adapter_details(adapter),
        "base_relation": "adapter",
    }
    config_file = PROFILER_CONFIG if config else ADAPTER_CONFIG
    manifest = _tuned_manifest("profiler-adapter", source, place, repo_id, config_file, base, details)
    return _finished(source, options, manifest)


def stage_profiler(source: Path, place: Path, repo_id: str, options: PushOptions) -> dict[str, Any]:
    """Stage a whole model that writes profiles; its base model is named where it is known by Hub id."""
    _take_model(source, place, KINDS["profiler"])
    model = clean_config(source, "config.json")
    write_changed(model, source, place, "config.json")
    base = rename_base(source, place, PROFILER_CONFIG, options)
    config = read_record(place / PROFILER_CONFIG)
    details = {
        **{name: config.get(name) for name in _PROFILER_FIELDS if name in config},
        **_model_details(model),
        "base_relation": "finetune" if base else None,
    }
    return _finished(source, options, _tuned_manifest("profiler", source, place, repo_id, "config.json", base, details))


def stage_reward_model(source: Path, place: Path, repo_id: str, options: PushOptions) -> dict[str, Any]:
    """Stage what `reclm reward` wrote, an adapter with its head or a whole model.

    Raises:
        ValueError: as `stage_profiler_adapter`.
    """
    _take_model(source, place, KINDS["reward-model"])
    base: dict[str, Any] | None
    if (source / ADAPTER_CONFIG).is_file():
        base = rebase_adapter(source, place, options)
        details = {**_adapter_details(read_record(place / ADAPTER_CONFIG)), "base_relation": "adapter"}
    else:
        model = clean_config(source, "config.json")
        write_changed(model, source, place, "config.json")
        base = rename_base(source, place, REWARD_CONFIG, options)
        details = {**_model_details(model), "base_relation": "finetune" if base else None}
    reward = read_record(place / REWARD_CONFIG)
    details |= {name: reward.get(name) for name in ("layout", "prompt", "base_label")}
    manifest = _tuned_manifest("reward-model", source, place, repo_id, REWARD_CONFIG, base, details)
    known = ("accuracy", "accuracy_by_kind", "pairs")
    measures = {**manifest["measures"], **{name: reward[name] for name in known if name in reward}}
    return _finished(source, options, {**manifest, "measures": measures})


def _tuned_manifest(
    kind: str,
    source: Path,
    place: Path,
    repo_id: str,
    config_file: str,
    base: dict[str, Any] | None,
    details: Mapping[str, Any],
) -> dict[str, Any]:
    record = run_record(source)
    settings = nameless(record.get("settings", {}))
    return new_manifest(
        kind,
        repo_id,
        inputs=[*([base] if base else []), *stage_inputs_of(record)],
        config_sha256=file_sha256(place / config_file),
        seed=of_seed((settings.get("seed"),)),
        settings=settings,
        versions=record.get("versions") or read_record(place / PROFILER_CONFIG).get("versions", {}),
        cost=record.get("cost", {}),
        measures=nameless(record.get("figures", {})),
        details={**details, "stage": record.get("stage"), "algorithm": settings.get("algorithm")},
    )


def _finished(source: Path, options: PushOptions, manifest: dict[str, Any]) -> dict[str, Any]:
    """With what an earlier repository knew, and with title and licence as the user wants them."""
    found = with_earlier(source, manifest)
    return {
        **found,
        "title": options.title or found["title"],
        "license": options.license or found["license"],
    }


def _take_model(source: Path, place: Path, kind: Kind) -> None:
    """Bring the files on the allow-list; a card or manifest of the source is written anew."""
    from .staging import take

    names = [path.name for path in source.iterdir() if path.is_file()]
    local = ("stage.json", "recipe.yaml", "README.md", "manifest.json", ".gitattributes")
    names = [name for name in names if name not in local]  # known, and written anew or nobody else's business
    take(source, place, check_names(names, kind))


def _take_code(place: Path) -> dict[str, str]:
    """Bring the code files for people without this package; returns what `auto_map` says of them."""
    try:
        from ..recommender.custom_code import auto_map, code_files
    except ImportError as error:
        raise ValueError(
            "--with-code: this version of the package has no code files to hand out; push without it."
        ) from error
    for path in code_files():
        shutil.copyfile(path, place / path.name)
    return auto_map()


def _adapter_details(adapter: Mapping[str, Any]) -> dict[str, Any]:
    targets = adapter.get("target_modules")
    return {
        "rank": adapter.get("r"),
        "alpha": adapter.get("lora_alpha"),
        "dropout": adapter.get("lora_dropout"),
        "targets": sorted(targets) if isinstance(targets, list) else targets,
        "task_type": adapter.get("task_type"),
        "base": adapter.get("base_model_name_or_path"),
        "base_revision": adapter.get("revision"),
    }


def _model_details(model: Mapping[str, Any]) -> dict[str, Any]:
    return {"architecture": (model.get("architectures") or [None])[0], "model_type": model.get("model_type")}


def _written(config: Mapping[str, Any]) -> bool:
    """Whether a recommender was trained with profiles that somebody wrote."""
    from ..recommender.profile_modes import UNWRITTEN

    return config.get("profile_mode") not in UNWRITTEN and config.get("profile_sides") != "none"


def _run_of(source: Path) -> Path | None:
    """The folder of the run that a recommender is part of: `RUN/models/LABEL/model`, where that has results."""
    parents = source.resolve().parents
    if len(parents) > 2 and parents[1].name == "models" and (parents[2] / RESULTS).is_file():
        return parents[2]
    return None
