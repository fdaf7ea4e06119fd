"""`reclm refine`: let a tuned profiler learn from a reward, near the model that it began as."""

from __future__ import annotations

import argparse
from typing import Any

from .output import finish, quoted
from .stage_options import cost_line, figure, show
from .stage_options import fill as fill_stage

DESCRIPTION = "refinement by a reward under a KL penalty: ppo, or without a critic rloo and grpo"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `refine`."""
    fill(subparsers.add_parser("refine", help=DESCRIPTION))


def fill(parser: argparse.ArgumentParser) -> None:
    """The flags; a script of its own has the same ones."""
    from ..tuning.arguments import RefineArguments

    fill_stage(parser, RefineArguments, run)


def run(args: argparse.Namespace) -> int:
    """Refine, and say what it brought on prompts of held-out users."""
    from ..pipeline.threads import note_idle_cores
    from ..tuning.arguments import RefineArguments
    from ..tuning.policies.refine import require_rewards, train_refined
    from ..tuning.recipes import from_args

    settings = from_args(RefineArguments, args)
    require_rewards(settings)
    if args.dry_run:
        return show(args, settings)
    note_idle_cores()
    manifest = train_refined(settings, progress=not args.json)
    if not manifest:  # another process of the same run speaks
        return 0
    next_step = f"reclm profiles build --model {quoted(settings.output)}"
    return finish(args, _lines(settings.output, manifest), {"output": settings.output, **manifest}, next_step)


def _lines(output: str, manifest: dict[str, Any]) -> list[str]:
    figures, cost = manifest["figures"], manifest["cost"]
    lines = [
        f"{output}: {figures['algorithm']} on {figures['prompts']:,} prompts, reward {figures['reward']}, "
        f"{figures['updates']:,} updates; KL {figure(figures['kl_first'])} -> {figure(figures['kl_last'])} nats a reply"
    ]
    lines += [f"left out: {count} ({reason})" for reason, count in figures["prompts_left_out"].items()]
    if figures["stopped_by"]:
        lines.append(f"stopped early: {figures['stopped_by']}")
    lines.append(f"greedy replies to {figures['judged']:,} prompts of {figures['judged_on']}:")
    for name, (mean, low, high) in figures["change"].items():
        before, after = figures["before"][name], figures["after"][name]
        lines.append(f"  {name} {before:.3f} -> {after:.3f}, {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    return [*lines, cost_line(cost)]
