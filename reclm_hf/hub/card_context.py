"""What the templates of cards may say: each part of a manifest as finished text, None where it is not recorded."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .card_data import LIBRARY, input_of, is_adapter, licence_fields, repo_type_of
from .card_format import (
    NAME,
    TITLE,
    code,
    count,
    is_commit,
    is_number,
    is_repo_id,
    listed,
    measure,
    moment,
    percent,
    plain,
    prose,
    quoted,
    repo_link,
    table,
    value_of,
    words_of,
)
from .card_results import Results, accuracy_table, also_recorded, certificates_table, changes_table, comparison_lines
from .card_tables import DataConfig, data_configs, split_place
from .kinds import SPACE_SETTINGS

_BACKBONES = {"bias_mf": "BiasMF", "ncf": "NCF", "lightgcn": "LightGCN", "sgl": "SGL", "simgcl": "SimGCL"}
_COSTS = (
    (("wall_s", "seconds"), "{} s on the clock"),
    (("cpu_s",), "{} s of processor time"),
    (("peak_rss_mib",), "at most {} MiB of memory"),
)
_TABLES = {
    "items": "titles, texts and categories",
    "interactions": "who chose what, and when",
    "user_profiles": "what a language model wrote about each user, with its evidence",
    "item_profiles": "what a language model wrote about each item, with its evidence",
    "instructions": "dialogues that a profiler is tuned on",
    "preferences": "pairs of a better and a worse profile",
}
_MOST_SETTINGS = 30
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}")
_HOLD_USERS = ("users.parquet", "catalog.safetensors")


def card_context(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The names that templates use; all of them are always there.

    Args:
        manifest: validated, without NaN.

    Raises:
        ValueError: a `repo_id` that is no Hub id.
    """
    details, data = manifest.get("details") or {}, manifest.get("data") or {}
    files = manifest.get("files") or {}
    figures = [line for line in manifest.get("figures") or () if isinstance(line, Mapping)]
    base, configs = input_of(manifest, "base_model"), data_configs(manifest)
    context = {
        "kind": manifest["kind"],
        "repo": quoted(manifest["repo_id"]),
        "title": plain(manifest.get("title") or manifest["repo_id"], TITLE),
        "name": manifest["repo_id"].split("/")[-1],
        "package": _package(manifest),
        "has_code": any(name.endswith(".py") for name in files),
        "adapter": is_adapter(manifest),
        "base": _base(base),
        "base_on_hub": base is not None and is_repo_id(base.get("repo_id")),
        "inputs": _inputs(manifest.get("inputs") or ()),
        "settings": _settings(manifest.get("settings") or {}),
        "versions": _versions(manifest.get("versions") or {}),
        "cost": _cost(manifest.get("cost") or {}),
        "seed": count(manifest["seed"]) if is_number(manifest.get("seed")) else None,
        "config_sha256": code(manifest["config_sha256"]) if manifest.get("config_sha256") else None,
        "test_opened": plain(manifest["test_opened"]) if manifest.get("test_opened") else None,
        "profiles": _profiles(manifest.get("profiles") or {}),
        "generators": _generators(manifest.get("profiles") or {}),
        "certificates": certificates_table(manifest["certificates"]) if manifest.get("certificates") else None,
        "results": Results(figures) if figures else None,
        "comparisons": comparison_lines(details),
        "changes": changes_table(manifest.get("measures") or {}),
        "also_recorded": also_recorded(_beside_accuracy(manifest)),
        "accuracy": accuracy_table(manifest.get("measures") or {}),
        "accuracy_verdict": _accuracy_verdict(manifest.get("measures") or {}),
        "configs": _configs_table(configs),
        "config_names": [config.name for config in configs],
        "opened": [c for c in configs if c.name.isidentifier() and not keyword.iskeyword(c.name)][:3],
        "has_report": "report.md" in files,
        "is_ours": manifest["kind"] == "space" and SPACE_SETTINGS in files,
        "holds_users": listed([code(name) for name in _HOLD_USERS if name in files]) or None,
        "licence": licence_fields(manifest),
        "licence_said": plain(manifest["license"], NAME) if manifest.get("license") else None,
    }
    context |= _of_measures(manifest)
    return context | _of_data(data) | _of_details(details) | {"not_recorded": _not_recorded(manifest)}


