"""The front matter of a card, as the Hub's conventions have it, from a manifest alone.

`huggingface_hub` writes the YAML; nothing that a manifest says can leave its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .card_format import NAME, TITLE, is_commit, is_number, is_repo_id, one_line
from .card_tables import data_configs, most_rows

if TYPE_CHECKING:
    from huggingface_hub import CardData, EvalResult

LIBRARY = "reclm-hf"
TAGS = ("recommendation", "recommender-system", "collaborative-filtering", "cold-start", "reclm")
GRAPH_BACKBONES = ("lightgcn", "sgl", "simgcl")
DATASET_ROLES = (
    *("tables", "instructions", "preferences", "results", "profiles", "users_profiles", "user_profiles"),
    "item_profiles",
)
MODEL_ROLES = ("base_model", "reward_model", "text_encoder", "recommender", "profiler", "model")

# https://huggingface.co/docs/hub/repositories-licenses; any other is `other` with a name and, where known, a link.
_LICENSES = (
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 "
    "bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc "
    "cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "
    "cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 "
    "cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 "
    "eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c "
    "ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa "
    "unlicense zlib pddl lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 "
    "llama3.2 llama3.3 llama4 grok2-community gemma unknown"
)
_SIZES = (
    *((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")),
    *((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B")),
)
_COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
_SDKS = ("gradio", "docker", "static")
_SPACE_FIELDS = ("sdk_version", "python_version", "app_file", "suggested_hardware", "short_description")
_SHORT = 60  # the Hub cuts `short_description` there
_SLUG = re.compile(r"[^a-z0-9.+]+")


def card_data(manifest: Mapping[str, Any]) -> CardData:
    """The front matter of a manifest's kind.

    Raises:
        ValueError: a kind that is not known.
    """
    kind = manifest["kind"]
    if kind in ("tables", "results"):
        return _dataset(manifest)
    if kind in ("space", "metric"):
        return _space(manifest)
    if kind in ("recommender", "profiler-adapter", "profiler", "reward-model"):
        return _model(manifest)
    raise ValueError(f"kind={kind!r}: there is no card for it.")


def repo_type_of(entry: Mapping[str, Any]) -> str | None:
    """Which kind of repository an input is: "dataset", "model", or None where its role does not say."""
    role = entry.get("role")
    return "dataset" if role in DATASET_ROLES else "model" if role in MODEL_ROLES else None


def input_of(manifest: Mapping[str, Any], role: str) -> Mapping[str, Any] | None:
    """The first input of a role, or None."""
    return next((entry for entry in manifest.get("inputs") or () if entry.get("role") == role), None)


def is_adapter(manifest: Mapping[str, Any]) -> bool:
    """Whether a model is PEFT's adapter, to be put on a base model."""
    return "adapter_config.json" in (manifest.get("files") or {}) or manifest["kind"] == "profiler-adapter"


