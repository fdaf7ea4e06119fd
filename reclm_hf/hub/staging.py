"""From an artefact's folder to what is pushed: its files, its manifest and its card, side by side in a fresh folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ..data.folder import write_text
from .kinds import Kind, kind_named, kind_of, require_files
from .manifest import MANIFEST, file_entries, read_manifest, write_manifest
from .safety import check_names, check_no_secret

CARD = "README.md"
_LINKED = 2**20
"""Larger files (bytes) are linked into place instead of copied."""

_USED = {
    "recommender": ("code", "tables", "results"),
    "profiler-adapter": ("base_model",),
    "profiler": ("base_model",),
    "reward-model": ("base_model",),
    "tables": ("profiles", "instructions", "preferences"),
    "results": ("tables",),
    "space": (),
    "metric": (),
}
"""Which of the options that not every kind has mean something for a kind."""

_TEXT_ENDINGS = (".json", ".jinja", ".md", ".py", ".txt", ".yaml", ".svg")
_TEXT_LIMIT = 4 * 2**20


@dataclass(frozen=True)
class PushOptions:
    """What a push needs to know beyond the folder.

    Attributes:
        kind: name of the kind; None: told by the files.
        private: of a new repository; None: as its kind has it.
        code: whether a recommender's code files travel, for people without this package.
        license: a licence identifier of the Hub. title: of the card.
        tables: Hub id of the data set repository that a recommender or results belong to, `org/x` or `org/x@commit`.
        base_model: Hub id of the model that an adapter belongs on, `org/x` or `org/x@commit`.
        results: folder with `results.parquet` of the evaluation.
        profiles, instructions, preferences: folders that travel with tables.
    """

    kind: str | None = None
    private: bool | None = None
    code: bool = False
    license: str | None = None
    title: str | None = None
    tables: str | None = None
    base_model: str | None = None
    results: str | None = None
    profiles: str | None = None
    instructions: str | None = None
    preferences: str | None = None


@dataclass(frozen=True)
class Staged:
    """What would be pushed: `files` are the names of all files in `folder`, manifest and card included.

    `sizes` tells their bytes; after a dry run `folder` is gone.
    """

    kind: Kind
    folder: Path
    files: list[str]
    manifest: dict[str, Any]
    card: str
    sizes: dict[str, int] = field(default_factory=dict)


def stage(
    source: Path, repo_id: str, place: Path, options: PushOptions | None = None, secrets: Iterable[str] = ()
) -> Staged:
    """Put the files of an artefact, its manifest and its card into the empty folder `place`.

    Args:
        secrets: strings that must not travel: the token in use.

    Raises:
        OSError, ValueError: the folder is no artefact, something in it must not travel, or something that it needs is
            not known; names it and says what to do.
    """
    from .cards import render_card

    options = options or PushOptions()
    kind = kind_of(source) if options.kind is None else kind_named(options.kind)
    require_files(source, kind)
    _require_meaning(kind, options)
    manifest = stager_of(kind)(source, place, repo_id, options)
    names = check_names(listing(place), kind, code=options.code)
    text = write_manifest({**manifest, "files": file_entries(place, names)}, place)
    manifest = read_manifest(place)  # as everybody else will read it
    card = render_card(manifest)
    check_no_secret(text, MANIFEST, secrets)
    check_no_secret(card, CARD, secrets)
    _check_texts(place, names, tuple(secrets))
    write_text(card, place / CARD)
    files = sorted({*names, MANIFEST, CARD})
    return Staged(kind, place, files, manifest, card, {name: (place / name).stat().st_size for name in files})


def stager_of(kind: Kind) -> Callable[[Path, Path, str, PushOptions], dict[str, Any]]:
    """The function that stages a kind: it fills the empty folder and returns the manifest without `files`."""
    module = "stage_tables" if kind.repo_type == "dataset" else "stage_spaces" if kind.repo_type == "space" else ""
    found = import_module(f"{__package__}.{module or 'stage_models'}")
    stager: Callable[[Path, Path, str, PushOptions], dict[str, Any]]
    stager = getattr(found, f"stage_{kind.name.replace('-', '_')}")
    return stager


def listing(folder: Path) -> list[str]:
    """The files below a folder, as paths divided by "/"; sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def take(source: Path, place: Path, names: Iterable[str]) -> None:
    """Bring files of one folder into another under the same names; large ones as links, which no stage may change."""
    for name in names:
        take_file(source / name, place / name)


def take_file(origin: Path, target: Path) -> None:
    """Bring one file to a place, as a link where it is large."""
    target.parent.mkdir(parents=True, exist_ok=True)
    origin = origin.resolve()
    if origin.stat().st_size > _LINKED:
        try:
            os.symlink(origin, target)
            return
        except OSError:  # a system without links
            pass
    shutil.copyfile(origin, target)


def _require_meaning(kind: Kind, options: PushOptions) -> None:
    """Refuse an option that would be left aside: who gives it expects something of it."""
    shared = {name for names in _USED.values() for name in names}
    given = sorted(name for name in shared - set(_USED[kind.name]) if getattr(options, name))
    if given:
        named = {"code": "--with-code"}.get(given[0], f"--{given[0].replace('_', '-')}")
        raise ValueError(f"{named} means nothing for a {kind.name}: leave it out.")


def _check_texts(place: Path, names: Iterable[str], secrets: tuple[str, ...]) -> None:
    for name in names:
        path = place / name
        if path.suffix in _TEXT_ENDINGS and path.stat().st_size <= _TEXT_LIMIT:
            check_no_secret(path.read_text(encoding="utf-8", errors="replace"), name, secrets)
