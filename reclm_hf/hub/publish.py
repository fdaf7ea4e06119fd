"""Push: one commit that takes a repository from what it holds to what an artefact is, or nothing where they agree."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..data.folder import file_sha256
from .client import hub_api, hub_errors, plain_id, repository_files
from .kinds import ALWAYS, KINDS, Kind
from .manifest import MANIFEST
from .records import run_record
from .safety import check_names
from .staging import PushOptions, Staged, stage

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

logger = logging.getLogger(__name__)

_LICENCES = ("LICENSE", "LICENSE.md", "LICENSE.txt")
"""Files that a repository made on the website may begin with, beside the card."""


@dataclass(frozen=True)
class Pushed:
    """What a push left on the Hub.

    Attributes:
        revision: the commit that holds it. files: all files of the artefact, manifest and card included.
        changed: whether a commit was made; False where the repository held all of it already.
    """

    repo_id: str
    repo_type: str
    url: str
    revision: str
    files: list[str]
    changed: bool


def push(
    source: str | Path,
    repo_id: str,
    options: PushOptions | None = None,
    *,
    endpoint: str | None = None,
    token: str | bool | None = None,
    dry_run: bool = False,
    progress: bool = True,
) -> Pushed | Staged:
    """Push an artefact's folder to a repository, which is made where it is not there.

    Everything goes in one commit, so the repository is what it was before or what it is to be, wherever a push is cut
    off; the same call again goes on. Files that an earlier push brought and that are no longer part of it are deleted
    in that commit. Nothing is committed where nothing differs.

    Args:
        options: see `PushOptions`; its repositories are pinned to the commit that they are at now.
        endpoint, token: see `client.hub_api`.
        dry_run: nothing is written anywhere; returns what would be pushed.
        progress: show the client's bars on stderr.

    Raises:
        ValueError: the folder is no artefact, holds what must not travel, or lacks something; the repository holds
            something else, is open to everybody where user data would go, or was changed meanwhile.
        OSError: the repository cannot be reached or written to.
    """
    source, (named, revision) = Path(source).expanduser(), plain_id(repo_id)
    if revision is not None:
        raise ValueError(f"{repo_id} names a revision, and a push makes a new one: give {named}.")
    api = hub_api(endpoint, token)
    options = _pinned(options or PushOptions(), api, dry_run)
    with TemporaryDirectory(prefix="reclm-push-") as place:
        staged = stage(source, repo_id, Path(place), options, _secrets(api))
        if dry_run:
            return staged
        if options.base_model is not None:
            _check_base(api, source, options.base_model)
        with _bars(progress), hub_errors(repo_id, "pushing to"):
            return _write(api, staged, repo_id, options.private)


def _pinned(options: PushOptions, api: HfApi, dry_run: bool) -> PushOptions:
    """The options with every repository that they name at one full commit; a dry run does without the Hub."""
    named = {"tables": "dataset", "base_model": "model"}
    given = {name: kind for name, kind in named.items() if getattr(options, name) is not None}
    pins: dict[str, Any] = {}
    for name, kind in given.items():
        try:
            pins[name] = _pin(api, getattr(options, name), kind)
        except OSError as error:
            if not dry_run:
                raise
            logger.warning("not pinned in this dry run: %s", error)
            pins[name] = plain_id(getattr(options, name))[0]
    return replace(options, **pins)


def _pin(api: HfApi, name: str, repo_type: str) -> str:
    repo_id, revision = plain_id(name)
    if revision is not None and len(revision) == 40:
        return name
    with hub_errors(repo_id, "looking up the newest commit of"):
        return f"{repo_id}@{api.repo_info(repo_id, repo_type=repo_type, revision=revision).sha}"


def _check_base(api: HfApi, source: Path, base_model: str) -> None:
    """Compare the weights of the base model on the Hub with those that the adapter was trained on, where it says so.

    Raises:
        ValueError: they differ: the adapter would mean nothing there.
    """
    inputs = run_record(source).get("inputs")
    expected = inputs.get("weights") if isinstance(inputs, Mapping) else None
    if not isinstance(expected, str):
        return
    repo_id, revision = plain_id(base_model)
    with hub_errors(repo_id, "comparing the weights of"):
        files = [
            file for file in repository_files(api, repo_id, "model", revision) if file.path.endswith(".safetensors")
        ]
        hashes = [
            file.lfs.sha256
            if file.lfs is not None
            else file_sha256(Path(api.hf_hub_download(repo_id, file.path, revision=revision)))
            for file in sorted(files, key=lambda file: file.path)
            if "/" not in file.path
        ]
    if "sha256:" + hashlib.sha256("".join(hashes).encode()).hexdigest() != expected:
        raise ValueError(
            f"{repo_id} has other weights than the model that {source} was trained on: push that one, and name it with "
            "--base-model."
        )


def _write(api: HfApi, staged: Staged, repo_id: str, private: bool | None) -> Pushed:
    kind, wanted = staged.kind, private if private is not None else True if staged.kind.private else None
    url = api.create_repo(
        repo_id,
        repo_type=kind.repo_type,
        private=wanted,
        exist_ok=True,
        space_sdk="gradio" if kind.repo_type == "space" else None,
    )
    info = api.repo_info(repo_id, repo_type=kind.repo_type)
    _check_visibility(repo_id, kind, bool(info.private), private)
    there = {file.path: file for file in repository_files(api, repo_id, kind.repo_type, info.sha)}
    stale = _stale(api, staged, repo_id, info.sha, there)
    operations = _operations(staged, there, stale)
    head, changed = info.sha, bool(operations)
    if operations:
        logger.info("%s: %d files to write, %d to delete", repo_id, len(operations) - len(stale), len(stale))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*about to commit a data file")  # catalogues are Parquet
            head = api.create_commit(
                repo_id,
                operations,
                commit_message=f"Push {kind.name} with reclm-hf {staged.manifest['reclm_hf']}",
                repo_type=kind.repo_type,
                parent_commit=info.sha,
            ).oid
    return Pushed(repo_id, kind.repo_type, str(url), str(head), staged.files, changed)


def _check_visibility(repo_id: str, kind: Kind, is_private: bool, wanted: bool | None) -> None:
    if is_private or wanted is False or not (wanted or kind.private):
        return
    why = "asked to be private" if wanted else f"is a {kind.name}, which holds ids or profiles of users"
    raise ValueError(
        f"{repo_id} is open to everybody, and what would be pushed {why}. Make it private on its settings page, choose "
        "another name, or say --public if everybody may have it."
    )


def _stale(api: HfApi, staged: Staged, repo_id: str, head: str | None, there: Mapping[str, RepoFile]) -> list[str]:
    """Files of an earlier push that are not part of this one.

    Raises:
        ValueError: the repository holds something that no push of this kind brought.
    """
    strangers = sorted(set(there) - set(staged.files) - set(ALWAYS))
    earlier = _earlier(api, repo_id, staged.kind, head) if MANIFEST in there else {}
    found = earlier.get("kind")
    if found not in list(KINDS):  # no manifest, or one that some other program reads
        foreign = sorted(set(there) - (set(ALWAYS) - {MANIFEST}) - set(_LICENCES))
        if foreign:
            raise ValueError(
                f"{repo_id} holds files that `reclm push` did not bring ({foreign[0]} is the first): nothing of it is "
                "overwritten. Choose another name."
            )
        return []
    if found != staged.kind.name:
        raise ValueError(
            f"{repo_id} holds a {found}, and this is a {staged.kind.name}: choose another name, or delete "
            "that repository first."
        )
    listed = earlier.get("files")
    ours = set(listed) if isinstance(listed, Mapping) else set()
    check_names([name for name in strangers if name not in ours], staged.kind)  # a pickle would spoil every pull
    return [name for name in strangers if name in ours]


def _earlier(api: HfApi, repo_id: str, kind: Kind, head: str | None) -> dict[str, Any]:
    """The manifest there; {} where it is none of ours."""
    path = Path(api.hf_hub_download(repo_id, MANIFEST, repo_type=kind.repo_type, revision=head))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _operations(
    staged: Staged, there: Mapping[str, RepoFile], stale: list[str]
) -> list[CommitOperationAdd | CommitOperationDelete]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    changed = [name for name in staged.files if not _same(staged.folder / name, there.get(name))]
    adds = [CommitOperationAdd(name, str(staged.folder / name)) for name in changed]
    return [*adds, *(CommitOperationDelete(name) for name in stale)]


def _same(path: Path, there: RepoFile | None) -> bool:
    from huggingface_hub.utils.sha import git_hash

    if there is None or there.size != path.stat().st_size:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == file_sha256(path))
    return bool(there.blob_id == git_hash(path.read_bytes()))


def _secrets(api: HfApi) -> list[str]:
    from huggingface_hub import get_token

    known = api.token if isinstance(api.token, str) else get_token() if api.token is not False else None
    return [known] if known else []


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