def licence_fields(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """`license`, and for one that the Hub has no keyword for its name and, where a file holds it, the link."""
    licence = manifest.get("license")
    if not licence:
        return {}
    slug = _SLUG.sub("-", one_line(licence, NAME).lower()).strip("-")
    if slug in _LICENSES.split():
        return {"license": slug}
    files = manifest.get("files") or {}
    link = next((name for name in ("LICENSE", "LICENSE.txt", "LICENSE.md") if name in files), None)
    return {"license": "other", "license_name": slug[:TITLE] or "other"} | ({"license_link": link} if link else {})


def _hub_ids(manifest: Mapping[str, Any], repo_type: str) -> list[str] | None:
    found = [
        entry["repo_id"]
        for entry in manifest.get("inputs") or ()
        if repo_type_of(entry) == repo_type and is_repo_id(entry.get("repo_id"))
    ]
    return sorted(set(found)) or None


def _model(manifest: Mapping[str, Any]) -> CardData:
    from huggingface_hub import ModelCardData

    kind, details = manifest["kind"], manifest.get("details") or {}
    extra: dict[str, Any] = {}
    if kind == "recommender":
        backbone = details.get("backbone")
        library = LIBRARY
        pipeline = "graph-ml" if backbone in GRAPH_BACKBONES else None
        tags = [*TAGS, *([backbone] if isinstance(backbone, str) and re.fullmatch(r"[a-z_]{1,30}", backbone) else [])]
    else:
        adapter = is_adapter(manifest)
        library = "peft" if adapter else "transformers"
        pipeline = "text-classification" if kind == "reward-model" else "text-generation"
        tags = [*TAGS, *(["reward-model"] if kind == "reward-model" else []), *(["lora"] if adapter else [])]
        base = input_of(manifest, "base_model")
        if base is not None and is_repo_id(base.get("repo_id")):
            extra = {"base_model": base["repo_id"], "base_model_relation": "adapter" if adapter else "finetune"}
    results = _eval_results(manifest)
    if results:
        extra |= {"model_name": manifest["repo_id"].split("/")[-1][:NAME], "eval_results": results}
    return ModelCardData(
        library_name=library,
        pipeline_tag=pipeline,
        datasets=_hub_ids(manifest, "dataset"),
        tags=tags,
        **licence_fields(manifest),
        **extra,
    )


def _eval_results(manifest: Mapping[str, Any]) -> list[EvalResult]:
    """What the model reached, for `model-index`; the intervals stand in `metric_args`."""
    from huggingface_hub import EvalResult

    if manifest["kind"] == "reward-model":
        return _accuracy(manifest)
    if manifest["kind"] != "recommender":
        return []
    found = []
    for line in manifest.get("figures") or ():
        if line.get("kind") != "model" or not is_number(line.get("value")):
            continue
        setting, metric = one_line(line.get("setting"), NAME), one_line(line.get("metric"), NAME)
        names = ("low", "high", "interval", "n_users", "n_targets", "n_candidates", "n_seeds")
        args = {key: line[key] for key in names if line.get(key) not in (None, "")}
        found.append(
            EvalResult(
                task_type="recommendation",
                task_name="Recommendation",
                dataset_split=one_line(line.get("split"), NAME),
                metric_type=metric,
                metric_name=f"{metric}, {setting}",
                metric_value=line["value"],
                metric_args={"setting": setting, **_one_line_texts(args)},
                **_measured_on(input_of(manifest, "tables"), line.get("dataset")),
            )
        )
    return found


def _measured_on(entry: Mapping[str, Any] | None, name: Any) -> dict[str, Any]:
    """The data of a result: by Hub id and commit where an input has them, else by name."""
    entry = entry or {}
    name = one_line(name or entry.get("name") or "not recorded", NAME)
    return {
        "dataset_name": name,
        "dataset_type": entry["repo_id"] if is_repo_id(entry.get("repo_id")) else name,
        "dataset_revision": entry["revision"] if is_commit(entry.get("revision")) else None,
    }


def _accuracy(manifest: Mapping[str, Any]) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    measures, pairs = manifest.get("measures") or {}, input_of(manifest, "preferences")
    if not is_number(measures.get("accuracy")):
        return []
    names = ("low", "high", "pairs", "users", "longer_is_chosen")
    args = {key: measures[key] for key in names if is_number(measures.get(key))}
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Telling the better of two profiles",
            metric_type="accuracy",
            metric_name="accuracy on held-out pairs",
            metric_value=measures["accuracy"],
            metric_args=args or None,
            **_measured_on(pairs, None),
        )
    ]


def _one_line_texts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if is_number(value) else one_line(value, NAME) for name, value in values.items()}


def _dataset(manifest: Mapping[str, Any]) -> CardData:
    from huggingface_hub import DatasetCardData

    configs = data_configs(manifest)
    details = manifest.get("details") or {}
    written = any(config.name in ("user_profiles", "item_profiles", "instructions") for config in configs)
    extra: dict[str, Any] = {"configs": [config.front_matter() for config in configs]} if configs else {}
    if isinstance(details.get("dataset_info"), Sequence):
        extra["dataset_info"] = details["dataset_info"]
    return DatasetCardData(
        pretty_name=one_line(manifest.get("title") or manifest["repo_id"], TITLE),
        size_categories=[_size(most_rows(manifest))] if most_rows(manifest) is not None else None,
        task_categories=["text-generation"] if written else None,
        annotations_creators=["machine-generated"] if written else None,
        tags=list(TAGS) + (["evaluation"] if manifest["kind"] == "results" else []),
        **licence_fields(manifest),
        **extra,
    )


def _size(rows: int | None) -> str:
    return next((name for bound, name in _SIZES if (rows or 0) < bound), "1B<n<10B")


def _space(manifest: Mapping[str, Any]) -> CardData:
    from huggingface_hub import SpaceCardData

    details = manifest.get("details") or {}
    chosen: dict[str, Any] = {name: one_line(details[name], _SHORT) for name in _SPACE_FIELDS if details.get(name)}
    sdk = details.get("sdk")
    metric = manifest["kind"] == "metric"
    emoji, default = details.get("emoji"), "📏" if metric else "🎬"
    preload = details.get("preload_from_hub")
    if isinstance(preload, list):
        chosen["preload_from_hub"] = [one_line(entry) for entry in preload]  # files and commit, all of it
    colours: dict[str, Any] = {
        name: details[name] if details.get(name) in _COLOURS else usual
        for name, usual in (("colorFrom", "indigo"), ("colorTo", "purple"))
    }
    return SpaceCardData(
        title=one_line(manifest.get("title") or manifest["repo_id"], TITLE),
        emoji=emoji if isinstance(emoji, str) and 0 < len(emoji) <= 8 and not emoji.isascii() else default,
        **colours,
        sdk=sdk if sdk in _SDKS else "gradio",
        models=_hub_ids(manifest, "model"),
        datasets=_hub_ids(manifest, "dataset"),
        tags=[*TAGS, *(["evaluate", "metric"] if metric else [])],
        **chosen,
        **licence_fields(manifest),
    )
