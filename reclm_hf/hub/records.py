"""What the run of an artefact wrote down, in the words of a repository's manifest; places on a machine are left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .client import plain_id
from .manifest import MANIFEST, check_files, input_entry, validate_manifest

FIGURE_COLUMNS = (
    "dataset",
    "split",
    "setting",
    "row",
    "kind",
    "metric",
    "value",
    "low",
    "high",
    "interval",
    "n_users",
    "n_targets",
    "n_candidates",
    "n_seeds",
)
RESULTS = "results.parquet"
_PLACES = ("folder", "output", "settings_sha256")
_SEED = re.compile(r"-seed\d+$")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CARRIED = ("license", "seed", "settings", "data", "profiles", "certificates", "figures", "test_opened")
DETAILS_OF_RUN = ("stage", "algorithm", "base_relation")
"""Details that the files do not tell where the run's own record is not beside them."""

_WHAT_IT_IS = (".safetensors", ".parquet")


def read_record(path: Path) -> dict[str, Any]:
    """A JSON file of names and values; {} where there is none. Raises ValueError where it is broken."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}): repair it, or remove it to push without it.") from error
    return found if isinstance(found, dict) else {}


def run_record(folder: Path) -> dict[str, Any]:
    """The manifest of a run; {} where the folder has none, or that of a repository it was pulled from."""
    found = read_record(folder / MANIFEST)
    return {} if _is_pulled(found) else found


def _is_pulled(manifest: Mapping[str, Any]) -> bool:
    # A recommender's folder states its files too, but no repository before it was pushed.
    return bool(manifest.get("repo_id")) and "files" in manifest


def with_earlier(source: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest, and what is not known by now from that of the repository that `source` was pulled from, if any.

    Raises:
        ValueError: weights or tables are not those that were pulled, or the manifest there is broken.
    """
    found = read_record(source / MANIFEST)
    if not _is_pulled(found) or found.get("kind") != manifest["kind"]:
        return manifest
    earlier = validate_manifest(found)
    _require_unchanged(source, earlier)
    of_run = {name: earlier["details"].get(name) for name in DETAILS_OF_RUN if manifest["details"].get(name) is None}
    return {
        **manifest,
        **{name: earlier[name] if manifest[name] in (None, {}, []) else manifest[name] for name in _CARRIED},
        **{name: {**earlier[name], **manifest[name]} for name in ("cost", "measures")},
        # Of the run, not of what is installed where it was pulled to.
        "versions": earlier["versions"] or manifest["versions"],
        "title": _title(earlier, manifest),
        "inputs": _inputs(earlier["inputs"], manifest["inputs"]),
        "details": {**manifest["details"], **{name: of_run[name] for name in of_run if name in manifest["details"]}},
    }


def _require_unchanged(source: Path, earlier: Mapping[str, Any]) -> None:
    for name in earlier["files"]:
        try:
            check_files(source, earlier, [name] if name.endswith(_WHAT_IT_IS) else [])
        except ValueError as error:
            raise ValueError(
                f"{source / name} was changed since it was pulled; what {MANIFEST} says is of another artefact: remove "
                "that manifest to push without it."
            ) from error


def _title(earlier: Mapping[str, Any], manifest: Mapping[str, Any]) -> Any:
    """The title that somebody chose, and not the name of the repository that it was pulled from."""
    chosen = earlier["title"] not in (None, earlier["repo_id"], earlier["repo_id"].split("/")[-1])
    return earlier["title"] if chosen else manifest["title"]


