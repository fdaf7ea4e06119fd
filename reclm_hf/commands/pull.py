"""`reclm pull`: an artefact from the Hub as a folder, every file compared with its manifest."""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import finish, quoted


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `pull`."""
    parser = subparsers.add_parser(
        "pull",
        help="fetch an artefact from the Hub, checked against its manifest",
        description="Fetch what `reclm push` wrote. Nothing stands at the output folder until all of it is there and "
        "equals its manifest. Cut off anywhere, the same command goes on.",
    )
    parser.add_argument("repo_id", metavar="ORG/NAME", help="repository, also as ORG/NAME@REVISION")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: a folder of the repository's name")
    parser.add_argument("--revision", help="commit, tag or branch; default: main")
    parser.add_argument(
        "--type", choices=("model", "dataset", "space"), dest="repo_type", help="default: looked for in this order"
    )
    parser.add_argument("--with-code", action="store_true", help="of a recommender: its code files too, never run here")
    parser.add_argument("--endpoint", metavar="URL", help="another server than the Hub; default: HF_ENDPOINT")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch."""
    from ..hub.client import plain_id
    from ..hub.manifest import read_manifest
    from ..hub.pull import pull

    repo_id, named = plain_id(args.repo_id)
    if named and args.revision:
        raise ValueError(f"{args.repo_id} names a revision, and so does --revision {args.revision}: give one.")
    folder = pull(
        args.repo_id,
        args.output or Path(repo_id.split("/")[1]),
        repo_type=args.repo_type,
        revision=args.revision,
        endpoint=args.endpoint,
        code=args.with_code,
    )
    kind = read_manifest(folder)["kind"]
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    result = {"repo_id": repo_id, "folder": str(folder), "kind": kind, "files": files}
    return finish(args, [f"{repo_id}: {kind}, {len(files)} files in {folder}"], result, _next(kind, folder))


def _next(kind: str, folder: Path) -> str:
    return {
        "recommender": f"reclm recommend {quoted(folder)} USER",
        "tables": f"reclm data describe {quoted(folder)}",
        "profiler": f"reclm profiles build --model {quoted(folder)}",
        "profiler-adapter": f"reclm profiles build --model {quoted(folder)}",
        "results": f"read {folder / 'README.md'}",
    }.get(kind, f"reclm verify {quoted(folder)}")
