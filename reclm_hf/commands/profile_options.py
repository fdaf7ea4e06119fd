"""Options that commands about profiles share: what writes them, how items are shown, and where tables are read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ..data.profile_tables import Side
    from ..profiles.prompts import PromptStyle

_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_SHOWN = ("title", "categories")


def add_writing_options(parser: argparse.ArgumentParser) -> None:
    """Register what writes the profiles, and `add_style_options`."""
    engine = parser.add_argument_group("what writes the profiles")
    add_model_options(engine, "Hub id or folder of a chat model; with --base-url, the name that the server knows")
    engine.add_argument("--batch-size", type=int, default=32, help="profiles written together, or asked for at once")
    engine.add_argument(
        "--base-url",
        metavar="URL",
        help="an OpenAI-compatible server (vLLM, `transformers serve`, ...) instead of a model loaded here; its key is "
        "read from the environment",
    )
    engine.add_argument("--api-key-env", metavar="NAME", help="the environment variable that holds the server's key")
    engine.add_argument("--price-in", type=float, metavar="USD", help="of a million tokens read, for the cost meter")
    engine.add_argument("--price-out", type=float, metavar="USD", help="of a million tokens written")
    add_style_options(parser)


def add_model_options(parser: argparse._ActionsContainer, what: str) -> None:
    """Register --model and --revision. what: the help of the former."""
    parser.add_argument("--model", default=_MODEL, help=what)
    parser.add_argument("--revision", help="of the model on the Hub")


def add_style_options(parser: argparse.ArgumentParser) -> None:
    """Register the options that `style_of` reads."""
    shown = parser.add_argument_group("how items are shown")
    shown.add_argument(
        "--columns",
        default=",".join(_SHOWN),
        help="columns of the item table, in this order: title, categories, text (%(default)s)",
    )
    shown.add_argument("--language", default="English", help="of the profiles (%(default)s)")


def profiles_path(args: argparse.Namespace, cut: str, side: Side, build: str = "") -> Path:
    """The file of the profiles that the options ask for: in --profiles, else beside bundled data.

    Args:
        args: with `data` and `profiles`. cut: "validation" or "test"; "" for a folder of no cut.
        build: options of `reclm profiles build` that would write such profiles, for the error.

    Raises:
        TableError: neither is there.
    """
    from ..data.bundled import bundled_names, bundled_profiles_path
    from ..data.tables import TableError

    if args.profiles:
        return Path(args.profiles) / cut / f"{side}_profiles.parquet"
    if args.data in bundled_names():
        return bundled_profiles_path(args.data, cut, side)
    command = " ".join(filter(None, ["reclm profiles build", args.data, build]))
    raise TableError(f"{args.data} comes without profiles: run `{command}` and give its folder with --profiles.")


def asked_profiles(args: argparse.Namespace, cut: str, side: Side) -> pd.DataFrame:
    """The table that the options ask for; see `profiles_path`.

    Raises:
        TableError: there is none, or it cannot be used.
    """
    from ..data.profile_tables import read_profiles

    return read_profiles(profiles_path(args, cut, side), side)


def style_of(args: argparse.Namespace) -> PromptStyle:
    """The style that the options ask for."""
    from ..profiles.prompts import PromptStyle

    columns = tuple(column.strip() for column in args.columns.split(",") if column.strip())
    return PromptStyle(columns=columns, language=args.language)


def engine_of(args: argparse.Namespace) -> Any:
    """The engine that the options ask for."""
    if args.base_url:
        from ..profiles.engine_openai import OpenAIEngine

        if args.revision:
            raise ValueError("--revision is of a model loaded here; a server with --base-url serves what it serves.")
        return OpenAIEngine(
            args.base_url,
            args.model,
            api_key_env=args.api_key_env,
            concurrency=args.batch_size,
            price_in=args.price_in,
            price_out=args.price_out,
        )
    from ..pipeline.memory import keep_freed_memory
    from ..profiles.engine_transformers import TransformersEngine

    keep_freed_memory()
    return TransformersEngine.from_model_id(args.model, args.revision, batch_size=args.batch_size)


def meter_lines(engine: Any) -> list[str]:
    """What a server was asked and what that cost; nothing for a model loaded here."""
    meter = getattr(engine, "meter", None)
    return [] if meter is None else [str(meter)]
