"""From a run, a recommender's folder or a Hub id to the settings of a Space: manifests say where the rest lies."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.bundled import bundled_names
from ..data.folder import ITEMS_FILE
from ..data.hub_tables import hub_id
from ..hub.records import RESULTS, run_record
from ..hub.runs import MODELS, is_run, shown_model
from .parts import about_data, fetched, manifest_of
from .settings import Settings

logger = logging.getLogger(__name__)

_CONFIG = "config.json"
_OWN_TABLES = (ITEMS_FILE, "user_profiles.parquet")


def settings_of(source: str) -> Settings:
    """What a Space of `source` shows.

    Args:
        source: the folder of a run (`reclm demo`, `reclm train`), a recommender's folder, or its Hub id, which may name
            a revision. Repositories are pinned to the commit that is found now, or that a manifest names.

    Raises:
        OSError, ValueError: there is no recommender; names the source and the way out.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _of_folder(folder)
    if hub_id(source) is None:
        raise ValueError(
            f"{source}: neither a folder that is there nor a Hub id. Give the folder of a run (`reclm demo` writes "
            "runs/demo), a recommender's folder, or ORG/NAME."
        )
    return _of_repository(source)


def _of_folder(folder: Path) -> Settings:
    if (folder / _CONFIG).is_file():
        return _of_recommender(folder)
    if (folder / "model" / _CONFIG).is_file():
        return _of_recommender(folder / "model")
    if is_run(folder):
        return _of_run(folder, shown_model(folder))
    if (folder / MODELS).is_dir():
        raise ValueError(
            f"{folder}: this run is not finished, it has no {RESULTS} yet. Repeat the command that it came from, or "
            f"give one of its recommenders ({folder / MODELS}/NAME/model)."
        )
    raise ValueError(
        f"{folder}: holds no recommender, neither {_CONFIG} nor {MODELS}/. Give the folder of a run, or of what `reclm "
        "train` or `reclm pull` wrote."
    )


def _of_run(folder: Path, model: Path) -> Settings:
    record = run_record(folder)
    own = any((folder / name).is_file() for name in _OWN_TABLES)
    return Settings(
        recommender=str(model), tables=_tables_of(record) or (str(folder) if own else None), results=str(folder)
    )


def _of_recommender(folder: Path) -> Settings:
    parents = folder.resolve().parents
    if len(parents) > 2 and parents[1].name == MODELS and is_run(parents[2]):
        return _of_run(parents[2], folder)
    manifest = manifest_of(str(folder), "model")
    results = _results_beside(str(manifest["repo_id"])) if manifest.get("repo_id") else None
    return Settings(recommender=str(folder), tables=_tables_of(manifest), results=results)


def _of_repository(source: str) -> Settings:
    found = hub_id(source)
    config = fetched(source, _CONFIG, "model")
    if found is None or config is None:
        raise ValueError(f"{source}: holds no recommender, it has no {_CONFIG}. Give the Hub id of a recommender.")
    pinned = f"{found[0]}@{config.parent.name}"  # the cache names a snapshot by its commit
    manifest = manifest_of(pinned, "model")
    kind = manifest.get("kind", "recommender")
    if kind != "recommender":
        raise ValueError(f"{source}: is a {kind}, not a recommender. Give the Hub id of the recommender to show.")
    return Settings(recommender=pinned, tables=_tables_of(manifest), results=_results_beside(found[0]))


def _tables_of(manifest: Mapping[str, Any]) -> str | None:
    """The tables that a recommender or a run names: a repository, pinned where it says how, or a bundled data set."""
    for entry in manifest.get("inputs") or ():
        if isinstance(entry, Mapping) and entry.get("role") == "tables" and entry.get("repo_id"):
            return f"{entry['repo_id']}@{entry['revision']}" if entry.get("revision") else str(entry["repo_id"])
    if isinstance(manifest.get("tables"), str):
        return str(manifest["tables"])
    dataset = about_data(manifest).get("dataset") or manifest.get("dataset")
    return str(dataset) if dataset in bundled_names() else None


def _results_beside(repo_id: str) -> str | None:
    """The results that `reclm push` of a run puts beside its recommender, if they are there and may be seen."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    name = f"{repo_id}-results"
    try:
        found = fetched(name, RESULTS, "dataset")
    except ValueError as error:
        if not isinstance(error.__cause__, RepositoryNotFoundError | GatedRepoError):
            logger.warning("no results are shown: %s", error)
        return None
    return None if found is None else f"{name}@{found.parent.name}"
