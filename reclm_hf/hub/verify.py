"""Verify: whether what a repository says of itself is so. Files, card and manifest are compared, figures run again."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .checking import Artefact, Check
from .kinds import require_files
from .manifest import MANIFEST, check_files, read_manifest, without_nan
from .pull import pull
from .records import DETAILS_OF_RUN
from .staging import CARD, PushOptions, stager_of, take
from .verify_models import check_adapter, check_recommender, check_reward_model

__all__ = ["Check", "verify"]

_SHOWN = 5
_NAMES = ("format", "kind", "repo_id", "title", "reclm_hf", "files")
"""Parts of a manifest that say nothing that could be wrong, and `files`, which have a check of their own."""

_OF_RUN = ("license", "inputs", "seed", "settings", "versions", "cost", "measures")
_OF_MODEL = (*_OF_RUN, *(f"details.{name}" for name in DETAILS_OF_RUN))
_OF_EVALUATION = ("data", "profiles", "certificates", "test_opened")
_CARRIED = {
    "recommender": (*_OF_MODEL, *_OF_EVALUATION, "figures"),
    "profiler-adapter": _OF_MODEL,
    "profiler": _OF_MODEL,
    "reward-model": _OF_MODEL,
    "results": (*_OF_RUN, *_OF_EVALUATION),
}
"""Parts that a run wrote down, as far as the files do not tell them; other kinds have none."""

_RUN_AGAIN = ("figures", "data", "inputs.tables")
"""Parts of a recommender that `check_recommender` looks at."""


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
        OSError: the repository cannot be reached, or nobody may see it. ValueError: a revision of a folder, or two.
    """
    local = Path(source).expanduser()
    if revision is not None and not local.is_dir() and "@" in str(source):
        raise ValueError(f"{source} names a revision, and so does the revision {revision}: give one.")
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
    unknown: list[str] = []
    yield _run("manifest", lambda: _manifest(artefact, unknown))
    more: dict[str, Callable[[Artefact], Iterator[Check]]] = {
        "recommender": check_recommender,
        "profiler-adapter": check_adapter,
        "profiler": check_adapter,
        "reward-model": check_reward_model,
    }
    if artefact.kind.name in more:
        yield from more[artefact.kind.name](artefact)
    if unknown:
        why = "as they were pushed: the files do not tell, and nothing was run to find out"
        yield Check(", ".join(unknown), True, why, skipped=True)


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


def _manifest(artefact: Artefact, unknown: list[str]) -> str:
    """Stage the files once more: what the manifest says of them must come out again.

    Args:
        unknown: is filled with the parts that files cannot tell.
    """
    found, stated, kind = _again(artefact), artefact.manifest, artefact.kind.name
    wrong: list[str] = []
    for part in sorted(set(stated) - set(_NAMES)):
        there, again = (_by_role(one[part]) if part == "inputs" else one.get(part) for one in (stated, found))
        for name, line in _differences(part, there, again, _CARRIED.get(kind, ())):
            if line:
                wrong.append(line)
            elif kind != "recommender" or name not in _RUN_AGAIN:
                unknown.append(name)
            elif name == "data":  # fingerprint, counts and cuts are compared with those of the tables
                unknown += [f"data.{key}" for key in ("attribution", "license") if stated["data"].get(key)]
    if wrong:
        raise ValueError(_few(wrong))
    return "what it says of the files is what they hold"


def _again(artefact: Artefact) -> dict[str, Any]:
    """The manifest that the files give by themselves: without the one beside them, and without a run around them."""
    folder, stated = artefact.folder, artefact.manifest
    options = PushOptions(kind=artefact.kind.name, code=bool(stated["details"].get("code")))
    with TemporaryDirectory(dir=artefact.scratch) as scratch:
        bare, place = Path(scratch) / "bare", Path(scratch) / "place"
        place.mkdir()
        # What a Space is stands in its card, and in the manifest as far as the card is rendered from it.
        beside = (CARD, MANIFEST) if artefact.kind.repo_type == "space" else ()
        take(folder, bare, [name for name in (*stated["files"], *beside) if (folder / name).is_file()])
        require_files(bare, artefact.kind)
        try:
            found: dict[str, Any] = without_nan(stager_of(artefact.kind)(bare, place, stated["repo_id"], options))
        except ValueError as error:
            raise ValueError(str(error).replace(str(bare), str(folder))) from error
    return found


def _by_role(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Inputs by their role; several of one role as a list."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in inputs:
        found.setdefault(entry["role"], []).append(entry)
    return {role: entries if len(entries) > 1 else entries[0] for role, entries in found.items()}


def _differences(name: str, stated: Any, found: Any, carried: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Where two plain values differ, and what is said of it: nothing where files cannot tell what is right."""
    if name in ("versions", "test_opened") and name in carried and stated not in (None, "no", {}):
        yield name, ""  # of the run, where the files tell another one's
    elif _empty(found) and _empty(stated):
        return
    elif _empty(found) and (name in carried or name.rpartition(".")[0] in carried or name.endswith(".redrawn")):
        yield name, ""
    elif isinstance(stated, Mapping) and isinstance(found, Mapping):
        for key in sorted({*stated, *found}, key=str):
            yield from _differences(f"{name}.{key}", stated.get(key), found.get(key), carried)
    elif isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
        for number, (one, other) in enumerate(zip(stated, found, strict=True), start=1):
            yield from _differences(f"{name}[{number}]", one, other, carried)
    elif not _equal(stated, found):
        yield name, f"{name}: the manifest says {str(stated)[:60]}, the files say {str(found)[:60]}"


def _empty(value: Any) -> bool:
    return value is None or value in ({}, [], "")


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
