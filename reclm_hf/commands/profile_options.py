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
_FORMS = ("examples", "plain", "own", "dialogue")


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


def add_form_options(parser: argparse.ArgumentParser, default: str | None, usual: str) -> None:
    """Register the options that `form_of` reads. usual: says in the help what the default is."""
    form = parser.add_argument_group("how profiles are asked for")
    form.add_argument(
        "--form",
        choices=_FORMS,
        default=default,
        help="examples: with worked examples, for models as they come; plain: without; own: without similar users too, "
        f"as `instructions --variant distill`; dialogue: as the first turn of the other variants; default: {usual}",
    )
    form.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help="of a chat in the forms own and dialogue; default: what a profiler was tuned with, else 1024",
    )
    form.add_argument(
        "--tokenizer",
        metavar="ID",
        help="that counts them, where a server's model has another name; default: --model's",
    )


def profiles_path(args: argparse.Namespace, cut: str, side: Side, build: str = "") -> Path:
    """The file of the profiles that the options ask for: in --profiles, else beside the data.

    Args:
        args: with `data` and `profiles`, each a folder or a Hub id. cut: "validation" or "test"; "" for a folder of no
            cut.
        build: options of `reclm profiles build` that would write such profiles, for the error.

    Raises:
        TableError: neither is there.
    """
    from ..data.bundled import bundled_names, bundled_profiles_path
    from ..data.hub_tables import profiles_beside
    from ..data.tables import TableError

    if args.profiles:
        return profiles_beside(args.profiles, cut, side)
    if args.data in bundled_names():
        return bundled_profiles_path(args.data, cut, side)
    beside = profiles_beside(args.data, cut, side)
    if beside.is_file():
        return beside
    command = " ".join(filter(None, ["reclm profiles build", args.data, build]))
    raise TableError(f"{args.data} comes without profiles: run `{command}` and give its folder with --profiles.")


def asked_profiles(args: argparse.Namespace, cut: str, side: Side) -> pd.DataFrame:
    """The table that the options ask for; see `profiles_path`.

    Raises:
        TableError: there is none, or it cannot be used.
    """
    from ..data.profile_tables import read_profiles

    return read_profiles(profiles_path(args, cut, side), side)


def add_without_users(parser: argparse.ArgumentParser) -> None:
    """Register --without-users."""
    parser.add_argument(
        "--without-users",
        metavar="FILE",
        help="a user id a line, those of `reclm measure --users-only`: no rows about them, and their profiles nowhere",
    )


def without_users(args: argparse.Namespace, profiles: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Profiles of all but the users that --without-users names, and a note of these for the lineage.

    To leave out rows about them later is not enough: as similar people they have profiles in what others' rows teach.
    A neighbour without a profile is not shown in dialogues.

    Raises:
        OSError, TableError: the file cannot be read or names nobody.
    """
    from ..tuning.inputs import read_user_ids
    from ..tuning.outputs import input_digest

    if args.without_users is None:
        return profiles, {}
    kept = ~profiles["user_id"].astype(str).isin(read_user_ids(args.without_users))
    return profiles[kept].reset_index(drop=True), {"without_users": input_digest(args.without_users)}


def style_of(args: argparse.Namespace) -> PromptStyle:
    """The style that the options ask for."""
    from ..profiles.prompts import PromptStyle

    columns = tuple(column.strip() for column in args.columns.split(",") if column.strip())
    return PromptStyle(columns=columns, language=args.language)


def form_of(args: argparse.Namespace, engine: Any = None) -> dict[str, Any]:
    """What a writer of requests is told of their form, as keyword arguments; nothing for the usual form.

    Args:
        engine: what writes the profiles, if it is there: it knows what its model was tuned with, and has a tokenizer.

    Raises:
        ValueError: a form that needs a tokenizer, a server, and no --tokenizer.
    """
    from ..profiles.forms import CHAT_TOKENS, COUNTED, EXAMPLES_FORM

    form = args.form or getattr(engine, "form", EXAMPLES_FORM)
    if form == EXAMPLES_FORM:
        return {}
    if form not in COUNTED:
        return {"form": form}
    return {
        "form": form,
        "tokenizer": _tokenizer_of(args, engine),
        "max_tokens": args.max_tokens or getattr(engine, "max_tokens", CHAT_TOKENS),
    }


def _tokenizer_of(args: argparse.Namespace, engine: Any) -> Any:
    from ..bundles import resolve_model
    from ..profiler.processing_reclm_profiler import load_tokenizer

    if args.tokenizer:
        return load_tokenizer(resolve_model(args.tokenizer).path)
    if hasattr(engine, "tokenizer"):
        return engine.tokenizer
    if args.base_url:
        raise ValueError(f"--form {args.form} counts tokens: name the Hub id or folder of a --tokenizer.")
    return load_tokenizer(resolve_model(args.model, args.revision).path)


def engine_of(args: argparse.Namespace) -> Any:
    """The engine that the options ask for; of a profiler of ours its own, which knows its form."""
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
    from ..pipeline.threads import note_idle_cores
    from ..profiles.engine_transformers import TransformersEngine

    keep_freed_memory()
    note_idle_cores()
    if _is_profiler(args):
        from ..profiler.modeling_reclm_profiler import RecLMProfiler

        return RecLMProfiler.from_pretrained(args.model, args.revision).engine(args.batch_size)
    return TransformersEngine.from_model_id(args.model, args.revision, batch_size=args.batch_size)


def _is_profiler(args: argparse.Namespace) -> bool:
    from ..bundles import BUNDLES, resolve_model
    from ..profiler.configuration_reclm_profiler import PROFILER_CONFIG

    if args.model in BUNDLES:  # chat models as they come; the Hub need not be asked
        return False
    return (Path(resolve_model(args.model, args.revision).path) / PROFILER_CONFIG).is_file()


def meter_lines(engine: Any) -> list[str]:
    """What a server was asked and what that cost; nothing for a model loaded here."""
    meter = getattr(engine, "meter", None)
    return [] if meter is None else [str(meter)]
