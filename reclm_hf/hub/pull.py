"""Pull: the files that a manifest lists, checked against it, as a folder that is whole or not there."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .client import hub_api, hub_errors, plain_id, repository_files
from .kinds import ALWAYS, KINDS
from .manifest import LIMIT, MANIFEST, check_files, read_manifest
from .safety import check_names
from .staging import CARD

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

REPO_TYPES = ("model", "dataset", "space")
_NOT_OURS = (".gitattributes",)


def pull(
    repo_id: str,
    folder: str | Path,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
    code: bool = False,
) -> Path:
    """Fetch an artefact that `reclm push` wrote; every file is compared with the manifest before it is there.

    An interrupted pull goes on where it was; until it is whole, nothing stands at `folder`. A folder that holds an
    earlier pull of the same repository, unchanged, is replaced.

    Args:
        repo_type: model, dataset or space; None: looked for in this order.
        revision: commit, tag or branch; also as `org/name@revision`.
        code: whether a recommender's code files are fetched; they are never run here.

    Returns:
        `folder`.

    Raises:
        FileExistsError: `folder` holds something else.
        ValueError: the repository has no manifest of ours, a file that must not travel, or one that differs from it.
        OSError: it cannot be reached, or nobody may see it.
    """
    repo_id, named = plain_id(repo_id)
    if named and revision and named != revision:
        raise ValueError(f"{repo_id}@{named} names a revision, and so does revision={revision!r}: give one.")
    # Resolved: what is moved into place at the end must not be a link to it.
    folder, api = Path(folder).expanduser().resolve(), hub_api(endpoint, token)
    with hub_errors(repo_id, "pulling"):
        repo_type, commit = _find(api, repo_id, repo_type, revision or named)
        sizes = {file.path: int(file.size) for file in repository_files(api, repo_id, repo_type, commit)}
        _require_manifest(sizes, repo_id)
        _require_free(folder, repo_id)
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = folder.parent / f".{folder.name}.pulling"
        manifest = _fetch_manifest(api, repo_id, repo_type, commit, fresh)
        wanted = _wanted(manifest, sizes, repo_id, repo_type, code)
        _fetch(api, repo_id, repo_type, commit, fresh, wanted)
    try:
        check_files(fresh, manifest, [name for name in wanted if name not in ALWAYS])
    except ValueError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ValueError(f"{repo_id}: {error}".replace(str(fresh) + os.sep, "")) from error
    _put(fresh, folder, wanted)
    return folder


def _find(api: HfApi, repo_id: str, repo_type: str | None, revision: str | None) -> tuple[str, str]:
    """The type of a repository, and the full commit of a revision."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if repo_type is not None and repo_type not in REPO_TYPES:
        raise ValueError(f"There is no repository type {repo_type!r}: choose one of {', '.join(REPO_TYPES)}.")
    tried = REPO_TYPES if repo_type is None else (repo_type,)
    for number, name in enumerate(tried, start=1):
        try:
            return name, str(api.repo_info(repo_id, repo_type=name, revision=revision).sha)
        except RevisionNotFoundError as error:
            raise ValueError(f"{repo_id} has no revision {revision!r}: name a branch, a tag or a commit.") from error
        except RepositoryNotFoundError:
            if number == len(tried):
                raise
    raise AssertionError("a loop that returns or raises")


def _require_manifest(sizes: Mapping[str, int], repo_id: str) -> None:
    if MANIFEST not in sizes:
        raise ValueError(
            f"{repo_id} has no {MANIFEST}, so it was not pushed by `reclm push`; fetch it with `hf download`."
        )
    if sizes[MANIFEST] > LIMIT:
        raise ValueError(f"{repo_id}: {MANIFEST} is larger than {LIMIT // 2**20} MiB: no manifest of ours is.")


def _fetch_manifest(api: HfApi, repo_id: str, repo_type: str, commit: str, fresh: Path) -> dict[str, Any]:
    api.hf_hub_download(repo_id, MANIFEST, repo_type=repo_type, revision=commit, local_dir=fresh)
    try:
        return read_manifest(fresh)
    except ValueError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ValueError(f"{repo_id}: {error}".replace(str(fresh) + os.sep, "")) from error


def _wanted(manifest: dict[str, Any], sizes: Mapping[str, int], repo_id: str, repo_type: str, code: bool) -> list[str]:
    """The files to fetch: on the allow-list of the kind, and as the manifest lists them, as far as sizes tell."""
    kind = KINDS[manifest["kind"]]
    if kind.repo_type != repo_type:
        raise ValueError(f"{repo_id} is a {repo_type} repository, but its manifest is that of a {kind.name}.")
    listed = manifest["files"]
    try:
        check_names(listed, kind, code=True)
        travel = check_names(sizes, kind, code=code)
    except ValueError as error:
        raise ValueError(f"{repo_id}: {error}") from error
    unlisted = [name for name in travel if name not in listed and name not in ALWAYS]
    if unlisted:
        logger.warning("%s: not in its manifest and left out: %s", repo_id, ", ".join(unlisted[:5]))
    absent = sorted(set(listed) - set(sizes))
    if absent:
        raise ValueError(f"{repo_id} lacks {absent[0]}, though its manifest lists it: push it again.")
    wanted = [name for name in travel if name in listed or name in ALWAYS]
    for name in wanted:
        if name in listed and sizes[name] != listed[name]["size"]:
            raise ValueError(
                f"{repo_id}: {name} has {sizes[name]} bytes, but {MANIFEST} says {listed[name]['size']}: changed or "
                "cut off. Push it again."
            )
    missing = kind.missing(wanted)
    if missing:
        raise ValueError(f"{repo_id} is no whole {kind.name}: {', '.join(missing).replace('|', ' or ')} is missing.")
    return [name for name in wanted if name not in _NOT_OURS]


def _fetch(api: HfApi, repo_id: str, repo_type: str, commit: str, fresh: Path, wanted: list[str]) -> None:
    from tqdm.auto import tqdm

    # One by one: `snapshot_download` takes a Hub that does not answer for a folder that is whole already.
    for name in tqdm(wanted, desc=repo_id, unit="file"):
        api.hf_hub_download(repo_id, name, repo_type=repo_type, revision=commit, local_dir=fresh)


def _require_free(folder: Path, repo_id: str) -> None:
    """Refuse a folder that holds anything but an earlier pull of this repository, as it was pulled."""
    from .cards import render_card

    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        earlier = read_manifest(folder)
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        ours = earlier["repo_id"] == repo_id and there <= {*earlier["files"], *ALWAYS}
        if ours:
            check_files(folder, earlier, sorted(there - set(ALWAYS)))
            card = folder / CARD
            ours = not card.is_file() or card.read_text(encoding="utf-8") == render_card(earlier)
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise FileExistsError(
            f"{folder} is not empty and holds something else than {repo_id} as it was pulled: choose another --output."
        )


def _put(fresh: Path, folder: Path, wanted: list[str]) -> None:
    """Move a whole download to its place, without what the client noted beside it."""
    kept = set(wanted)
    shutil.rmtree(fresh / ".cache", ignore_errors=True)
    for path in sorted(fresh.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(fresh).as_posix() not in kept:
            path.unlink()  # of another revision, which an interrupted pull had begun with
    aside = folder.parent / f".{folder.name}.replaced"
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        os.replace(folder, aside)
    os.replace(fresh, folder)
    shutil.rmtree(aside, ignore_errors=True)
