"""`reclm instructions`: chats to tune a profiler on, from profiles of one's own or from a named source."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import finish, quoted
from .profile_options import (
    add_model_options,
    add_style_options,
    add_without_users,
    asked_profiles,
    style_of,
    without_users,
)
from .threads import add_threads

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from ..data.splits import Split, Splits
    from ..profiles.instructions import Instructions

TABLE_FILE = "instructions.parquet"
_FACTS = {
    "popularity": "popularity",
    "shown_by": "neighbours showing it",
    "had_by": "neighbours having it",
    "place": "how recent it is in their lists",
    "read": "the profile was written from it",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `instructions` with its subcommands."""
    from ..data.bundled import DEFAULT

    parser = subparsers.add_parser("instructions", help="chats to tune a profiler on")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="two-turn dialogues about users and their neighbours")
    build.add_argument(
        "data", metavar="DATA", nargs="?", default=DEFAULT, help=f"a folder, a name or a Hub id ({DEFAULT})"
    )
    build.add_argument(
        "--profiles", metavar="FOLDER", help="of `reclm profiles build`; default: the tables shipped with bundled data"
    )
    build.add_argument("--cut", choices=("validation", "test"), default="validation", help="as of which cut")
    build.add_argument("--side", choices=("user", "item"), default="user", help="whose profiles are asked for")
    build.add_argument(
        "--variant",
        choices=("mask", "naive", "distill"),
        help="mask (the default): two turns, loss on both replies; naive: on the last reply only; distill: one turn, "
        "from a history to its profile; of items always distill",
    )
    build.add_argument(
        "--per-user", type=int, default=2, metavar="N", help="dialogues, half Yes, half No (%(default)s)"
    )
    build.add_argument("--match-popularity", action="store_true", help="each No is about as popular as its Yes")
    build.add_argument(
        "--unread", action="store_true", help="ask only about items that the user's profile was not written from"
    )
    build.add_argument("--seed", type=int, default=0)
    add_without_users(build)
    _add_shared(build)
    add_threads(build)
    build.set_defaults(run=run_build)

    imported = actions.add_parser("import", help="the ChatGPT-3.5 profiles of RecLM's authors, from their data release")
    imported.add_argument("source", metavar="SOURCE", type=Path, help="the release's folder mind or netflix")
    imported.add_argument(
        "--pairs", type=Path, metavar="FOLDER", help="with the CSV files; default: ../sft/NAME beside SOURCE, or SOURCE"
    )
    _add_shared(imported)
    imported.set_defaults(run=run_import)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser, "whose chat template and tokens count")
    add_style_options(parser)
    parser.add_argument(
        "--max-tokens", type=int, default=1024, metavar="N", help="of a chat; histories are cut to fit (%(default)s)"
    )
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print the first N chats")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: below runs/NAME/instructions")


def run_build(args: argparse.Namespace) -> int:
    """Write the chats of one cut."""
    from ..data.load import load_splits

    if args.side == "item" and (args.variant not in (None, "distill") or args.match_popularity or args.unread):
        raise ValueError(
            "--side item makes chats of one turn (distill): nothing is asked about, so leave out --variant, "
            "--match-popularity and --unread."
        )
    splits = load_splits(args.data)
    split = {"validation": splits.validation, "test": splits.test}[args.cut]
    tokenizer, label = _tokenizer(args)
    users, left_out = without_users(args, asked_profiles(args, split.name, "user"))
    make = _of_items if args.side == "item" else _of_users
    made = make(args, splits, split, users, tokenizer)
    kind = "item" if args.side == "item" else args.variant or "mask"
    folder = args.output or Path("runs") / splits.data.name / "instructions" / split.name / kind
    lineage = {
        "dataset": splits.data.name,
        "fingerprint": splits.fingerprint,
        "cut": split.cut,
        "generator": sorted(set(users["generator"].dropna())),
        "seed": args.seed,
        "per_user": args.per_user,
        "match_popularity": args.match_popularity,
        "unread": args.unread,
        **left_out,
    }
    result, lines = _write(args, made, folder, {**lineage, **_settings(args, label)})
    lines[0] += f", as of the {split.name} cut"
    return finish(args, lines, result, f"reclm preferences build {quoted(args.data)} --cut {split.name}")


def run_import(args: argparse.Namespace) -> int:
    """Write the profiles of the release and the chats made of them."""
    from ..data.importers.chatgpt_pairs import SOURCE, read_chatgpt_pairs
    from ..data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS, write_parquet
    from ..profiles.imported_pairs import import_pairs

    pairs = read_chatgpt_pairs(args.source, args.pairs)
    tokenizer, label = _tokenizer(args)
    made = import_pairs(pairs, tokenizer, max_tokens=args.max_tokens, style=style_of(args))
    folder = args.output or Path("runs") / pairs.name / "instructions" / "chatgpt"
    write_parquet(made.user_profiles, folder / "user_profiles.parquet", PROFILE_COLUMNS)
    write_parquet(made.item_profiles, folder / "item_profiles.parquet", ITEM_PROFILE_COLUMNS)
    lineage = {"dataset": pairs.name, "generator": [SOURCE], "profiles": made.counts}
    result, lines = _write(args, made.instructions, folder, {**lineage, **_settings(args, label)})
    lines += [
        f"{count['rows']:,} profiles of {side}: {count['well_formed']:,} well-formed once their punctuation is mended "
        f"({count['as_written']:,} as written), {count['malformed']:,} malformed"
        for side, count in made.counts.items()
    ]
    lines.append(f"source: {SOURCE}; for research, not to be passed on")
    result["profiles"] = made.counts
    return finish(args, lines, result, f"reclm data import {quoted(args.source)} --format reclm-release")


