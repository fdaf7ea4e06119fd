"""`reclm push`: an artefact, or a whole run, to the Hub, with its manifest and a card rendered from it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish

if TYPE_CHECKING:
    from ..hub.publish import Pushed
    from ..hub.staging import PushOptions, Staged

# Written out: importing the kinds here would slow down every command.
KINDS = ("recommender", "profiler-adapter", "profiler", "reward-model", "tables", "results", "space", "metric")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `push`."""
    parser = subparsers.add_parser(
        "push",
        help="push an artefact to the Hub, in one commit",
        description="Push a recommender, profiler, reward model, tables, results, Space or metric, or a whole run of "
        "`reclm demo`. The token comes from HF_TOKEN or `hf auth login`. What holds ids or profiles of users becomes "
        "a private repository. Cut off anywhere, the same command goes on.",
    )
    parser.add_argument("source", metavar="SOURCE", help="folder of the artefact or of a run, or a bundled data set")
    parser.add_argument("repo_id", metavar="ORG/NAME", help="repository; made where it is not there")
    parser.add_argument("--kind", choices=KINDS, help="default: told by the files")
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--private", action="store_true", help="a new repository is not for everybody")
    access.add_argument("--public", action="store_true", help="everybody may see it, even where it holds user data")
    parser.add_argument("--dry-run", action="store_true", help="list the files and show the card; push nothing")
    parser.add_argument("--title", help="of the card; default: the repository's name")
    parser.add_argument("--license", metavar="ID", help="a licence identifier of the Hub, e.g. mit or cc-by-4.0")
    parser.add_argument(
        "--with-code",
        action="store_true",
        help="of a recommender: its code files too, for people without this package (trust_remote_code)",
    )
    inputs = parser.add_argument_group("what it came from; ORG/NAME is pinned to its newest commit, or give @COMMIT")
    inputs.add_argument("--tables", metavar="ORG/NAME", help="the data set repository of a recommender or of results")
    inputs.add_argument("--base-model", metavar="ORG/NAME", help="the model that an adapter belongs on")
    inputs.add_argument("--results", metavar="FOLDER", help="of `reclm evaluate`: the figures of a recommender")
    beside = parser.add_argument_group("what travels beside tables")
    for name in ("profiles", "instructions", "preferences"):
        beside.add_argument(f"--{name}", metavar="FOLDER", help=f"of `reclm {name} build`")
    parser.add_argument("--endpoint", metavar="URL", help="another server than the Hub; default: HF_ENDPOINT")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Push, or show what would be pushed."""
    from ..data.bundled import bundled_folder, bundled_names
    from ..hub.publish import push
    from ..hub.runs import is_run, push_run

    shared: dict[str, Any] = {"endpoint": args.endpoint, "dry_run": args.dry_run}
    source = bundled_folder(args.source) if args.source in bundled_names() else Path(args.source)
    if args.kind is None and is_run(source):
        _require_no_inputs(args)
        found = list(push_run(source, args.repo_id, _options(args), **shared))
    else:
        found = [push(source, args.repo_id, _options(args), **shared)]
    return _said(args, found)


def _options(args: argparse.Namespace) -> PushOptions:
    from ..hub.staging import PushOptions

    return PushOptions(
        kind=args.kind,
        private=True if args.private else False if args.public else None,
        code=args.with_code,
        license=args.license,
        title=args.title,
        tables=args.tables,
        base_model=args.base_model,
        results=args.results,
        profiles=args.profiles,
        instructions=args.instructions,
        preferences=args.preferences,
    )


def _require_no_inputs(args: argparse.Namespace) -> None:
    names = ("tables", "base_model", "results", "profiles", "instructions", "preferences")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]
    if given:
        raise ValueError(
            f"{', '.join(given)}: {args.source} is a whole run, which brings its own. Push one of its recommenders by "
            "its folder (models/NAME/model) to choose."
        )


def _said(args: argparse.Namespace, found: list[Pushed | Staged]) -> int:
    from ..hub.publish import Pushed

    pushed = [one for one in found if isinstance(one, Pushed)]
    if not pushed:
        return _said_dry(args, [one for one in found if not isinstance(one, Pushed)])
    lines = [
        f"{one.url}: {len(one.files)} files, commit {one.revision}{'' if one.changed else ' (nothing had changed)'}"
        for one in pushed
    ]
    result = {
        "pushed": [
            {
                "repo_id": one.repo_id,
                "repo_type": one.repo_type,
                "url": one.url,
                "revision": one.revision,
                "files": one.files,
                "changed": one.changed,
            }
            for one in pushed
        ]
    }
    shown = next((one for one in pushed if one.repo_type == "model"), pushed[0])
    return finish(args, lines, result, f"reclm verify {shown.repo_id}   (or reclm pull {shown.repo_id})")


def _said_dry(args: argparse.Namespace, staged: list[Staged]) -> int:
    lines: list[str] = []
    for one in staged:
        lines += [
            f"{one.manifest['repo_id']}: {one.kind.name}, {len(one.files)} files, {_size(sum(one.sizes.values()))}"
        ]
        lines += [f"  {_size(size):>10}  {name}" for name, size in one.sizes.items()]
        lines += ["", one.card]
    result = {
        "dry_run": [
            {
                "repo_id": one.manifest["repo_id"],
                "kind": one.kind.name,
                "repo_type": one.kind.repo_type,
                "files": one.sizes,
                "card": one.card,
            }
            for one in staged
        ]
    }
    return finish(args, lines, result, "the same command without --dry-run pushes it")


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