def _inputs(earlier: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By role: what is named now, but as it was named earlier where it is the same repository and commit."""
    known = {entry["role"]: dict(entry) for entry in earlier}
    for entry in found:
        before = known.get(entry["role"])
        same = before is not None and all(before.get(name) == entry[name] for name in ("repo_id", "revision"))
        if before is None or (not same and (entry["repo_id"] or entry["sha256"])):
            known[entry["role"]] = dict(entry)
    return list(known.values())


def nameless(value: Any) -> Any:
    """Plain values without places on a machine: of a path its last part, of an output nothing."""
    if isinstance(value, Mapping):
        return {name: nameless(entry) for name, entry in value.items() if name not in _PLACES}
    if isinstance(value, list | tuple):
        return [nameless(entry) for entry in value]
    if isinstance(value, str) and is_place(value):
        return Path(value).name
    return value


def is_place(value: str) -> bool:
    """Whether a text is where something lies on this machine, and no Hub id."""
    return value.startswith(("/", "~", "./", "../")) or "\\" in value or ("/" in value and Path(value).exists())


def is_hub_id(value: str) -> bool:
    """Whether a text is a Hub id of the form owner/name, and no folder that is there."""
    if is_place(value):
        return False
    try:
        return plain_id(value)[1] is None
    except ValueError:
        return False


def repository_input(role: str, name: str) -> dict[str, Any]:
    """An input that is a repository: `org/x@commit`, or `org/x` where the commit is not known.

    Raises:
        ValueError: no Hub id, or a revision that is no full commit.
    """
    repo_id, revision = plain_id(name)
    if revision is not None and not _COMMIT.fullmatch(revision):
        raise ValueError(f"{name}: name the full commit (40 hexadecimal digits) after @, or nothing.")
    return input_entry(role, repo_id, repo_id, revision)


def stage_inputs_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tables that a tuning stage read, from its manifest: by checksum, or by Hub id."""
    settings = record.get("settings", {})
    found = []
    for role, value in record.get("inputs", {}).items():
        if role in ("model", "weights") or not isinstance(value, str):
            continue
        said = settings.get(role)
        name = Path(said).name if isinstance(said, str) else role
        checksum = value.removeprefix("sha256:") if value.startswith("sha256:") else None
        repo_id = value if checksum is None and is_hub_id(value) else None
        found.append(input_entry(role, repo_id or name, repo_id, None, checksum))
    return found


def data_of(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The data set of a run, from its manifest; None where it names none."""
    if not record.get("fingerprint"):
        return None
    about = record.get("data") or {}
    return {
        "dataset": record.get("dataset"),
        "fingerprint": record["fingerprint"],
        "cuts": record.get("cuts", {}),
        "counts": about.get("counts", {}),
        "license": about.get("licence"),
        "attribution": about.get("attribution"),
    }


def figures_of(path: Path, source: Path, label: str, asked: bool) -> list[dict[str, Any]]:
    """Rows of a table of results that are about one recommender, and the floors beside it.

    Args:
        source: the recommender's folder, by which `reclm evaluate` names its row. label: by which a run names it.
        asked: whether the table was named by the user: then a row has to be found.

    Raises:
        ValueError: no results there, or no row of this recommender in a table that was asked for.
    """
    import pandas as pd

    from ..data.tables import read_parquet

    file = path / RESULTS if path.is_dir() else path
    table = read_parquet(file)
    missing = [name for name in FIGURE_COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"{file}: no table of results, it lacks {', '.join(missing)}. `reclm evaluate` writes one.")
    models = table[table["kind"] == "model"]["row"].drop_duplicates().tolist()
    own = next((row for row in models if _same_row(row, source, label)), None)
    if own is None:
        if asked:
            there = ", ".join(map(str, models)) or "none"
            raise ValueError(
                f"{file} has no row of {source}; its recommenders: {there}. Evaluate this one (`reclm evaluate`) and "
                "give that folder with --results."
            )
        return []
    kept = table[(table["row"] == own) | (table["kind"] == "floor") | (table["row"] == f"{own} (mean user)")]
    kept = kept[list(FIGURE_COLUMNS)].copy()
    kept["row"] = [row.replace(str(own), _SEED.sub("", label)) for row in kept["row"].astype(str)]
    return [{name: None if pd.isna(value) else value for name, value in row.items()} for row in kept.to_dict("records")]


def _same_row(row: str, source: Path, label: str) -> bool:
    if row in (label, _SEED.sub("", label), str(source)):
        return True
    return is_place(row) and Path(row).expanduser().resolve() == source.resolve()


def of_seed(entries: Iterable[Any]) -> int | None:
    """The first whole number among some candidates for a seed."""
    return next((entry for entry in entries if type(entry) is int), None)
