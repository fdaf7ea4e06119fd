"""Users that no stage is trained on and every stage is measured by: one fixed list, drawn once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.folder import write_text
from ..data.splits import Split
from ..data.tables import TableError

DRAWN, MEASURED = 600, 400
FEWEST_ITEMS = 5
"""Interactions before the cut: a shorter history has no clusters to be covered and no dialogue to be asked about."""


def draw_users(
    split: Split, neighbors: np.ndarray, n: int = DRAWN, seed: int = 0, *, fewest_items: int = FEWEST_ITEMS
) -> np.ndarray:
    """int64 user rows, sorted: `n` users of whom at least two thirds have a neighbour among the drawn ones.

    Over-smoothing compares a profile with the neighbours' profiles of the same stage, and only drawn users get any. So
    users come in the order of a seeded hash of their ids, each with the nearest neighbour and with that one's nearest
    neighbour, unless somebody similar is there already. The draw depends on ids, neighbours and the seed, not on the
    order of rows.

    Args:
        neighbors: [U, m] int user rows, best first, -1 for none.
        fewest_items: of a user's history. Neighbours need some history only.

    Returns:
        Fewer than `n` where there are not so many users with so much history.

    Raises:
        ValueError: a table of another length, `n` < 1, nobody with enough history, or too few users with a neighbour.
    """
    if n < 1:
        raise ValueError(f"n={n}: draw at least one user.")
    if len(neighbors) != split.n_users:
        raise ValueError(f"{len(neighbors)} rows of neighbours for {split.n_users} users: give one row each.")
    counts = np.bincount(split.history_user, minlength=split.n_users)
    known = [[int(other) for other in row if other >= 0 and counts[other]] for row in neighbors]
    order = [user for user in hash_order(split.user_ids, seed) if counts[user] >= fewest_items]
    if not order:
        raise ValueError(f"{split.name}: no user has {fewest_items} interactions before the cut; ask for fewer.")
    drawn: set[int] = set()
    for user in order:
        group = [] if user in drawn or not known[user] else _group(user, known, drawn)
        if len(drawn) + len(group) <= n:
            drawn.update(group)
    for found_only in (True, False):  # what is left to draw: first those whose neighbour is there
        for user in order:
            if len(drawn) < n and (not found_only or not drawn.isdisjoint(known[user])):
                drawn.add(user)
    users = np.array(sorted(drawn), dtype=np.int64)
    inside = has_neighbor_inside(users, neighbors).sum()
    if inside < math.floor(2 * len(users) / 3):
        raise ValueError(
            f"{split.name}: only {inside} of {len(users)} drawn users have a neighbour among them; draw fewer, or give "
            "neighbours of more users."
        )
    return users


def _group(user: int, known: Sequence[Sequence[int]], drawn: set[int]) -> list[int]:
    """A user with the nearest neighbour and with that one's, ending as soon as the last has a neighbour inside."""
    group = [user]
    while (
        len(group) < 3 and known[group[-1]] and not any(other in drawn or other in group for other in known[group[-1]])
    ):
        group.append(known[group[-1]][0])
    return group


def has_neighbor_inside(users: np.ndarray, neighbors: np.ndarray) -> np.ndarray:
    """[n] bool: whether one of the user's neighbours is among `users`.

    Args:
        users: [n] int rows. neighbors: [U, m] int rows, -1 for none.
    """
    near = np.asarray(neighbors)[users]
    return np.asarray((np.isin(near, users) & (near >= 0)).any(axis=1))


def measured(split: Split, users: np.ndarray, neighbors: np.ndarray, n: int = MEASURED, seed: int = 0) -> np.ndarray:
    """int64 rows, sorted: up to `n` of the drawn users that have a neighbour among them, by the hash of their ids."""
    able = set(np.asarray(users)[has_neighbor_inside(users, neighbors)].tolist())
    chosen = [user for user in hash_order(split.user_ids, seed) if user in able][:n]
    return np.array(sorted(chosen), dtype=np.int64)


def hash_order(ids: Sequence[str] | np.ndarray, seed: int) -> list[int]:
    """All rows in the order of a seeded hash of their ids: adding users moves nobody past anybody."""
    return sorted(range(len(ids)), key=lambda row: hashlib.sha256(f"{seed}\x00{ids[row]}".encode()).digest())


def write_users(split: Split, users: np.ndarray, path: Path) -> None:
    """Write the ids of some user rows, one a line. Raises TableError where it cannot be written."""
    write_text("".join(f"{split.user_ids[user]}\n" for user in users), path)


def read_users(split: Split, path: str | Path) -> np.ndarray:
    """int64 rows, sorted, of the users whose ids a file names, one a line.

    Raises:
        TableError: no such file, an empty one, or ids that the data do not have.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: cannot be read ({error}). Give a file with one user id a line.") from error
    ids = [line.strip() for line in lines if line.strip()]
    row_of = {str(identity): row for row, identity in enumerate(split.user_ids)}
    unknown = [identity for identity in ids if identity not in row_of]
    if unknown:
        raise TableError(f"{path}: {len(unknown)} ids are of no user of the data, {unknown[0]!r} the first.")
    if not ids:
        raise TableError(f"{path}: names no user. Give one id a line.")
    return np.array(sorted({row_of[identity] for identity in ids}), dtype=np.int64)
