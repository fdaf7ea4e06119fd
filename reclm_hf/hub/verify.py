"""Verify: whether what a repository says of itself is so. Files, card and manifest are compared, figures run again."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .checking import Artefact, Check
from .manifest import check_files, read_manifest, without_nan
from .pull import pull
from .staging import CARD, PushOptions, stager_of
from .verify_models import check_adapter, check_recommender, check_reward_model

__all__ = ["Check", "verify"]

_SHOWN = 5
_COMPARED = ("config_sha256", "data", "profiles", "certificates", "figures", "details")
"""Parts of a manifest that follow from the files of the repository."""


def verify(
    source: str | Path,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
    cache: str | Path | None = None,
    floors: bool = False,
) -> list[Check]:
    """Check an artefact that `reclm push` wrote, on the Hub or as it was pulled.

    Files must equal their hashes, the card what the manifest renders, and the manifest what the files themselves say.
    A recommender is evaluated again on the tables that its manifest names, at their pinned commit: every figure must
    come back within 1e-6. An adapter must load on the base model that it names.

    Args:
        source: Hub id, or the folder of a pull. revision: of a repository: commit, tag or branch.
        cache: folder that keeps what is pulled; None: pulled for the time being.
        floors: fit the floors beside a recommender again, too, which takes longer than all the rest.

    Returns:
        What was checked, in order; nothing failed where all of them `passed`.

    Raises:
        OSError: the repository cannot be reached, or nobody may see it. ValueError: a revision of a folder.
    """
    local = Path(source).expanduser()
    with _room(cache) as room:
        if local.is_dir():
            if revision is not None:
                raise ValueError(f"{source} is a folder, which has no revision {revision!r}: give the repository's id.")
            folder = local
        else:
            repo_id = str(source)
            try:
                folder = pull(
                    repo_id, room / _folder_name(repo_id), revision=revision, endpoint=endpoint, token=token, code=True
                )
            except FileExistsError:
                raise
            except ValueError as error:
                return [Check("files", False, str(error))]
        try:
            manifest = read_manifest(folder)
        except ValueError as error:
            return [Check("manifest", False, str(error))]
        artefact = Artefact(folder, manifest, room, endpoint, token, floors)
        return list(_checks(artefact))


def _checks(artefact: Artefact) -> Iterator[Check]:
    if not artefact.manifest["repo_id"]:
        yield Check("manifest", False, f"{artefact.folder} was not pushed yet: `reclm push` writes what is verified.")
        return
    yield _run("files", lambda: _files(artefact))
    yield _run("card", lambda: _card(artefact))
    yield _run("manifest", lambda: _manifest(artefact))
    more: dict[str, Callable[[Artefact], Iterator[Check]]] = {
        "recommender": check_recommender,
        "profiler-adapter": check_adapter,
        "profiler": check_adapter,
        "reward-model": check_reward_model,
    }
    if artefact.kind.name in more:
        yield from more[artefact.kind.name](artefact)


def _run(name: str, check: Callable[[], str]) -> Check:
    """A check that is passed unless it raises ValueError or OSError, whose message is what differs."""
    try:
        return Check(name, True, check())
    except (ValueError, OSError) as error:
        return Check(name, False, str(error))


def _files(artefact: Artefact) -> str:
    listed = artefact.manifest["files"]
    # `reclm pull` fetches code files only when it is asked to.
    left = {name for name in listed if name.endswith(".py") and artefact.kind.name == "recommender"}
    names = [name for name in listed if name not in left or (artefact.folder / name).is_file()]
    check_files(artefact.folder, artefact.manifest, names)
    beside = f", {len(listed) - len(names)} code files were not pulled" if len(names) < len(listed) else ""
    return f"{len(names)} files have the sizes and hashes of the manifest{beside}"


def _card(artefact: Artefact) -> str:
    from .cards import card_figures, render_card

    path = artefact.folder / CARD
    if not path.is_file():
        raise ValueError(f"{path} is missing: push again.")
    shown, expected = path.read_text(encoding="utf-8"), render_card(artefact.manifest)
    if shown == expected:
        return f"every line is what the manifest renders, {len(card_figures(shown))} figures among them"
    there, right = card_figures(shown), card_figures(expected)
    wrong = [
        f"{place}: the card says {there.get(place, 'nothing')}, the manifest {right.get(place, 'nothing')}"
        for place in sorted({*there, *right})
        if there.get(place) != right.get(place)
    ]
    raise ValueError(_few(wrong) if wrong else _first_difference(shown, expected, artefact.manifest["reclm_hf"]))


def _first_difference(shown: str, expected: str, version: str) -> str:
    from .. import __version__

    lines = difflib.unified_diff(expected.splitlines(), shown.splitlines(), lineterm="", n=0)
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    another = f" (it was written by version {version}, this is {__version__})" if version != __version__ else ""
    return f"the card is not what the manifest renders{another}: {' / '.join(changed[:2])[:300]}"


def _manifest(artefact: Artefact) -> str:
    """Stage the files once more: what the manifest says of them must come out again."""
    stated, details = artefact.manifest, artefact.manifest["details"]
    options = PushOptions(kind=artefact.kind.name, code=bool(details.get("code")))
    with TemporaryDirectory(dir=artefact.scratch) as place:
        found = without_nan(stager_of(artefact.kind)(artefact.folder, Path(place), stated["repo_id"], options))
    wrong = [line for part in _COMPARED for line in _differences(part, stated[part], found[part])]
    if wrong:
        raise ValueError(_few(wrong))
    return "what it says of the files is what they hold"


def _differences(name: str, stated: Any, found: Any) -> Iterator[str]:
    """Where two plain values differ; what was not found out again is not held against what is stated."""
    if found is None or found in ({}, []) or name.endswith(".redrawn"):
        return
    if isinstance(stated, Mapping) and isinstance(found, Mapping):
        for key in sorted({*stated, *found}, key=str):
            yield from _differences(f"{name}.{key}", stated.get(key), found.get(key))
    elif isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
        for number, (one, other) in enumerate(zip(stated, found, strict=True), start=1):
            yield from _differences(f"{name}[{number}]", one, other)
    elif not _equal(stated, found):
        yield f"{name}: the manifest says {str(stated)[:60]}, the files say {str(found)[:60]}"


def _equal(one: Any, other: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return abs(one - other) <= 1e-9 if numbers else bool(one == other)


def _few(lines: list[str]) -> str:
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "; ".join(lines[:_SHOWN]) + more


def _folder_name(repo_id: str) -> str:
    return repo_id.partition("@")[0].replace("/", "--")


@contextmanager
def _room(cache: str | Path | None) -> Iterator[Path]:
    if cache is None:
        with TemporaryDirectory(prefix="reclm-verify-") as scratch:
            yield Path(scratch)
        return
    folder = Path(cache).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
