"""`reclm reward`: train a model that tells the better of two profiles of a user."""

from __future__ import annotations

import argparse
from typing import Any

from .output import finish, quoted
from .stage_options import cost_line, figure, show
from .stage_options import fill as fill_stage

DESCRIPTION = "a reward model from preference pairs: which of two profiles is the better"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `reward`."""
    fill(subparsers.add_parser("reward", help=DESCRIPTION))


def fill(parser: argparse.ArgumentParser) -> None:
    """The flags; a script of its own has the same ones."""
    from ..tuning.arguments import RewardArguments

    fill_stage(parser, RewardArguments, run)


def run(args: argparse.Namespace) -> int:
    """Train, and say how well held-out pairs are told apart."""
    from ..tuning.arguments import RewardArguments
    from ..tuning.recipes import from_args

    settings = from_args(RewardArguments, args)
    if args.dry_run:
        return show(args, settings)
    from ..pipeline.threads import note_idle_cores
    from ..tuning.rewards.training import train_reward

    note_idle_cores()
    manifest = train_reward(settings, progress=not args.json)
    if not manifest:  # another process of the same run speaks
        return 0
    next_step = f"reclm refine --reward-model {quoted(settings.output)}"
    return finish(args, _lines(settings.output, manifest), {"output": settings.output, **manifest}, next_step)


def _lines(output: str, manifest: dict[str, Any]) -> list[str]:
    figures, cost = manifest["figures"], manifest["cost"]
    first, last = (figure(figures[name]) for name in ("loss_first", "loss_last"))
    lines = [f"{output}: {figures['rows']:,} pairs, {figures['steps']:,} steps, loss {first} -> {last}"]
    lines += [f"left out: {count} ({reason})" for reason, count in figures["rows_left_out"].items()]
    if figures["accuracy"] is None:
        lines.append("accuracy: not known, no user was held out")
    else:
        lines.append(f"accuracy on held-out users: {_accuracy(figures)}, mean margin {figures['margin']:.3f}")
        lines += [f"  {kind}: {_accuracy(found)}" for kind, found in figures["accuracy_by_kind"].items()]
        lines.append(f"the better profile is the longer one in {figures['longer_is_chosen']:.3f} of them")
    return [*lines, cost_line(cost)]


def _accuracy(found: dict[str, Any]) -> str:
    return f"{found['accuracy']:.3f} [{found['low']:.3f}, {found['high']:.3f}] of {found['pairs']:,} pairs"
