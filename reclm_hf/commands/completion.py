"""`reclm completion`: a script for a shell, so that Tab completes commands, options, choices and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from .arguments import subparsers_of
from .output import finish

_INSTALL = """\
install it for good:
  bash   reclm completion bash > ~/.local/share/bash-completion/completions/reclm
  zsh    reclm completion zsh > ~/.zfunc/_reclm     (with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc)
  fish   reclm completion fish > ~/.config/fish/completions/reclm.fish
or for this shell only: `source <(reclm completion bash)`, in fish `reclm completion fish | source`.
"""
# Values of options that name nothing on this disk; what else takes a value is offered files.
_NO_FILE = {"API_KEY_ENV", "COLUMN", "FORMAT", "ID", "METRIC", "N", "NAME", "ORG/NAME", "PERIOD", "TEXT", "TIME", "URL"}
_NO_FILE |= {"USD", "USER", "X", "ZONE"}
# The same, of options without a name for their value (argparse takes that of the option).
_NO_FILE |= {"COLUMNS", "DELIMITER", "ENCODING", "ITEM", "KIND=SHARE,...", "LANGUAGE", "LORA_TARGETS", "REVISION"}
_NO_FILE |= {"REWARD_WEIGHTS", "SCHEDULE", "TITLE"}
_FOLDER = "FOLDER"


class Offer(NamedTuple):
    """What may stand at a place: words, and "file", "folder" or "" for what of the disk."""

    words: tuple[str, ...]
    disk: str


class Command(NamedTuple):
    """A command or a group of them.

    path: its words, "" for `reclm` itself. options: flag -> help. values: flag -> what may follow; flags that take
    nothing are not in it. several: flags that take more than one value. free: what may stand where no flag does:
    sub-commands, choices or files.
    """

    path: str
    options: dict[str, str]
    values: dict[str, Offer]
    several: list[str]
    free: Offer
    children: dict[str, str]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `completion`."""
    parser = subparsers.add_parser(
        "completion",
        help="print a script that completes commands, options and files in your shell",
        epilog=_INSTALL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=tuple(_SCRIPTS))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script, and nothing else: shells run what they read here."""
    from .main import build_parser

    script = _SCRIPTS[args.shell](list(commands(build_parser())))
    if args.json:
        return finish(args, [], {"shell": args.shell, "script": script}, "save it where `reclm completion -h` says")
    print(script, end="")
    return 0


def commands(parser: argparse.ArgumentParser, path: str = "") -> Iterator[Command]:
    """The parser and everything below it."""
    options: dict[str, str] = {}
    values: dict[str, Offer] = {}
    free = Offer((), "")
    for action in parser._actions:
        text = action.help if action.help and action.help != argparse.SUPPRESS else ""
        for flag in action.option_strings:
            options[flag] = " ".join((text % {**vars(action), "prog": parser.prog}).split())
            if action.nargs != 0:
                values[flag] = _offer(action)
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            offer = _offer(action)
            free = Offer((*free.words, *offer.words), free.disk or offer.disk)
    below = {name: child for group in subparsers_of(parser) for name, child in group.choices.items()}
    said = {choice.dest: choice.help or "" for group in subparsers_of(parser) for choice in group._choices_actions}
    several = [flag for action in parser._actions if action.nargs in ("+", "*") for flag in action.option_strings]
    children = {name: said[name] for name in below}
    yield Command(path, options, values, several, Offer((*free.words, *below), free.disk), children)
    for name, child in below.items():
        yield from commands(child, f"{path} {name}".strip())


def _offer(action: argparse.Action) -> Offer:
    if action.choices:
        return Offer(tuple(str(choice) for choice in action.choices), "")
    shown = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.type in (int, float) or shown in _NO_FILE:
        return Offer((), "")
    return Offer((), "folder" if shown == _FOLDER else "file")


# -- bash and zsh ------------------------------------------------------------------------------------------------------

_FIND = """\
# What may stand after the command "$1" and the word "$2": sets reclm_words and reclm_disk.
_reclm_offer() {
    reclm_words= reclm_disk=
    case "$1 $2" in
%(values)s
    esac
    case "$1 $reclm_flag" in
%(several)s
    esac
    case "$1" in
%(free)s
    esac
}
_reclm_options() {
    reclm_disk=
    case "$1" in
%(options)s
    esac
}
# The longest command that the words "$@" begin with, and the last flag: sets reclm_path and reclm_flag.
_reclm_command() {
    reclm_path= reclm_flag=
    local word
    for word in "$@"; do
        case "$word" in
            -*) reclm_flag=$word ;;
        esac
        case "$reclm_path $word" in
            %(paths)s) reclm_path="${reclm_path:+$reclm_path }$word" ;;
        esac
    done
}
"""

_BASH = """\
# Completion of `reclm` in bash; made by `reclm completion bash`.
%s
_reclm() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local reclm_words reclm_disk reclm_path reclm_flag IFS=$' \\t\\n'
    if [[ $current == = ]]; then current=; elif [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi
    _reclm_command "${COMP_WORDS[@]:1:COMP_CWORD-1}"
    if [[ $current == -* ]]; then _reclm_options "$reclm_path"; else _reclm_offer "$reclm_path" "$previous"; fi
    COMPREPLY=($(compgen -W "$reclm_words" -- "$current"))
    if [[ $reclm_disk ]]; then
        compopt -o filenames 2> /dev/null
        local kind=-f name
        if [[ $reclm_disk == folder ]]; then kind=-d; fi
        while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen $kind -- "$current")
    fi
}
complete -F _reclm reclm
"""

_ZSH = """\
#compdef reclm
# Completion of `reclm` in zsh; made by `reclm completion zsh`.
%s
_reclm() {
    local current=$words[CURRENT] previous=$words[CURRENT-1]
    local reclm_words reclm_disk reclm_path reclm_flag
    _reclm_command "${(@)words[2,CURRENT-1]}"
    if [[ $current == -* ]]; then _reclm_options "$reclm_path"; else _reclm_offer "$reclm_path" "$previous"; fi
    compadd -- ${=reclm_words}
    case $reclm_disk in
        file) _files ;;
        folder) _files -/ ;;
    esac
}
if [[ $funcstack[1] == _reclm ]]; then _reclm "$@"; else compdef _reclm reclm; fi
"""


def _cases(found: list[Command]) -> str:
    values, several, free, options = [], [], [], []
    for command in found:
        for flag, offer in command.values.items():
            values.append(f'        "{command.path} {flag}") {_set(offer)} return ;;')
            several += values[-1:] if flag in command.several else []
        free.append(f'        "{command.path}") {_set(command.free)} ;;')
        options.append(f'        "{command.path}") reclm_words="{" ".join(command.options)}" ;;')
    paths = "|".join(f'"{_parted(command.path)}"' for command in found if command.path)
    parts = {"values": values, "several": several, "free": free, "options": options}
    return _FIND % {**{name: "\n".join(lines) for name, lines in parts.items()}, "paths": paths}


def _parted(path: str) -> str:
    """As `_reclm_command` writes it: the command so far, a space, the next word."""
    before, _, last = path.rpartition(" ")
    return f"{before} {last}"


def _set(offer: Offer) -> str:
    return f'reclm_words="{" ".join(offer.words)}" reclm_disk={offer.disk};'


def _bash(found: list[Command]) -> str:
    return _BASH % _cases(found)


def _zsh(found: list[Command]) -> str:
    return _ZSH % _cases(found)


# -- fish --------------------------------------------------------------------------------------------------------------


# As `_reclm_command`: a word counts by its place, since a value may be called like a command.
_FISH = """\
# Completion of `reclm` in fish; made by `reclm completion fish`.
# Whether the longest command that the words before the cursor begin with is the one of these words.
function __reclm_at
    set -l path ''
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        switch "$path $word"
            case %s
                set path (string trim -- "$path $word")
        end
    end
    test "$path" = "$argv"
end
complete -c reclm -f
"""


def _fish(found: list[Command]) -> str:
    paths = " ".join(_quoted(_parted(command.path)) for command in found if command.path)
    lines = (_FISH % paths).splitlines()
    for command in found:
        start = f"complete -c reclm -n {_quoted(f'__reclm_at {command.path}'.strip())}"
        lines += [f"{start} -a {name} -d {_quoted(text)}" for name, text in command.children.items()]
        if not command.children:
            lines += [f"{start}{_fish_offer(command.free)}"] if any(command.free) else []
        for flag, text in command.options.items():
            name = f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}"
            takes = f" -r{_fish_offer(command.values[flag])}" if flag in command.values else ""
            lines.append(f"{start}{name}{takes} -d {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _fish_offer(offer: Offer) -> str:
    disk = {"": "", "file": " -F", "folder": ""}[offer.disk]
    words = " ".join(offer.words) + (" (__fish_complete_directories)" if offer.disk == "folder" else "")
    return disk + (f" -a {_quoted(words.strip())}" if words else "")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