def _of_users(
    args: argparse.Namespace, splits: Splits, split: Split, users: pd.DataFrame, tokenizer: PreTrainedTokenizerBase
) -> Instructions:
    from ..profiles.instructions import build_instructions, neighbor_rows
    from ..profiles.leakage import certify

    items = splits.data.items
    certify(users, split, items).require()
    return build_instructions(
        split,
        items,
        neighbor_rows(users, split),
        users,
        tokenizer,
        variant=args.variant or "mask",
        n_per_user=args.per_user,
        max_tokens=args.max_tokens,
        seed=args.seed,
        match_popularity=args.match_popularity,
        unread=args.unread,
        style=style_of(args),
        progress=True,
    )


def _of_items(
    args: argparse.Namespace, splits: Splits, split: Split, users: pd.DataFrame, tokenizer: PreTrainedTokenizerBase
) -> Instructions:
    from ..pipeline.texts import encode_items
    from ..profiles.item_instructions import build_item_instructions, similar_items
    from ..profiles.leakage import certify, certify_items
    from ..recommender.text_encoder import TextEncoder

    items = splits.data.items
    profiles = asked_profiles(args, split.name, "item")
    certify(users, split, items).require()
    certify_items(profiles, split, items, users).require()
    similar = similar_items(profiles, split.item_ids, encode_items(splits.data, TextEncoder()))
    return build_item_instructions(
        items, profiles, users, tokenizer, similar=similar, max_tokens=args.max_tokens, style=style_of(args)
    )


def _write(
    args: argparse.Namespace, made: Instructions, folder: Path, lineage: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Write the table and what is known of it; returns the result and its lines."""
    from ..data.folder import write_json
    from ..data.tables import INSTRUCTION_COLUMNS, TableError, write_parquet

    if not len(made.table):
        reasons = "; ".join(f"{count} ({reason})" for reason, count in made.skipped.items())
        raise TableError(f"No chat can be made: {reasons}. Give more tokens (--max-tokens) or other profiles.")
    path = folder / TABLE_FILE
    write_parquet(made.table, path, INSTRUCTION_COLUMNS)
    figures, lines = _figures(made)
    result = {"instructions": str(path), **figures}
    write_json({**result, **lineage}, folder / "instructions.json")
    lines = [f"{len(made.table):,} chats: {path}", *lines]
    if args.show:
        shown = [list(messages) for messages in made.table["messages"].iloc[: args.show]]
        result["examples"] = shown
        lines += [line for chat in shown for line in _chat_lines(chat)]
    return result, lines


def _figures(made: Instructions) -> tuple[dict[str, Any], list[str]]:
    """How many chats of which kind and length there are, what was left out, and what a single fact would give away."""
    from ..profiles.instruction_sampling import shortcut_aucs

    labels, tokens = made.table["label"], made.facts["tokens"]
    result: dict[str, Any] = {
        "rows": len(made.table),
        "yes": int(labels.eq(True).sum()),
        "no": int(labels.eq(False).sum()),
        "tokens": {"median": float(tokens.median()), "max": int(tokens.max())},
        "skipped": made.skipped,
        "neighbors_left_out": made.neighbors_left_out,
    }
    lines = []
    if "label" in made.facts:
        result["shortcuts"] = {name: round(value, 4) for name, value in shortcut_aucs(made.facts).items()}
        told = ", ".join(f"{_FACTS[name]} {value:.3f}" for name, value in result["shortcuts"].items())
        lines.append(f"{result['yes']:,} Yes, {result['no']:,} No")
        lines.append(f"what single facts tell of the answer (AUC, 0.5 is nothing): {told}")
    if "form" in made.facts:
        result["forms"] = {str(form): int(count) for form, count in made.facts["form"].value_counts().items()}
        lines.append("one turn, from " + ", ".join(f"{form} {count:,}" for form, count in result["forms"].items()))
    lines.append(f"tokens: median {tokens.median():.0f}, most {tokens.max():.0f}")
    lines += [f"left out: {count} ({reason})" for reason, count in made.skipped.items()]
    if made.neighbors_left_out:
        lines.append(f"not shown: {made.neighbors_left_out} neighbours without a well-formed profile")
    return result, lines


def _chat_lines(chat: list[dict[str, str]]) -> list[str]:
    from .terminal import plain

    lines = [""]
    for message in chat:
        lines.append(f"[{message['role']}]")
        lines += [f"  {plain(line)}" for line in message["content"].split("\n")]
    return lines


def _settings(args: argparse.Namespace, tokenizer: str) -> dict[str, Any]:
    from ..profiles.dialogues import DIALOGUE_VERSION
    from ..profiles.item_prompts import ITEM_PROMPT_VERSION
    from ..profiles.prompts import PROMPT_VERSION

    versions = {"dialogue": DIALOGUE_VERSION, "user": PROMPT_VERSION, "item": ITEM_PROMPT_VERSION}
    shown = {"columns": args.columns, "language": args.language, "max_tokens": args.max_tokens}
    return {"prompt_versions": versions, "tokenizer": tokenizer, **shown}


def _tokenizer(args: argparse.Namespace) -> tuple[PreTrainedTokenizerBase, str]:
    from ..bundles import resolve_model
    from ..profiler.processing_reclm_profiler import load_tokenizer

    resolved = resolve_model(args.model, args.revision)
    return load_tokenizer(resolved.path), resolved.label
