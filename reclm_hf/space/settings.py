"""What a Space loads, and from where: read from `settings.json`, or found out from a run, a folder or a Hub id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..data.folder import write_json
from ..hub.kinds import SPACE_SETTINGS

SETTINGS_FILE = SPACE_SETTINGS
VARIABLE = "RECLM_SPACE_"
"""What the names of environment variables begin with; RECLM_SPACE_TITLE, for instance, is the title."""


@dataclass(frozen=True)
class Settings:
    """Which artefacts a Space shows; a Hub id may name a revision, `org/name@revision`.

    Attributes:
        recommender: folder or Hub id.
        tables: folder, name of a bundled data set or Hub id of the tables (items, profiles); None: no texts, no
            profiles.
        results: folder or Hub id with `results.parquet`; None: no figures are shown.
        profiler: folder or Hub id of what writes profiles live; None: no language model is loaded.
        title: of the page.
        profiles: folder of `reclm profiles build`, where the profiles do not lie beside the tables.
    """

    recommender: str
    tables: str | None = None
    results: str | None = None
    profiler: str | None = None
    title: str = "Cold-start recommendations"
    profiles: str | None = None


NAMES = tuple(field.name for field in fields(Settings))
_PLACES = ("recommender", "tables", "results", "profiler", "profiles")


def read_settings(folder: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of a Space: `settings.json` in its folder, overridden by environment variables.

    A folder that the file names by a relative path lies beside the file. An empty variable leaves an optional part out.

    Args:
        environ: such as `os.environ`; `RECLM_SPACE_RECOMMENDER` and so on, one for each field of `Settings`.

    Raises:
        ValueError: the file is broken or says something unknown, a variable has an unknown name, or nobody names a
            recommender; names the file or the variable.
    """
    found = _of_file(folder / SETTINGS_FILE) | _of_variables(environ)
    if not found.get("recommender"):
        raise ValueError(
            f"{folder / SETTINGS_FILE}: names no recommender. `reclm space SOURCE --export FOLDER` writes such a file; "
            f"or set {VARIABLE}RECOMMENDER to a folder or a Hub id."
        )
    return Settings(**found)


def settings_of(source: str) -> Settings:
    """What a Space of a run, of a recommender's folder or of a Hub id shows; see `sources`.

    Raises:
        OSError, ValueError: there is no recommender; names the source and the way out.
    """
    from .sources import settings_of

    return settings_of(source)


def write_settings(settings: Settings, folder: Path) -> Path:
    """Write `settings.json`; what is None is left out. Raises OSError or TableError where it cannot be written."""
    path = folder / SETTINGS_FILE
    write_json({name: value for name, value in asdict(settings).items() if value is not None}, path)
    return path


def with_choices(settings: Settings, **choices: str | None) -> Settings:
    """The settings with what somebody chose instead; None leaves a part as it is."""
    return replace(settings, **{name: value for name, value in choices.items() if value is not None})


def _of_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}): repair it, or write it again with `reclm space`.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds {type(found).__name__}, not names and values.")
    for name, value in found.items():
        if name not in NAMES:
            raise ValueError(f"{path}: {name!r} is no setting; choose from {', '.join(NAMES)}.")
        if not (isinstance(value, str) and value.strip()) and not (value is None and name in _PLACES[1:]):
            raise ValueError(f"{path}: {name}={value!r}: a text is needed{' or null' if name in _PLACES[1:] else ''}.")
    return {name: _beside(path.parent, value) if name in _PLACES else value for name, value in found.items()}


def _beside(folder: Path, value: str | None) -> str | None:
    """A relative path of a folder beside the file as one that is found from anywhere."""
    return str(folder / value) if value is not None and (folder / value).is_dir() else value


def _of_variables(environ: Mapping[str, str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for variable in sorted(name for name in environ if name.startswith(VARIABLE)):
        name, value = variable.removeprefix(VARIABLE).lower(), environ[variable].strip()
        if name not in NAMES:
            known = ", ".join(VARIABLE + known.upper() for known in NAMES)
            raise ValueError(f"{variable}: there is no such setting; the variables are {known}.")
        if value or name in _PLACES[1:]:
            found[name] = value or None
        elif name == "recommender":
            raise ValueError(f"{variable} is empty: name a folder or a Hub id, or unset it.")
    return found
