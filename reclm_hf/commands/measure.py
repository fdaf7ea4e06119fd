"""`reclm measure`: what the profiles of a model are like, as of a cut, and against another model's in pairs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish, quoted
from .threads import add_threads

if TYPE_CHECKING:
    from ..data.splits import Split, Splits
    from ..tuning.measures.stage import Subjects

_DRAWN, _MEASURED = 600, 400
USERS_FILE = "users.txt"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `measure`."""
    from ..data.bundled import DEFAULT

    parser = subparsers.add_parser("measure", help="measure a model's profiles before or after a stage of tuning")
    parser.add_argument("model", metavar="MODEL", help="Hub id or folder: chat model, merged or adapter profiler")
    parser.add_argument("--revision", help="of the model on the Hub")
    parser.add_argument("--data", default=DEFAULT, help="a folder, a name or a Hub id (%(default)s)")
    parser.add_argument("--cut", choices=("validation", "test"), default="validation", help="as of which cut")
    parser.add_argument(
        "--profiles",
        metavar="FOLDER",
        help="of `reclm profiles build`, whose neighbours are shown; default: those shipped with bundled data",
    )
    parser.add_argument(
        "--users",
        default=str(_DRAWN),
        metavar="FILE|N",
        help="ids one a line, or how many to draw (%(default)s); tuning leaves them out with --without-users",
    )
    parser.add_argument(
        "--measured", type=int, default=_MEASURED, metavar="N", help="of them that figures are about (%(default)s)"
    )
    parser.add_argument(
        "--instructions",
        metavar="TABLE",
        help="dialogues of two turns, for the AUC of Yes and No: file, folder, Hub id",
    )
    parser.add_argument("--against", metavar="FOLDER", help="of an earlier `reclm measure`: paired differences to it")
    parser.add_argument("--stage", metavar="NAME", help="what tables call it; default: the output's last part")
    parser.add_argument("--no-free", action="store_true", help="leave out the profiles without forced slots")
    parser.add_argument("--batch-size", type=int, default=16, help="prompts decoded together (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the users that are drawn, and of the intervals")
    parser.add_argument(
        "--users-only", action="store_true", help="draw the users, write their file to --output and stop"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/measures/NAME of the model")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, resumably, and print the table."""
    from ..data.load import load_splits
    from ..data.tables import write_parquet
    from ..pipeline.memory import keep_freed_memory
    from ..pipeline.threads import note_idle_cores
    from ..profiler.modeling_reclm_profiler import RecLMProfiler
    from ..tuning.measures.compare import MEASURE_COLUMNS, compare, measure_lines
    from ..tuning.measures.stage import TABLE, load_measured, measure_profiler

    folder = args.output or Path("runs") / "measures" / Path(args.model).name
    before = load_measured(args.against) if args.against else None  # refused before anything is computed
    splits = load_splits(args.data)
    split = {"validation": splits.validation, "test": splits.test}[args.cut]
    if args.users_only:
        return _users_only(args, split, folder)
    subjects = _subjects(args, splits, split, folder)
    keep_freed_memory()
    note_idle_cores()
    profiler = RecLMProfiler.from_pretrained(args.model, args.revision)
    stage = args.stage or folder.name
    found = measure_profiler(profiler, subjects, folder, stage, batch_size=args.batch_size, free=not args.no_free)
    table = compare(before, found, args.seed)
    write_parquet(table, folder / TABLE, MEASURE_COLUMNS)
    lines = [f"{stage}: {profiler.label}, {len(found.users)} of {len(subjects.drawn)} users as of the {split.name} cut"]
    lines += [*measure_lines(table), f"table: {folder / TABLE}"]
    result = {"stage": stage, "model": profiler.label, "folder": str(folder), "measures": table.to_dict("records")}
    return finish(
        args, lines, result, f"reclm measure TUNED --users {quoted(folder / USERS_FILE)} --against {quoted(folder)}"
    )


def _users_only(args: argparse.Namespace, split: Split, folder: Path) -> int:
    users = _drawn(args, split, _neighbors(args, split)[1], folder)
    path = folder / USERS_FILE
    lines = [f"{len(users)} users: {path}"]
    return finish(args, lines, {"users": str(path), "drawn": len(users)}, f"reclm sft --without-users {quoted(path)}")


def _neighbors(args: argparse.Namespace, split: Split) -> Any:
    """The profiles as of the cut, and whom each of their users is shown with."""
    from ..profiles.instructions import neighbor_rows
    from .profile_options import asked_profiles

    profiles = asked_profiles(args, split.name, "user")
    return profiles, neighbor_rows(profiles, split)


def _drawn(args: argparse.Namespace, split: Split, neighbors: Any, folder: Path) -> Any:
    from ..tuning.held_out import draw_users, read_users, write_users

    if args.users.isdecimal():
        users = draw_users(split, neighbors, int(args.users), args.seed)
    else:
        users = read_users(split, args.users)
    write_users(split, users, folder / USERS_FILE)
    return users


def _subjects(args: argparse.Namespace, splits: Splits, split: Split, folder: Path) -> Subjects:
    from ..pipeline.texts import encode_items
    from ..profiles.leakage import certify
    from ..recommender.text_encoder import TextEncoder
    from ..tuning.held_out import measured
    from ..tuning.inputs import read_instructions
    from ..tuning.measures.measures import Reference
    from ..tuning.measures.stage import Subjects

    profiles, neighbors = _neighbors(args, split)
    certify(profiles, split, splits.data.items).require()
    users = _drawn(args, split, neighbors, folder)
    instructions = read_instructions(args.instructions) if args.instructions else None
    encoder = TextEncoder()
    reference = Reference.of(split, encode_items(splits.data, encoder), profiles, neighbors, encoder)
    chosen = measured(split, users, neighbors, args.measured, args.seed)
    return Subjects(reference, splits.data.items, users, chosen, instructions)
