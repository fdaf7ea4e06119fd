"""Reading the parts of a Space from folders, from the package or from the Hub; what is absent is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.bundled import bundled_folder, bundled_names, bundled_profiles_path
from ..data.folder import ITEMS_FILE, read_info
from ..data.hub_tables import fetch_tables, fetching, hub_id, profiles_beside
from ..data.profile_tables import Side, read_profiles
from ..data.tables import TableError, read_parquet, validate_items
from ..hub.manifest import MANIFEST, read_manifest
from ..hub.records import RESULTS, data_of, read_record

if TYPE_CHECKING:
    import pandas as pd

_CUT = "test"
"""Profiles as of this cut: the state that a recommender is handed over in."""

_PUSHED = tuple(f"{side}_profiles/{_CUT}.parquet" for side in ("user", "item"))


@dataclass(frozen=True)
class Tables:
    """What a source of tables holds.

    Attributes:
        source: as it was named. items: columns item_id, title, text, ...; users, profiles of users, and item_profiles
            as `read_profiles` gives them. info: of `dataset.json`. certificates: of the profiles, from a manifest.
    """

    source: str = ""
    items: pd.DataFrame | None = None
    users: pd.DataFrame | None = None
    item_profiles: pd.DataFrame | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    certificates: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Results:
    """Tables of an evaluation, and what its manifest says."""

    results: pd.DataFrame | None = None
    comparisons: pd.DataFrame | None = None
    strata: pd.DataFrame | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)


def located(source: str) -> tuple[str, str | None]:
    """A folder, or a Hub id and its revision, as `from_pretrained` takes them."""
    found = hub_id(source)
    return (str(Path(source).expanduser()), None) if found is None else found


def fetched(source: str, name: str, repo_type: str) -> Path | None:
    """A file of a folder or of a repository, as a path; None where there is no such file in it.

    Of a repository the parent folder bears the commit's name.

    Raises:
        TableError: neither a folder nor a repository, no access, no network and nothing cached, or a broken connection.
    """
    from huggingface_hub import hf_hub_download, is_offline_mode
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils import httpx

    found = hub_id(source)
    if found is None:
        return _in_folder(source, name)
    with fetching(source):
        try:
            path = hf_hub_download(found[0], name, repo_type=repo_type, revision=found[1], library_name="reclm-hf")
        except LocalEntryNotFoundError:
            if not is_offline_mode():
                raise
            return None
        except EntryNotFoundError:
            return None
        except httpx.HTTPError as error:
            if isinstance(error, OSError):  # the Hub answered
                raise
            raise OSError(f"the Hub broke off: {error}") from error
    return Path(path)


def manifest_of(source: str, repo_type: str) -> dict[str, Any]:
    """The manifest of a repository, of what was pulled from one, or of a run; {} where there is none.

    Raises:
        ValueError: it is broken, or as `fetched`.
    """
    path = fetched(source, MANIFEST, repo_type)
    if path is None:
        return {}
    found = read_record(path)
    return read_manifest(path.parent) if found.get("repo_id") and "files" in found else found


def about_data(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Name, fingerprint, licence and attribution of the data, from the manifest of a repository or of a run."""
    data = manifest.get("data") if "format" in manifest and "dataset" not in manifest else data_of(manifest)
    return dict(data or {})


def read_tables(source: str | None, profiles: str | None = None) -> Tables:
    """The item table and the profiles as of the test cut.

    Args:
        source: folder, name of a bundled data set, or Hub id. profiles: a folder that holds the profiles instead.

    Raises:
        TableError: no such source, or a table in it is broken.
    """
    if source is None:
        return Tables() if profiles is None else _with_profiles(Tables(profiles), profiles)
    if source in bundled_names():
        found = _with_items(source, bundled_folder(source))
        return _with_profiles(found, source if profiles is None else profiles)
    folder = _tables_folder(source)
    found = _with_items(source, folder)
    return _with_profiles(found, str(folder) if profiles is None else profiles)


def _tables_folder(source: str) -> Path:
    found = hub_id(source)
    if found is not None:
        return fetch_tables(*found, (ITEMS_FILE, *_PUSHED, MANIFEST))
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise TableError(
            f"{source}: no tables there: neither a bundled data set ({', '.join(bundled_names())}) nor a folder nor a "
            "Hub id. Name the data that the recommender was trained on."
        )
    return folder


def _with_items(source: str, folder: Path) -> Tables:
    items = validate_items(read_parquet(folder / ITEMS_FILE), source) if (folder / ITEMS_FILE).is_file() else None
    manifest = read_record(folder / MANIFEST)
    certificates = [entry for entry in manifest.get("certificates") or () if isinstance(entry, dict)]
    return Tables(source, items, info=read_info(folder), certificates=certificates)


def _with_profiles(tables: Tables, where: str) -> Tables:
    users, items = (_profiles(where, side) for side in ("user", "item"))
    return Tables(tables.source, tables.items, users, items, tables.info, tables.certificates)


def _profiles(where: str, side: Side) -> pd.DataFrame | None:
    """As of the test cut: of a bundled data set, as `reclm profiles build` or `reclm push` lay them out, or loose."""
    if where in bundled_names():
        places = [bundled_profiles_path(where, _CUT, side)]
    else:
        places = [profiles_beside(where, _CUT, side), Path(where) / f"{side}_profiles.parquet"]
    path = next((path for path in places if path.is_file()), None)
    return None if path is None else read_profiles(path, side)


def read_results(source: str | None) -> Results:
    """The tables of an evaluation, from a folder or a repository.

    Raises:
        ValueError: there is no `results.parquet`, or a table is broken.
    """
    if source is None:
        return Results()
    path = fetched(source, RESULTS, "dataset")
    if path is None:
        raise ValueError(
            f"{source}: has no {RESULTS}. Name a folder of `reclm evaluate` or `reclm demo`, a repository that was "
            "pushed from one, or leave the results out."
        )
    found = hub_id(source)
    whole = source if found is None else f"{found[0]}@{path.parent.name}"  # the other tables of the same commit
    beside = {name: _optional(whole, f"{name}.parquet") for name in ("comparisons", "strata")}
    return Results(read_parquet(path), **beside, manifest=manifest_of(whole, "dataset"))


def _optional(source: str, name: str) -> pd.DataFrame | None:
    path = fetched(source, name, "dataset")
    return None if path is None else read_parquet(path)


def _in_folder(source: str, name: str) -> Path | None:
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise TableError(f"{source}: neither a folder that is there nor a Hub id (ORG/NAME or ORG/NAME@REVISION).")
    return folder / name if (folder / name).is_file() else None
