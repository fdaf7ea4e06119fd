"""Spaces, and the `evaluate` metrics that live in one: what the Hub could not run is said before a push.

What a Space is stands in the front matter of its README.md; the manifest takes it over, and the card is written from
the manifest as all others are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.folder import file_sha256
from .client import plain_id
from .kinds import KINDS, SPACE_SETTINGS, Kind
from .manifest import MANIFEST, input_entry, new_manifest, read_manifest
from .records import read_record, run_record
from .safety import check_names

if TYPE_CHECKING:
    from .staging import PushOptions

_README = "README.md"
_FIELDS = (
    "sdk",
    "sdk_version",
    "python_version",
    "app_file",
    "suggested_hardware",
    "short_description",
    "emoji",
    "colorFrom",
    "colorTo",
    "preload_from_hub",
)
_SHORT = 60  # characters of `short_description` that the Hub takes
_LINKED = {"models": "model", "datasets": "tables"}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PINNED = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})", re.ASCII)


def stage_space(source: Path, place: Path, repo_id: str, options: PushOptions) -> dict[str, Any]:
    """Bring a Gradio Space into the empty folder `place`.

    Args:
        source: a folder with `README.md`, `app.py` and `requirements.txt`; also one that was pulled. What its
            `settings.json` names at a commit is an input of that commit.

    Returns:
        The manifest without `files`.

    Raises:
        ValueError: front matter that the Hub would not take, an app that is not there or no Python, or a version of
            gradio in `requirements.txt`, which the Hub takes from the front matter.
    """
    from .staging import listing

    app = front_matter(source)[0].get("app_file", "app.py")
    if app not in listing(source):
        raise ValueError(f"{source / _README}: app_file is {app!r}, which is not there.")
    _require_own_gradio(source / "requirements.txt")
    _take(source, place, KINDS["space"])
    return _manifest("space", source, repo_id, options)


def stage_metric(source: Path, place: Path, repo_id: str, options: PushOptions) -> dict[str, Any]:
    """Bring an `evaluate` metric, which is a Space with its script, into the empty folder `place`.

    Raises:
        ValueError: as `stage_space`; also a repository that has another name than the script, or a script whose
            imports `evaluate` cannot read.
    """
    front_matter(source)
    script = source / f"{plain_id(repo_id)[0].split('/')[1]}.py"
    if not script.is_file():
        there = ", ".join(sorted(path.name for path in source.glob("*.py") if path.name != "app.py")) or "no script"
        raise ValueError(
            f"{repo_id}: `evaluate.load` looks for {script.name} there, and {source} holds {there}. Give the "
            "repository the name of the script."
        )
    for line in _joined_imports(_parsed(script)):
        raise ValueError(f"{script}, line {line}: `evaluate` reads one import a line. Divide it.")
    _require_own_gradio(source / "requirements.txt")
    _take(source, place, KINDS["metric"])
    return _manifest("metric", source, repo_id, options)


def front_matter(source: Path) -> tuple[dict[str, Any], str]:
    """The front matter of a Space's README.md, and its text.

    Raises:
        ValueError: none, no YAML, or values that the Hub does not take; names them.
    """
    import yaml
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    path = source / _README
    content = path.read_text(encoding="utf-8") if path.is_file() else ""
    block = REGEX_YAML_BLOCK.search(content)
    if block is None:
        raise ValueError(
            f"{path}: a Space needs front matter: lines `title: ...`, `sdk: gradio` and `sdk_version: ...` between two "
            "lines of three dashes, at the beginning of the file."
        )
    try:
        front = yaml.safe_load(block[2])
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: the front matter is no YAML ({error}).") from error
    if not isinstance(front, dict):
        raise ValueError(f"{path}: the front matter holds {type(front).__name__}, not names and values.")
    _check_front(front, path)
    return front, content[block.end() :]


def _check_front(front: Mapping[str, Any], path: Path) -> None:
    if front.get("sdk") != "gradio":
        raise ValueError(f"{path}: sdk is {front.get('sdk')!r}; only `sdk: gradio` is pushed.")
    for name in ("sdk_version", "python_version"):
        value = front.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{path}: {name} is the number {value}; put it in quotes, or 3.10 is read as 3.1.")
    if not isinstance(front.get("sdk_version"), str):
        raise ValueError(f"{path}: `sdk_version` is missing: without it the Hub takes whichever Gradio is newest.")
    if len(str(front.get("short_description", ""))) > _SHORT:
        raise ValueError(f"{path}: short_description has more than the {_SHORT} characters that the Hub takes.")
    for name in _LINKED:
        entries = front.get(name) or []
        if not isinstance(entries, list):
            raise ValueError(f"{path}: {name} is a list of Hub ids.")
        for entry in entries:
            plain_id(str(entry))


def _require_own_gradio(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if re.match(r"gradio\s*([\[=<>~!;@]|$)", line.strip()):
            raise ValueError(
                f"{path}, line {number}: leave gradio out, the Hub installs the `sdk_version` of {_README}; two wishes "
                "can contradict each other."
            )


def _take(source: Path, place: Path, kind: Kind) -> None:
    """Bring the files on the allow-list, after a look at whether the Python among them is any."""
    from .staging import listing, take

    names = [name for name in listing(source) if not _is_litter(name)]
    names = check_names(names, kind)
    for name in names:
        if name.endswith(".py"):
            _parsed(source / name)
    take(source, place, names)


def _is_litter(name: str) -> bool:
    """Card and manifest, which are written anew, and what Python and editors leave behind."""
    return name in (_README, MANIFEST) or any(part.startswith((".", "__pycache__")) for part in name.split("/"))


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no Python ({error}).") from error


def _joined_imports(tree: ast.Module) -> Iterator[int]:
    """Lines with several imports."""
    yield from (node.lineno for node in ast.walk(tree) if isinstance(node, ast.Import) and len(node.names) > 1)


def _manifest(kind: str, source: Path, repo_id: str, options: PushOptions) -> dict[str, Any]:
    front, text = front_matter(source)
    pins = {**dict(_preloaded(front)), **dict(_pinned(source))}
    linked = [(str(name), role) for field, role in _LINKED.items() for name in front.get(field) or []]
    said = {
        "title": front.get("title") or repo_id.split("/")[-1],
        "license": front.get("license"),
        "inputs": [input_entry(role, name, name, pins.get(name)) for name, role in linked],
        "details": {**{name: front[name] for name in _FIELDS if name in front}, "description": _description(text)},
    }
    said |= _as_pulled(source, tuple(said))
    parts = {"title": str(options.title or said["title"]), "license": options.license or said["license"]}
    return new_manifest(kind, repo_id, **{**said, **parts})


def _as_pulled(source: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Parts of the manifest beside a card that was rendered from it: a card does not show all of them, nor literally.

    Nothing where the card was written by hand, or changed since: then it is the newer of the two.
    """
    from .cards import render_card

    if run_record(source) or not (source / MANIFEST).is_file():
        return {}
    earlier = read_manifest(source)
    if render_card(earlier) != (source / _README).read_text(encoding="utf-8"):
        return {}
    settings, noted = source / SPACE_SETTINGS, earlier["files"].get(SPACE_SETTINGS)
    if settings.is_file() and (noted is None or file_sha256(settings) != noted["sha256"]):
        names = tuple(name for name in names if name != "inputs")  # it names other commits now
    return {name: earlier[name] for name in names}


def _preloaded(front: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Repository and commit of the entries `org/name files commit`."""
    for entry in front.get("preload_from_hub") or []:
        words = str(entry).split()
        if len(words) > 1 and _COMMIT.fullmatch(words[-1]):
            yield words[0], words[-1]


def _pinned(source: Path) -> Iterator[tuple[str, str]]:
    """Repository and commit of what `settings.json` names as `org/name@commit`."""
    for value in read_record(source / SPACE_SETTINGS).values():
        found = _PINNED.fullmatch(value) if isinstance(value, str) else None
        if found:
            yield found[1], found[2]


def _description(text: str) -> str | None:
    """The first paragraph below the headings."""
    paragraphs = (part.strip() for part in text.split("\n\n"))
    return next((" ".join(part.split()) for part in paragraphs if part and not part.startswith(("#", "```"))), None)