def _of_measures(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Measures that a sentence says, beside those of a table."""
    measures = manifest.get("measures") or {}
    told = [measures.get(name) for name in ("held_out_profiles_told", "held_out_profiles")]
    chosen = [f"{words_of(name)} {measure(measures[name])}" for name in sorted(measures) if is_number(measures[name])]
    return {
        "algorithm": code(measures["algorithm"]) if measures.get("algorithm") else None,
        "judged_on": plain(measures["judged_on"]) if measures.get("judged_on") else None,
        "chosen": ", ".join(chosen) or None if manifest["kind"] == "recommender" else None,
        "held_out_told": count(told[0]) if told[0] and all(map(is_number, told)) else None,
        "held_out_profiles": count(told[1]),
    }


def _accuracy_verdict(measures: Mapping[str, Any]) -> str | None:
    """What the interval of the accuracy says beside its floor."""
    low, floor = measures.get("low"), measures.get("longer_is_chosen")
    if not (is_number(measures.get("accuracy")) and is_number(floor)):
        return "No floor is recorded beside it." if is_number(measures.get("accuracy")) else None
    if not is_number(low):
        return "Without an interval nothing can be said of the difference to the floor."
    if low > floor:  # type: ignore[operator]
        return "The whole interval is above the floor."
    return "The interval is not above the floor: nothing is shown of what it knows beyond length."


def _of_data(data: Mapping[str, Any]) -> dict[str, Any]:
    counts, cuts = data.get("counts") or {}, data.get("cuts") or {}
    numbers = [
        f"{count(counts[name])} {name}" for name in ("users", "items", "interactions") if is_number(counts.get(name))
    ]
    return {
        "dataset": code(data["dataset"]) if data.get("dataset") else None,
        "fingerprint": code(data["fingerprint"]) if data.get("fingerprint") else None,
        "counts": listed(numbers) or None,
        "cuts": [f"{plain(name, NAME)} {moment(cuts[name])}" for name in _in_time(cuts)],
        "attribution": plain(data["attribution"]) if data.get("attribution") else None,
        "data_citation": plain(data["citation"]) if data.get("citation") else None,
        "data_licence": plain(data["license"], NAME) if data.get("license") else None,
    }


def _in_time(cuts: Mapping[str, Any]) -> list[str]:
    """Names of the cuts that are known, the earliest first."""
    known = [name for name in cuts if cuts[name] is not None]
    return sorted(known, key=lambda name: (float(cuts[name]) if is_number(cuts[name]) else 0.0, name))


def _of_details(details: Mapping[str, Any]) -> dict[str, Any]:
    """What only one kind has. Choices that templates compare are text as it is, everything shown is finished."""
    backbone, targets = details.get("backbone"), details.get("targets")
    users, items = details.get("n_users"), details.get("n_items")
    names = targets if isinstance(targets, list) else str(targets or "").split(",")
    return {
        "backbone": _BACKBONES.get(str(backbone), plain(backbone, NAME)) if backbone else None,
        "preset": code(details["preset"]) if details.get("preset") else None,
        "profile_mode": str(details.get("profile_mode") or ""),
        "profile_sides": str(details.get("profile_sides") or ""),
        "profile_fit": str(details.get("profile_fit") or ""),
        "n_users": count(users) if is_number(users) else None,
        "n_items": count(items) if is_number(items) else None,
        "text_encoder": code(details["text_encoder"]) if details.get("text_encoder") else None,
        "stage": code(details["stage"]) if details.get("stage") else None,
        "rank": count(details["rank"]) if is_number(details.get("rank")) else None,
        "targets": listed([code(name.strip()) for name in sorted(map(str, names)) if name.strip()]) or None,
        "description": prose(details["description"]) if details.get("description") else None,
        "gradio": details["sdk_version"] if _VERSION.fullmatch(str(details.get("sdk_version"))) else None,
    }


def _beside_accuracy(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The measures that have no table of their own."""
    measures = manifest.get("measures") or {}
    if manifest["kind"] != "reward-model":
        return measures
    shown = ("accuracy", "low", "high", "pairs", "accuracy_by_kind", "longer_is_chosen")
    return {name: value for name, value in measures.items() if name not in shown}


def _configs_table(configs: Sequence[DataConfig]) -> str | None:
    rows = []
    for config in configs:
        about = f"{code(config.name)}{' (default)' if config.default else ''}"
        about += f": {_TABLES[config.name]}" if config.name in _TABLES else ""
        columns = ", ".join(code(column) for column in config.columns)
        rows.append([about, count(config.rows), ", ".join(config.splits), columns])
    return table(["configuration", "rows", "splits", "columns"], rows) if rows else None


def _inputs(inputs: Sequence[Mapping[str, Any]]) -> str | None:
    """The table of what went in, in an order of its own: that of a list may have no meaning."""
    names = ("role", "repo_id", "name", "revision")
    ordered = sorted(inputs, key=lambda entry: [str(entry.get(name)) for name in names])
    return table(["input", "what", "pinned"], map(_input, ordered)) if ordered else None


def _base(entry: Mapping[str, Any] | None) -> str | None:
    if entry is None or not (entry.get("repo_id") or entry.get("name")):
        return None
    if is_repo_id(entry.get("repo_id")):
        return repo_link(entry["repo_id"], "model")
    return code(entry.get("name") or entry["repo_id"])


def _input(entry: Mapping[str, Any]) -> list[str]:
    """Role, what it is, and its commit or checksum."""
    repo_id, name = entry.get("repo_id"), entry.get("name")
    what = repo_link(repo_id, repo_type_of(entry)) if repo_id else code(name)
    if repo_id and name and name != repo_id:
        what += f" ({plain(name, NAME)})"
    if is_commit(entry.get("revision")):
        pinned = f"commit {code(entry['revision'])}"
    elif entry.get("sha256"):
        pinned = f"SHA-256 {code(str(entry['sha256']).removeprefix('sha256:'))}"
    else:
        pinned = "not pinned"
    return [plain(str(entry.get("role")).replace("_", " "), NAME), what, pinned]


def _settings(settings: Mapping[str, Any]) -> str | None:
    """`name=value` of plain settings, nested ones by their path."""
    flat = _flat(settings)
    shown = [code(f"{name}={value_of(value, NAME)}") for name, value in flat[:_MOST_SETTINGS]]
    more = len(flat) - len(shown)
    return ", ".join(shown) + (f" and {more} more in `manifest.json`" if more > 0 else "") if shown else None


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name in sorted(settings):
        value = settings[name]
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}.")
        elif value is not None and value != "":
            found.append((f"{before}{name}", value))
    return found


