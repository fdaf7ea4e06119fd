"""`reclm space`: a page in the browser, of a run, a folder or a Hub id; or a folder that becomes a Space of the Hub."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from .output import finish, quoted
from .threads import add_threads

if TYPE_CHECKING:
    from ..space.settings import Settings

_CHOICES = ("tables", "profiles", "results", "profiler", "title")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `space`."""
    parser = subparsers.add_parser("space", help="look at a recommender in the browser, or export it as a Space")
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder of a run (runs/demo) or of a recommender, its Hub id, or the folder of a Space",
    )
    parser.add_argument("--profiler", metavar="ID", help="folder or Hub id of what writes profiles live; default: none")
    beside = parser.add_argument_group("what is shown beside the recommender; default: what its manifest names")
    beside.add_argument("--tables", metavar="DATA", help="a folder, a name or a Hub id of the data")
    beside.add_argument("--profiles", metavar="FOLDER", help="of `reclm profiles build`; default: beside the data")
    beside.add_argument("--results", metavar="FOLDER", help="of `reclm evaluate`, or a Hub id")
    beside.add_argument("--title", metavar="TEXT", help="of the page")
    parser.add_argument("--host", metavar="NAME", default="127.0.0.1", help="0.0.0.0: for other machines too")
    parser.add_argument("--port", metavar="N", type=int, help="default: the first free one from 7860")
    parser.add_argument("--share", action="store_true", help="a public address through Gradio's servers")
    parser.add_argument(
        "--export", metavar="FOLDER", type=Path, help="write a folder that `reclm push` makes a Space of; start nothing"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be loaded from where; load nothing")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the page until it is interrupted, or export it, or say what would be shown."""
    settings = _settings(args)
    if args.dry_run:
        return _said(args, settings)
    if args.export is not None:
        return _exported(args, settings)
    return _served(args, settings)


def _settings(args: argparse.Namespace) -> Settings:
    from ..space.settings import SETTINGS_FILE, read_settings, settings_of, with_choices

    folder = Path(args.source).expanduser()
    found = read_settings(folder, os.environ) if (folder / SETTINGS_FILE).is_file() else settings_of(args.source)
    return with_choices(found, **{name: getattr(args, name) for name in _CHOICES})


def _served(args: argparse.Namespace, settings: Settings) -> int:
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise ImportError("The page needs Gradio: pip install 'reclm-hf[space]'.")
    from ..pipeline.threads import note_idle_cores
    from ..space.app import start

    if settings.profiler:
        note_idle_cores()
    stdout = sys.stdout

    def ready(url: str) -> None:
        shown = [f"{settings.title}: {url}", f"  recommender {settings.recommender}"]
        with redirect_stdout(stdout):
            finish(args, shown, {"url": url, **_named(settings)}, f"open {url} in a browser; Ctrl-C ends it")
        stdout.flush()  # the command goes on, and a pipe would hold it back

    # Gradio prints when it ends, and would break the one JSON object of `--json`.
    with redirect_stdout(sys.stderr):
        start(settings, args.host, args.port, share=args.share, ready=ready)
    return 0


def _exported(args: argparse.Namespace, settings: Settings) -> int:
    from ..space.export import FILES, export_space

    found = export_space(settings, args.export)
    lines = [f"{found.folder}: {', '.join(FILES)}", *_lines(found.settings)]
    if found.private:
        lines.append(
            f"private: {', '.join(found.private)}; give the Space a token that may read them, as its secret HF_TOKEN"
        )
    result = {"folder": str(found.folder), "private": found.private, **_named(found.settings)}
    return finish(args, lines, result, f"reclm push {quoted(found.folder)} ORG/NAME")


def _said(args: argparse.Namespace, settings: Settings) -> int:
    if args.export is not None:
        from ..space.export import FILES, require_exportable

        require_exportable(settings)
        lines = [f"would write {args.export}: {', '.join(FILES)}", *_lines(settings)]
    else:
        lines = ["would load:", *_lines(settings)]
    return finish(args, lines, {"dry_run": _named(settings)}, "the same command without --dry-run")


def _lines(settings: Settings) -> list[str]:
    return [f"  {name:<12} {value or 'none'}" for name, value in _named(settings).items()]


def _named(settings: Settings) -> dict[str, str | None]:
    from ..space.settings import NAMES

    return {name: getattr(settings, name) for name in NAMES}
