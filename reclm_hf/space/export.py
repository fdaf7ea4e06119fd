"""A folder that `reclm push` makes a Space of: the app, its card, and settings that pin every part to a commit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.bundled import bundled_names
from ..data.folder import write_text
from ..data.hub_tables import hub_id
from ..hub.manifest import MANIFEST
from .parts import manifest_of
from .settings import SETTINGS_FILE, Settings, write_settings

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_TEMPLATE = "spaces/cold_start"
_README, _TAKEN = "README.md", ("app.py", "requirements.txt")
FILES = (*_TAKEN, _README, SETTINGS_FILE)
_TYPES = {"recommender": "model", "tables": "dataset", "results": "dataset", "profiler": "model"}
_ENCODER = "text_encoder"


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, the settings with every repository pinned, and which of these are private."""

    folder: Path
    settings: Settings
    private: list[str]


def export_space(settings: Settings, folder: Path) -> Exported:
    """Write the folder of a Space; an earlier export in its place is written anew.

    A recommender that everybody may read is fetched while the Space is built (`preload_from_hub`), everything else when
    it starts.

    Args:
        settings: as of `settings_of`, of a Hub id: a Space on the Hub cannot read this machine's folders.

    Raises:
        ValueError: a part is a folder. FileExistsError: the folder holds something else.
        OSError: a repository is not there or may not be seen, or the folder cannot be written.
    """
    from ..hub.client import hub_api

    _require_free(folder)
    require_exportable(settings)
    pinned, private = _pinned(settings, hub_api())
    template = template_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name in _TAKEN:
        shutil.copyfile(template / name, folder / name)
    write_text(_readme(template / _README, pinned, private), folder / _README)
    write_settings(pinned, folder)
    return Exported(folder, pinned, private)


def require_exportable(settings: Settings) -> None:
    """Raise ValueError, naming the part and the way out, unless the Hub has everything that the settings name."""
    for part, source in _parts(settings):
        if hub_id(source) is None and not (part == "tables" and source in bundled_names()):
            raise ValueError(
                f"{part} is the folder {source}, which a Space on the Hub cannot read: push it (`reclm push RUN "
                "ORG/NAME` pushes tables, recommender and results of a run), then export from ORG/NAME."
            )
    if settings.profiles is not None:
        raise ValueError(
            f"profiles is the folder {settings.profiles}: push it with the tables (`reclm push DATA ORG/NAME-tables "
            "--profiles FOLDER`), and name these with --tables."
        )


def template_folder() -> Path:
    """Where the app's own files are: within the package where it was installed from a wheel, beside it in a checkout.

    Raises:
        FileNotFoundError: in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for place in (package / _TEMPLATE, package.parent / _TEMPLATE):
        if (place / _README).is_file():
            return place
    raise FileNotFoundError(f"The files of the Space ({_TEMPLATE}/) are missing: install reclm-hf again.")


def _parts(settings: Settings) -> Iterator[tuple[str, str]]:
    """The parts that the settings name, and where they are said to be."""
    for part in _TYPES:
        source = getattr(settings, part)
        if source is not None:
            yield part, source


def _require_free(folder: Path) -> None:
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    strange = [name for name in there if name not in FILES]
    if strange or (there and SETTINGS_FILE not in there) or folder.is_file():
        raise FileExistsError(
            f"{folder} holds something else than an exported Space ({(strange or there or [folder.name])[0]}): choose "
            "another folder."
        )


def _pinned(settings: Settings, api: HfApi) -> tuple[Settings, list[str]]:
    """The settings with every repository at a full commit, and the repositories that not everybody may read."""
    from ..hub.client import hub_errors

    pins: dict[str, Any] = {}
    private = []
    for part, source in _parts(settings):
        found = hub_id(source)
        if found is None:
            continue
        with hub_errors(found[0], "looking up the commit of"):
            info = api.repo_info(found[0], repo_type=_TYPES[part], revision=found[1])
        pins[part] = f"{found[0]}@{info.sha}"
        private += [found[0]] if info.private else []
    return replace(settings, **pins), private


def _readme(path: Path, settings: Settings, private: list[str]) -> str:
    """The template's card, with title and repositories in its front matter."""
    import yaml

    from ..hub.stage_spaces import front_matter

    front, text = front_matter(path.parent)
    front["title"] = settings.title
    for repo_type, field in (("model", "models"), ("dataset", "datasets")):
        front[field] = list(dict.fromkeys(_repositories(settings, repo_type)))
    preload = list(_preloaded(settings, private))
    if preload:
        front["preload_from_hub"] = preload
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)}---\n{text}"


def _repositories(settings: Settings, repo_type: str) -> Iterator[str]:
    for part, source in _parts(settings):
        found = hub_id(source)
        if found is not None and _TYPES[part] == repo_type:
            yield found[0]
    if repo_type == "model":
        yield from _encoder(settings)


def _encoder(settings: Settings) -> Iterator[str]:
    """The text encoder that the recommender's manifest names, which the Space fetches too."""
    for entry in manifest_of(settings.recommender, "model").get("inputs") or ():
        if entry.get("role") == _ENCODER and entry.get("repo_id"):
            yield str(entry["repo_id"])


def _preloaded(settings: Settings, private: list[str]) -> Iterator[str]:
    """Only what is open: while a Space is built, no token is at hand."""
    found, files = hub_id(settings.recommender), manifest_of(settings.recommender, "model").get("files")
    if found is not None and files and found[0] not in private:
        yield f"{found[0]} {','.join([*sorted(files), MANIFEST])} {found[1]}"
