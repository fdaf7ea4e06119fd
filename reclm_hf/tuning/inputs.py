"""Tables that a stage reads: by file, by folder, or by Hub id; and whose rows it must leave alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.tables import INSTRUCTION_COLUMNS, PREFERENCE_COLUMNS, TableError, read_parquet, require_columns
from .arguments import VARIANTS, StageArguments

if TYPE_CHECKING:
    import pandas as pd


def read_instructions(source: str, variant: str | None = None) -> pd.DataFrame:
    """Chats to tune on, columns `INSTRUCTION_COLUMNS`.

    Args:
        source: a Parquet file, a folder that holds `instructions.parquet`, or the Hub id of a data set repository.
        variant: check that the table can be trained on in this way; see `resolve_variant`.

    Raises:
        OSError: it is not there. TableError: no rows, missing columns, chats that are none.
    """
    table = _read(source, "instructions", INSTRUCTION_COLUMNS)
    for row, messages in enumerate(table["messages"]):
        roles = [message["role"] for message in messages]
        if not roles or roles[-1] != "assistant":
            raise TableError(f"{source}: row {row} (user {table['user_id'].iloc[row]!r}) does not end with a reply.")
    resolve_variant(table, variant, source)
    return table


def resolve_variant(table: pd.DataFrame, variant: str | None, source: str) -> str:
    """How a table is trained on: `mask` and `naive` want dialogues of two turns, `distill` chats of one.

    Raises:
        TableError: chats of both kinds, or the other kind than asked for.
    """
    turns = {sum(message["role"] == "assistant" for message in messages) for messages in table["messages"]}
    said = sorted({str(value) for value in table["variant"] if value in VARIANTS})
    found = variant or (said[0] if len(said) == 1 else "distill" if turns == {1} else "mask")
    wanted = 1 if found == "distill" else 2
    if turns != {wanted}:
        raise TableError(
            f"{source}: chats with {', '.join(map(str, sorted(turns)))} replies cannot be tuned on as {found!r}, which "
            f"takes {wanted}; build them with `reclm instructions build --variant {found}`."
        )
    return found


def read_preferences(source: str) -> pd.DataFrame:
    """Pairs of a better and a worse reply, columns `PREFERENCE_COLUMNS`.

    Args:
        source: a Parquet file, a folder that holds `preferences.parquet`, or the Hub id of a data set repository.

    Raises:
        OSError: it is not there. TableError: no rows, missing columns.
    """
    return _read(source, "preferences", PREFERENCE_COLUMNS)


def _read(source: str, name: str, columns: Mapping[str, str]) -> pd.DataFrame:
    path = Path(source).expanduser()
    file = path / f"{name}.parquet" if path.is_dir() else path
    if file.is_file():
        table = read_parquet(file)
    elif path.exists() or path.suffix == ".parquet" or source.count("/") != 1 or source.startswith((".", "~", "/")):
        raise FileNotFoundError(
            f"there is no table {file}: name a Parquet file, a folder with {name}.parquet or a Hub id"
        )
    else:
        table = _from_hub(source, name)
    require_columns(table, list(columns), str(source))
    if not len(table):
        raise TableError(f"{source}: the table has no rows.")
    return table


def _from_hub(source: str, name: str) -> pd.DataFrame:
    from datasets import load_dataset

    try:
        loaded = load_dataset(source, name, split="train")
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise OSError(
            f"{source!r} is no file, and {name} could not be read from the Hub ({type(error).__name__}: "
            f"{reason[0] if reason else ''}); check the name, the network and, for a private one, the token"
        ) from error
    return loaded.to_pandas()


def excluded_users(args: StageArguments) -> frozenset[str]:
    """The users whose rows a stage must leave alone: those of the file `without_users`."""
    if args.without_users is None:
        return frozenset()
    text = Path(args.without_users).expanduser().read_text(encoding="utf-8")
    return frozenset(line.strip() for line in text.splitlines() if line.strip())


def held_out(users: Sequence[object], share: float, seed: int) -> np.ndarray:
    """bool [n]: the rows of the users who are kept to be judged on; all rows of a user or none, by hash."""
    place = {user: _uniform(seed, user) for user in dict.fromkeys(map(str, users))}
    return np.array([place[str(user)] < share for user in users], dtype=bool)


def draw_rows(table: pd.DataFrame, count: int | None, seed: int) -> pd.DataFrame:
    """A seeded draw of `count` rows in their order; all for None."""
    if count is None or count >= len(table):
        return table
    chosen = np.sort(np.random.default_rng(seed).permutation(len(table))[:count])
    return table.iloc[chosen].reset_index(drop=True)


def _uniform(seed: int, user: str) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed}\x00{user}".encode()).digest()[:6], "big") / 2**48
