"""Tables that a stage reads: by file, by folder, or by Hub id; and whose rows it must leave alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.hub_tables import hub_id
from ..data.tables import INSTRUCTION_COLUMNS, PREFERENCE_COLUMNS, TableError, read_parquet, require_columns
from .arguments import VARIANTS, StageArguments

if TYPE_CHECKING:
    import pandas as pd


def read_instructions(source: str, variant: str | None = None) -> pd.DataFrame:
    """Chats to tune on, columns `INSTRUCTION_COLUMNS`.

    Args:
        source: a Parquet file, a folder that holds `instructions.parquet`, or the Hub id of a data set repository,
            `org/name` or `org/name@revision`.
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
        source: a Parquet file, a folder that holds `preferences.parquet`, or the Hub id of a data set repository,
            `org/name` or `org/name@revision`.

    Raises:
        OSError: it is not there. TableError: no rows, missing columns.
    """
    return _read(source, "preferences", PREFERENCE_COLUMNS)


def _read(source: str, name: str, columns: Mapping[str, str]) -> pd.DataFrame:
    path = Path(source).expanduser()
    file = path / f"{name}.parquet" if path.is_dir() else path
    if file.is_file():
        table = read_parquet(file)
    elif path.suffix == ".parquet" or hub_id(source) is None:
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

    repo_id, _, revision = source.partition("@")
    try:
        loaded = load_dataset(repo_id, name, split="train", revision=revision or None)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise OSError(
            f"{source!r} is no file, and {name} could not be read from the Hub ({type(error).__name__}: "
            f"{reason[0] if reason else ''}); check the name, the network and, for a private one, the token"
        ) from error
    return loaded.to_pandas()


def excluded_users(args: StageArguments) -> frozenset[str]:
    """The users whose rows a stage must leave alone: those of the file `without_users`.

    Raises:
        TableError: it cannot be read, or names nobody.
    """
    return frozenset() if args.without_users is None else read_user_ids(args.without_users)


def read_user_ids(path: str | Path) -> frozenset[str]:
    """The ids of a file, one a line.

    Raises:
        TableError: it cannot be read, or names nobody.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(
            f"without_users: {path} cannot be read ({error}). `reclm measure --users-only` writes such a file."
        ) from error
    found = frozenset(line.strip() for line in text.splitlines() if line.strip())
    if not found:
        raise TableError(f"without_users: {path} names nobody; give one user id a line.")
    return found


def held_out(users: Sequence[object], share: float, seed: int) -> np.ndarray:
    """bool [n]: the rows of the users who are kept to be judged on, by hash; all rows of a user or none.

    So many users as the share says, rounded, and one at least where there are two and the share is not 0.
    """
    different = sorted(set(map(str, users)), key=lambda user: _drawn(seed, user))
    count = max(round(share * len(different)), int(share > 0 and len(different) > 1))
    chosen = set(different[:count])
    return np.array([str(user) in chosen for user in users], dtype=bool)


def draw_rows(table: pd.DataFrame, count: int | None, seed: int) -> pd.DataFrame:
    """A seeded draw of `count` rows in their order; all for None."""
    if count is None or count >= len(table):
        return table
    chosen = np.sort(np.random.default_rng(seed).permutation(len(table))[:count])
    return table.iloc[chosen].reset_index(drop=True)


def _drawn(seed: int, user: str) -> bytes:
    # A purpose of its own in the hash: users are drawn by seed and id elsewhere too (`held_out.draw_users`), and of
    # those whom that draw leaves the same draw would take nobody.
    return hashlib.sha256(f"judged\x00{seed}\x00{user}".encode()).digest()
