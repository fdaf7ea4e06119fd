"""`reclm sft`: tune a chat model on instructions, so that it writes profiles and answers for a person's taste."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from .dry_run import add_flags, show
from .output import finish

DESCRIPTION = "supervised tuning on instructions (two turns, loss on both replies; or a variant)"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `sft`."""
    fill(subparsers.add_parser("sft", help=DESCRIPTION))


def fill(parser: argparse.ArgumentParser) -> None:
    """The flags; a script of its own has the same ones."""
    from ..tuning.arguments import SftArguments
    from ..tuning.recipes import add_arguments

    add_arguments(parser, SftArguments)
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tune, and say what it brought."""
    from ..tuning.arguments import SftArguments
    from ..tuning.recipes import from_args

    settings = from_args(SftArguments, args)
    if args.dry_run:
        return show(args, settings)
    from ..tuning.sft import train_sft

    manifest = train_sft(settings, progress=not args.json)
    if not manifest:  # another process of the same run speaks
        return 0
    logging.getLogger().setLevel(logging.INFO)
    next_step = f"reclm profiles build --model {settings.output}"
    return finish(args, _lines(settings.output, manifest), {"output": settings.output, **manifest}, next_step)


def _lines(output: str, manifest: dict[str, Any]) -> list[str]:
    figures, cost = manifest["figures"], manifest["cost"]
    lines = [
        f"{output}: {figures['variant']} on {figures['rows']:,} chats, {figures['steps']:,} steps, "
        f"{figures['tokens_learnt']:,} tokens learnt of {figures['tokens_read']:,} read",
        f"loss {_shown(figures['loss_first'])} -> {_shown(figures['loss_last'])}",
    ]
    if figures["held_out_loss_before"] is not None:
        lines[-1] += (
            f"; on {figures['rows_held_out']:,} chats of held-out users {_shown(figures['held_out_loss_before'])} -> "
            f"{_shown(figures['held_out_loss_after'])}"
        )
    lines.append(
        f"{cost['wall_s']:,.0f} s ({cost['cpu_s']:,.0f} s of processor), {cost['peak_rss_mib']:,.0f} MiB at most"
    )
    return lines


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
