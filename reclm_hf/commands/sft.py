"""`reclm sft`: tune a chat model on instructions, so that it writes profiles and answers for a person's taste."""

from __future__ import annotations

import argparse
from typing import Any

from .output import finish, quoted
from .stage_options import cost_line, figure, show
from .stage_options import fill as fill_stage

DESCRIPTION = "supervised tuning on instructions (two turns, loss on both replies; or a variant)"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `sft`."""
    fill(subparsers.add_parser("sft", help=DESCRIPTION))


def fill(parser: argparse.ArgumentParser) -> None:
    """The flags; a script of its own has the same ones."""
    from ..tuning.arguments import SftArguments

    fill_stage(parser, SftArguments, run)


def run(args: argparse.Namespace) -> int:
    """Tune, and say what it brought."""
    from ..tuning.arguments import SftArguments
    from ..tuning.recipes import from_args

    settings = from_args(SftArguments, args)
    if args.dry_run:
        return show(args, settings)
    from ..pipeline.threads import note_idle_cores
    from ..tuning.sft import train_sft

    note_idle_cores()
    manifest = train_sft(settings, progress=not args.json)
    if not manifest:  # another process of the same run speaks
        return 0
    next_step = f"reclm profiles build --model {quoted(settings.output)}"
    return finish(args, _lines(settings.output, manifest), {"output": settings.output, **manifest}, next_step)


def _lines(output: str, manifest: dict[str, Any]) -> list[str]:
    figures, cost = manifest["figures"], manifest["cost"]
    lines = [
        f"{output}: {figures['variant']} on {figures['rows']:,} chats, {figures['steps']:,} steps, "
        f"{figures['tokens_learnt']:,} tokens learnt of {figures['tokens_read']:,} read",
        f"loss {figure(figures['loss_first'])} -> {figure(figures['loss_last'])}",
    ]
    if figures["held_out_loss_before"] is not None:
        lines[-1] += (
            f"; on {figures['rows_held_out']:,} chats of held-out users {figure(figures['held_out_loss_before'])} -> "
            f"{figure(figures['held_out_loss_after'])}"
        )
        told = figures.get("held_out_profiles_told")
        if told:
            lines[-1] += f" ({told:,} of their {figures['held_out_profiles']:,} profiles are told in others' chats)"
    return [*lines, cost_line(cost)]
