"""The parser of `reclm`: argparse, and a guess at what a mistyped command, option or value should have been."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

_BEHIND = "put it behind the command: "


class Parser(argparse.ArgumentParser):
    """Sub-parsers are made of the same class."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's, but what is not known is told by the command that was called, with a guess."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            called = next((leaf for leaf in leaves(self) if leaf.prog == getattr(found, "prog", self.prog)), self)
            called.error(f"unrecognized arguments: {' '.join(unknown)}{_guess(unknown, called)}")
        return found

    def error(self, message: str) -> NoReturn:
        """One line where there is a guess; else the usage too. The exit code is 2."""
        if "did you mean" in message or _BEHIND in message:
            self.exit(2, f"{self.prog}: error: {message}\n")
        super().error(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError:
            near = _near_command(self, str(value)) if isinstance(action, argparse._SubParsersAction) else []
            near = near or difflib.get_close_matches(str(value), [str(choice) for choice in action.choices or ()], n=1)
            if not near:
                raise
            raise argparse.ArgumentError(action, f"{value!r} is none of them; did you mean {near[0]!r}?") from None


def count(text: str) -> int:
    """A whole number from 1, as the type of an option.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1")
    return int(text)


def leaves(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers below `parser` that are commands, not groups of them; itself where it has none below."""
    groups = subparsers_of(parser)
    if not groups:
        return [parser]
    # A parser may stand under several names (aliases): each once.
    children = {id(child): child for group in groups for child in group.choices.values()}
    return [leaf for child in children.values() for leaf in leaves(child)]


def subparsers_of(parser: argparse.ArgumentParser) -> list[argparse._SubParsersAction[argparse.ArgumentParser]]:
    """The actions of a parser that hold its sub-commands."""
    return [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]


def _near_command(parser: argparse.ArgumentParser, word: str) -> list[str]:
    """`data describe` for `describe`, which stands one level below."""
    below = (leaf.prog.removeprefix(parser.prog).split() for leaf in leaves(parser))
    return [" ".join(names) for names in below if len(names) > 1 and names[-1] == word]


def _guess(unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    known = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    for word in unknown:
        near = difflib.get_close_matches(word.partition("=")[0], known, n=1) if word.startswith("-") else []
        if near == [word.partition("=")[0]]:
            return f"; {_BEHIND}{parser.prog} {word}"
        if near:
            return f"; did you mean {near[0]}?"
    return ""
