"""Tables of a data set as a repository that `load_dataset` opens.

Files are laid out as `datasets` would lay them out, a folder for each configuration and a Parquet file for each split,
and the card names them in its `configs`. They are not written by `Dataset.push_to_hub`: that makes a commit for each
configuration, so a push that is cut off would leave half a repository, and tables of two pushes side by side.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.bundled import bundled_folder, bundled_names, bundled_profiles_path
from ..data.folder import ITEMS_FILE, PART_FILES, file_sha256, read_info, write_dataset, write_json
from ..data.hub_tables import profiles_beside
from ..data.load import load_splits
from ..data.profile_tables import Side, read_profiles
from ..data.tables import (
    INSTRUCTION_COLUMNS,
    INTERACTION_COLUMNS,
    ITEM_COLUMNS,
    ITEM_PROFILE_COLUMNS,
    PREFERENCE_COLUMNS,
    PROFILE_COLUMNS,
    TableError,
    write_parquet,
)
from .dataset_configs import config_entry
from .manifest import new_manifest
from .records import nameless, read_record
from .stage_results import stage_results

if TYPE_CHECKING:
    import pandas as pd

    from ..data.splits import Split, Splits
    from .staging import PushOptions

__all__ = ["split_parts", "stage_results", "stage_tables"]

_LICENCES = ("LICENSE.txt", "NOTICE.txt")
_ABOUT = ("attribution", "citation", "homepage", "source", "rules", "notes")
"""Of `dataset.json`: what the card says of the data beside name, licence and counts."""

_OF_OTHER_FILES = ("sha256", "profiles", "item_profiles")
_PROFILES: dict[Side, dict[str, str]] = {"user": PROFILE_COLUMNS, "item": ITEM_PROFILE_COLUMNS}
_CHATS = {"instructions": INSTRUCTION_COLUMNS, "preferences": PREFERENCE_COLUMNS}


def stage_tables(source: Path, place: Path, repo_id: str, options: PushOptions) -> dict[str, Any]:
    """Write items, interactions, profiles, instructions and preferences into the empty folder `place`.

    The interactions are divided into train, validation and test as the protocol cuts them; `dataset.json` keeps the cut
    and the fingerprint, so the same data and the same splits are read back. Profiles come in two splits, `validation`
    and `test`, as of these two cuts: the second knows what the first must not.

    Args:
        source: a data folder, or the name or folder of a bundled data set.
        options: `profiles` a folder of `reclm profiles build` (default: what lies beside the data); `instructions` and
            `preferences` the folders that hold these tables.

    Returns:
        The manifest without `files`.

    Raises:
        TableError: a table is broken, cannot be cut, or was made from other data. LeakageError: profiles know something
            from after their cut.
    """
    name = _bundled(source)
    folder = source if name is None else bundled_folder(name)
    splits, info = load_splits(name or str(source)), read_info(folder)
    info = {key: value for key, value in nameless(info).items() if key not in _OF_OTHER_FILES}
    # Kept with the data, so that whoever pulls and pushes them again passes them on.
    info |= {key: value for key, value in (("title", options.title), ("licence", options.license)) if value}
    content = write_dataset(splits.data, place, info, split_parts(splits))
    written, profiles, certificates = _stage_profiles(splits, place, options.profiles or name or str(folder))
    if options.profiles and not written:
        raise TableError(
            f"{options.profiles}: holds no profiles of these cuts; give a folder of `reclm profiles build`."
        )
    chats = {kind: _stage_chats(kind, getattr(options, kind), folder, place, splits) for kind in _CHATS}
    chats = {kind: lineage for kind, lineage in chats.items() if lineage is not None}
    files = {**_data_files(), **written, **{kind: {"train": f"{kind}.parquet"} for kind in chats}}
    content["sha256"] |= {path: file_sha256(place / path) for parts in files.values() for path in parts.values()}
    write_json(content, place / "dataset.json")
    _take_licences(folder, place)
    _require_same(splits, place)
    rules = {"test_cut": info.get("test_cut"), "min_rating": splits.data.min_rating}
    return new_manifest(
        "tables",
        repo_id,
        title=str(info.get("title") or splits.data.name),
        license=info.get("licence"),
        config_sha256=hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest(),
        settings={key: value for key, value in rules.items() if value is not None},
        data=_data(splits, info),
        profiles=profiles,
        certificates=certificates,
        details={
            "configs": [_config(place, config, parts) for config, parts in files.items()],
            "data_fingerprint": content["fingerprint"],
            **chats,
        },
    )


def split_parts(splits: Splits) -> dict[str, np.ndarray]:
    """The rows that are train, validation and test: name -> [n] bool over the interactions; every row is in one.

    Rows of users without history are among those of their period, though nobody is evaluated on them.
    """
    data = splits.data
    pair = data.user.astype(np.int64) * data.n_items + data.item

    def history(split: Split) -> np.ndarray:
        return np.isin(pair, split.history_user.astype(np.int64) * data.n_items + split.history_item)

    train, before_test = history(splits.validation), history(splits.test)
    return {"train": train, "validation": before_test & ~train, "test": ~before_test}


def _bundled(source: Path) -> str | None:
    """The name of a bundled data set that is meant: only those are compared with the checksums of the package."""
    for name in bundled_names():
        if str(source) == name or (source.is_dir() and source.resolve() == bundled_folder(name).resolve()):
            return name
    return None


def _data_files() -> dict[str, dict[str, str]]:
    return {"items": {"train": ITEMS_FILE}, "interactions": dict(PART_FILES)}


def _config(place: Path, name: str, parts: Mapping[str, str]) -> dict[str, Any]:
    import pyarrow.parquet as pq

    kinds: dict[str, str] = {
        "items": ITEM_COLUMNS,
        "interactions": INTERACTION_COLUMNS,
        "user_profiles": PROFILE_COLUMNS,
        "item_profiles": ITEM_PROFILE_COLUMNS,
        **_CHATS,
    }[name]
    there = pq.read_schema(place / next(iter(parts.values()))).names
    return config_entry(place, name, parts, {column: kinds[column] for column in there}, default=name == "items")


def _data(splits: Splits, info: Mapping[str, Any]) -> dict[str, Any]:
    data = splits.data
    return {
        "dataset": data.name,
        "fingerprint": splits.fingerprint,
        "cuts": {split.name: split.cut for split in (splits.validation, splits.test)},
        "counts": {"users": data.n_users, "items": data.n_items, "interactions": len(data.user)},
        "license": info.get("licence"),
        **{key: info[key] for key in _ABOUT if info.get(key)},
    }


def _stage_profiles(
    splits: Splits, place: Path, where: str
) -> tuple[dict[str, dict[str, str]], dict[str, Any], list[dict[str, Any]]]:
    """Write the profiles that lie in `where`, each checked against its cut.

    Returns:
        Configuration -> split -> file; split -> summary for the manifest; the certificates.
    """
    from ..pipeline.manifest import profile_summary

    written: dict[str, dict[str, str]] = {}
    summaries: dict[str, Any] = {}
    certificates: list[dict[str, Any]] = []
    for split in (splits.validation, splits.test):
        users: pd.DataFrame | None = None
        for side, columns in _PROFILES.items():
            path = _profiles_path(where, split.name, side)
            if not path.is_file():
                continue
            table = read_profiles(path, side)
            certificates.append(_certified(table, side, split, splits, users) | _redrawn(path, side))
            config, users = f"{side}_profiles", table if side == "user" else users
            file = f"{config}/{split.name}.parquet"
            write_parquet(table, place / file, columns)
            written.setdefault(config, {})[split.name] = file
            summaries[split.name if side == "user" else f"{split.name}, items"] = profile_summary(table)
    return dict(sorted(written.items(), reverse=True)), summaries, certificates


def _profiles_path(where: str, cut: str, side: Side) -> Path:
    return bundled_profiles_path(where, cut, side) if where in bundled_names() else profiles_beside(where, cut, side)


def _certified(
    table: pd.DataFrame, side: Side, split: Split, splits: Splits, users: pd.DataFrame | None
) -> dict[str, Any]:
    from ..profiles.leakage import certify, certify_items

    items = splits.data.items
    found = certify(table, split, items) if side == "user" else certify_items(table, split, items, users)
    found.require()
    return {"table": f"{side}_profiles", **found.to_dict()}


def _redrawn(path: Path, side: Side) -> dict[str, int | None]:
    """How many profiles had to be written again until the table passed, where its build noted that."""
    noted = read_record(path.with_name("certificate.json" if side == "user" else "item_certificate.json"))
    return {"redrawn": noted.get("redrawn")}


def _stage_chats(kind: str, given: str | None, folder: Path, place: Path, splits: Splits) -> dict[str, Any] | None:
    """Write instructions or preferences, and what is known of how they were made; None where there are none.

    Raises:
        TableError: they were made from other data, or cut otherwise: they could tell what test must not know.
    """
    from ..tuning.inputs import read_instructions, read_preferences

    source = given or (str(folder) if (folder / f"{kind}.parquet").is_file() else None)
    if source is None:
        return None
    table = (read_instructions if kind == "instructions" else read_preferences)(source)
    path = Path(source).expanduser()
    noted = read_record((path if path.is_dir() else path.parent) / f"{kind}.json")
    if noted and noted.get("fingerprint") != splits.fingerprint:
        raise TableError(
            f"{source}: these {kind} were made from {noted.get('dataset', 'other data')}, not from "
            f"{splits.data.name} as it is cut here. Make them again (`reclm {kind} build`), or push without them."
        )
    write_parquet(table, place / f"{kind}.parquet", _CHATS[kind])
    lineage: dict[str, Any] = nameless({key: value for key, value in noted.items() if key not in (kind, "examples")})
    if lineage:
        write_json(lineage, place / f"{kind}.json")
    return lineage


def _take_licences(folder: Path, place: Path) -> None:
    from .staging import take

    take(folder, place, [name for name in _LICENCES if (folder / name).is_file()])


def _require_same(splits: Splits, place: Path) -> None:
    """What was written must give the same splits, or no figure of a recommender could be checked against it."""
    again = load_splits(str(place)).fingerprint
    if again != splits.fingerprint:
        raise TableError(
            f"{splits.data.name}: read back, the tables give other splits ({again} instead of {splits.fingerprint}). "
            "Import the data again with `reclm data import`."
        )