def _versions(versions: Mapping[str, Any]) -> str | None:
    return ", ".join(f"{plain(name, NAME)} {plain(versions[name], NAME)}" for name in sorted(versions)) or None


def _package(manifest: Mapping[str, Any]) -> str | None:
    """The version of this package, unless it stands among the others."""
    told = manifest.get("reclm_hf") and LIBRARY not in (manifest.get("versions") or {})
    return plain(manifest["reclm_hf"], NAME) if told else None


def _cost(cost: Mapping[str, Any]) -> str | None:
    parts = []
    for names, form in _COSTS:
        known = [cost[name] for name in names if is_number(cost.get(name))]
        if known:
            parts.append(form.format(measure(known[0])))
    return listed(parts) or None


def _profiles(profiles: Mapping[str, Any]) -> list[str]:
    """One sentence for each profile table."""
    lines = []
    for name in sorted(profiles, key=split_place):
        said = profiles[name]
        if not isinstance(said, Mapping):
            continue
        parts = [
            f"{count(said.get('rows'))} rows",
            *(f"by {code(one)}" for one in _texts(said.get("generator"))),
            *(f"prompt {code(one)}" for one in _texts(said.get("prompt_version"))),
            *([f"as of {plain(said['as_of'], NAME)}"] if said.get("as_of") else []),
            *([f"{percent(said['well_formed'])} well-formed"] if is_number(said.get("well_formed")) else []),
            *([f"{percent(said['distinct'])} distinct"] if is_number(said.get("distinct")) else []),
        ]
        lines.append(f"{plain(name, NAME)}: {', '.join(parts)}")
    return lines


def _generators(profiles: Mapping[str, Any]) -> str | None:
    tables = [said for said in profiles.values() if isinstance(said, Mapping)]
    names = sorted({name for said in tables for name in _texts(said.get("generator"))})
    return listed([code(name) for name in names]) or None


def _texts(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)] if value else []


def _not_recorded(manifest: Mapping[str, Any]) -> list[str]:
    """What a card of this kind would say and the manifest does not know."""
    asked = {"inputs": "inputs", "settings": "settings", "versions": "versions of other packages", "cost": "cost"}
    if manifest["kind"] in ("space", "metric"):
        asked = {}
    if manifest["kind"] in ("tables", "results"):
        asked = {"data": "data set"}
    if manifest["kind"] == "recommender":
        asked |= {"data": "data set", "test_opened": "when the test period was opened"}
    missing = [words for name, words in asked.items() if not manifest.get(name)]
    return [*missing, *([] if manifest.get("license") else ["licence"])]
