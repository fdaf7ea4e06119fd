"""Settings from flags, from a YAML recipe, or from both: flags win over the recipe, the recipe over the defaults."""

from __future__ import annotations

import argparse
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .arguments import StageArguments

RECIPE = "recipe.yaml"
_Settings = TypeVar("_Settings", bound="StageArguments")
_RECIPE_FLAG = "config"


def add_arguments(parser: argparse.ArgumentParser, settings: type[StageArguments]) -> None:
    """A flag for every field of a dataclass of settings, and `--config` for a recipe."""
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="recipe with the same names as the flags; flags win over it"
    )
    hints = typing.get_type_hints(settings)
    for entry in fields(settings):
        kind = _plain_type(hints[entry.name])
        if kind is None:
            continue  # names and values: in a recipe only
        flag, text = "--" + entry.name.replace("_", "-"), _help(entry)
        # No defaults here: what was not given must be told from what was given as the default.
        if kind is bool:
            action = argparse.BooleanOptionalAction
            parser.add_argument(flag, action=action, default=argparse.SUPPRESS, help=text)
        else:
            choices = entry.metadata.get("choices")
            metavar = None if choices else {int: "N", float: "X"}.get(kind, entry.name.upper())
            parser.add_argument(flag, type=kind, default=argparse.SUPPRESS, choices=choices, metavar=metavar, help=text)


def _plain_type(hint: Any) -> type | None:
    """str, int, float or bool of a field, optional or not; None for anything else."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return hint if hint in (str, int, float, bool) else None


def _help(entry: Any) -> str:
    text = str(entry.metadata.get("help", ""))
    usual = entry.default
    if usual in (None, "", MISSING) or isinstance(usual, bool):
        return text.replace("%", "%%")
    return f"{text} ({usual})".replace("%", "%%")


def from_args(settings: type[_Settings], args: argparse.Namespace) -> _Settings:
    """The settings that flags and recipe of a parsed command line make.

    Raises:
        ValueError: a recipe that cannot be read, an unknown key, a value of the wrong type, a missing or meaningless
            setting; names the file and the key.
    """
    recipe = getattr(args, _RECIPE_FLAG, None)
    given = {} if recipe is None else read_recipe(recipe, settings)
    names = {entry.name for entry in fields(settings)}
    given |= {name: value for name, value in vars(args).items() if name in names}
    return settings(**given)


def read_recipe(path: str | Path, settings: type[StageArguments]) -> dict[str, Any]:
    """What a YAML file says, checked against the fields of a dataclass of settings.

    Raises:
        ValueError, OSError: see `from_args`.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds {type(content).__name__}, not names and values.")
    hints = typing.get_type_hints(settings)
    unknown = sorted(str(name) for name in content if name not in hints)
    if unknown:
        raise ValueError(
            f"{path}: {', '.join(unknown)} is no setting of this stage; it knows {', '.join(sorted(hints))}. Options "
            "of TRL itself belong below `trainer:`."
        )
    return {name: _checked(path, name, value, hints[name]) for name, value in content.items()}


def _checked(path: str | Path, name: str, value: Any, hint: Any) -> Any:
    kind = _plain_type(hint)
    if kind is None:
        if not isinstance(value, Mapping):
            raise ValueError(f"{path}: {name}={value!r}: give names and values below it.")
        return dict(value)
    if value is None and type(None) in typing.get_args(hint):
        return None
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 2e-4 as a text
        except ValueError:
            pass
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{path}: {name}={value!r} is {type(value).__name__}, not {kind.__name__}.")
    return value


def write_recipe(args: StageArguments, folder: Path) -> None:
    """`recipe.yaml`: what differs from the defaults; with it the stage can be run again.

    Where it is written is left out, since that is another place the next time.
    """
    import yaml

    usual = {entry.name: entry.default for entry in fields(args)}
    said = {name: value for name, value in asdict(args).items() if name != "output" and value != usual[name]}
    said = {name: value for name, value in said.items() if name != "trainer" or value}
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True) if said else "{}\n"
    (folder / RECIPE).write_text(text, encoding="utf-8")
