"""`reclm profiles`: build, update and show the profiles of users and items."""

from __future__ import annotations

import argparse

from . import profiles_build, profiles_show, profiles_update


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `profiles` with its subcommands."""
    parser = subparsers.add_parser("profiles", help="write, renew and look at profiles of users and items")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    profiles_build.add_build(actions)
    profiles_update.add_update(actions)
    profiles_show.add_show(actions)
