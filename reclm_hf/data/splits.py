"""Splits: what is known before a cut, and what must be predicted after it (the design's protocol).

Validation and test are two `Split`s of one shape. Whatever is fitted or written while choosing sees only the history
of the validation split; the final refit sees the history of the test split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .interactions import Interactions
from .tables import TableError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SETTINGS = ("catalogue", "zero_shot", "test_items")


@dataclass(frozen=True)
class Split:
    """One cut through the interactions.

    Attributes:
        name: `validation`, `test` or `block-<k>`.
        cut: int64 microseconds UTC; history < cut <= targets. None where the data have no times.
        user_ids: [U] str; item_ids: [I] str; one id space for all splits of a data set.
        history_user, history_item: [n] int32, in order of time.
        history_time: [n] int64 microseconds UTC, or None.
        target_user, target_item: [m] int32; pairs that are also in the history, and users without history, left out.
        warm: [I] bool, items with history. cold: [I] bool, items among the targets that have none.
        users_without_history: users that had targets but no history; counted, not scored.
    """

    name: str
    cut: int | None
    user_ids: np.ndarray
    item_ids: np.ndarray
    history_user: np.ndarray
    history_item: np.ndarray
    history_time: np.ndarray | None
    target_user: np.ndarray
    target_item: np.ndarray
    warm: np.ndarray
    cold: np.ndarray
    users_without_history: int

    @property
    def n_users(self) -> int:
        """U, rows of the id space."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """I, rows of the id space."""
        return len(self.item_ids)

    def history_matrix(self) -> csr_array:
        """[U, I] float32 CSR of ones, column indices sorted."""
        return _csr(self.history_user, self.history_item, self.n_users, self.n_items)

    def candidates(self, setting: str) -> np.ndarray:
        """int32 item rows that are ranked: `catalogue` = warm and cold, `zero_shot` = cold, `test_items` = targets.

        Raises:
            ValueError: an unknown setting.
        """
        if setting == "catalogue":
            mask = self.warm | self.cold
        elif setting == "zero_shot":
            mask = self.cold
        elif setting == "test_items":
            mask = np.zeros(self.n_items, dtype=bool)
            mask[self.target_item] = True
        else:
            raise ValueError(f"Unknown setting {setting!r}: choose one of {', '.join(SETTINGS)}.")
        return np.flatnonzero(mask).astype(np.int32)

    def targets_matrix(self, setting: str) -> csr_array:
        """[U, I] float32 CSR of the targets that lie among the candidates of `setting`."""
        allowed = np.zeros(self.n_items, dtype=bool)
        allowed[self.candidates(setting)] = True
        keep = allowed[self.target_item]
        return _csr(self.target_user[keep], self.target_item[keep], self.n_users, self.n_items)


@dataclass(frozen=True)
class Splits:
    """The validation and the test split of one data set, and the fingerprint that names exactly this cut."""

    data: Interactions
    validation: Split
    test: Split
    fingerprint: str


def _csr(user: np.ndarray, item: np.ndarray, n_users: int, n_items: int) -> csr_array:
    from scipy.sparse import csr_array

    pairs = np.sort(user * np.int64(n_items) + item)  # one number a pair: sorted faster than two keys
    indptr = np.zeros(n_users + 1, dtype=np.int64)
    np.cumsum(np.bincount(user, minlength=n_users), out=indptr[1:])
    values = np.ones(len(user), dtype=np.float32)
    return csr_array((values, (pairs % n_items).astype(item.dtype), indptr), shape=(n_users, n_items))


def make_split(
    ids: tuple[np.ndarray, np.ndarray],
    rows: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    history: np.ndarray,
    targets: np.ndarray,
    name: str,
    cut: int | None,
) -> Split:
    """A `Split` from two masks over rows.

    Args:
        ids: user_ids [U] and item_ids [I]. rows: user [n], item [n] and time [n] (or None), a pair only once.
        history, targets: [n] bool.
    """
    user, item, time = rows
    n_users, n_items = len(ids[0]), len(ids[1])
    warm = np.zeros(n_items, dtype=bool)
    warm[item[history]] = True
    has_history = np.zeros(n_users, dtype=bool)
    has_history[user[history]] = True
    stranger = targets & ~has_history[user]
    kept = targets & ~stranger
    cold = np.zeros(n_items, dtype=bool)
    cold[item[kept]] = True
    return Split(
        name=name,
        cut=cut,
        user_ids=ids[0],
        item_ids=ids[1],
        history_user=user[history],
        history_item=item[history],
        history_time=None if time is None else time[history],
        target_user=user[kept],
        target_item=item[kept],
        warm=warm,
        cold=cold & ~warm,
        users_without_history=len(np.unique(user[stranger])),
    )


def _split_data(data: Interactions, history: np.ndarray, targets: np.ndarray, name: str, cut: int | None) -> Split:
    rows = (data.user, data.item, data.timestamp)
    return make_split((data.user_ids, data.item_ids), rows, history, targets, name, cut)


def temporal_split(
    data: Interactions, *, test_fraction: float = 0.2, validation_fraction: float = 0.2, cut: int | None = None
) -> Splits:
    """Cut at a time: test is the last `test_fraction` of rows, validation the last part of what is before it.

    Args:
        cut: int64 microseconds UTC; sets the test cut instead of `test_fraction`.

    Raises:
        TableError: no times, or a cut that leaves history or targets empty.
    """
    if data.timestamp is None:
        raise TableError(
            f"{data.name}: a temporal split needs a timestamp column. Import one (`--time-column`) "
            "or use `item_split`, which holds out items by a seeded hash."
        )
    _require_fractions(test_fraction=test_fraction, validation_fraction=validation_fraction)
    test_cut = _quantile_time(data.timestamp, 1 - test_fraction) if cut is None else cut
    before = data.timestamp < test_cut
    _require_rows(data, before, ~before, "test")
    validation_cut = _quantile_time(data.timestamp[before], 1 - validation_fraction)
    early = data.timestamp < validation_cut
    _require_rows(data, early, before & ~early, "validation")
    validation = _split_data(data, early, before & ~early, "validation", validation_cut)
    test = _split_data(data, before, ~before, "test", test_cut)
    return _splits(data, validation, test)


def item_split(data: Interactions, *, fraction: float = 0.2, seed: int = 0) -> Splits:
    """For data without times: two seeded hash buckets of items are held out, one as validation, one as test.

    The rows of a held-out item are targets; everything else is history, so that every target is a cold item.

    Raises:
        TableError: a bucket is empty.
    """
    share = _hash_shares(data.item_ids, seed)
    in_test = (share < fraction)[data.item]
    in_validation = ((share >= fraction) & (share < fraction + (1 - fraction) * fraction))[data.item]
    _require_rows(data, ~in_test, in_test, "test")
    _require_rows(data, ~in_test & ~in_validation, in_validation, "validation")
    validation = _split_data(data, ~in_test & ~in_validation, in_validation, "validation", None)
    return _splits(data, validation, _split_data(data, ~in_test, in_test, "test", None))


def snapshot_split(
    data: Interactions,
    *,
    validation_fraction: float = 0.2,
    pair_fraction: float = 0.1,
    seed: int = 0,
) -> Splits:
    """For data that bring their own test set (column `split`): test as given, validation out of the train rows.

    With times, validation is the last `validation_fraction` of the train rows. Without, a seeded hash holds out
    `validation_fraction` of the train items with all their rows, and `pair_fraction` of the other train pairs, so that
    validation has cold and warm targets as the test has. Users whose whole history is held out are left out and
    counted, as everywhere.

    Raises:
        ValueError: a fraction outside (0, 1).
        TableError: no given test set, an empty side, or train rows that are not earlier than the test rows.
    """
    if data.in_test is None:
        raise TableError(
            f"{data.name}: a snapshot split needs a column 'split' with 'train' and 'test'. Use `temporal_split` or "
            "`item_split` for data without one."
        )
    _require_fractions(validation_fraction=validation_fraction, pair_fraction=pair_fraction)
    train = ~data.in_test
    _require_rows(data, train, data.in_test, "test")
    if data.timestamp is None:
        held_out = _hash_held_out(data, train, validation_fraction, pair_fraction, seed)
        cuts: tuple[int | None, int | None] = (None, None)
    else:
        test_cut = int(data.timestamp[data.in_test].min())
        if data.timestamp[train].max() >= test_cut:
            raise TableError(
                f"{data.name}: {int((data.timestamp[train] >= test_cut).sum())} train rows are not earlier than the "
                "first test row. Leave out the times to use the split as given, or the split to cut by time."
            )
        validation_cut = _quantile_time(data.timestamp[train], 1 - validation_fraction)
        held_out = train & (data.timestamp >= validation_cut)
        cuts = (validation_cut, test_cut)
    _require_rows(data, train & ~held_out, held_out, "validation")
    validation = _split_data(data, train & ~held_out, held_out, "validation", cuts[0])
    test = _split_data(data, train, data.in_test, "test", cuts[1])
    return _splits(data, validation, test, f"snapshot:{validation_fraction}:{pair_fraction}:{seed}")


def _hash_held_out(
    data: Interactions, train: np.ndarray, item_fraction: float, pair_fraction: float, seed: int
) -> np.ndarray:
    """[n] bool: the train rows of `item_fraction` of the items, and `pair_fraction` of the other train pairs."""
    held_out = train & (_hash_shares(data.item_ids, seed) < item_fraction)[data.item]
    others = np.flatnonzero(train & ~held_out)
    pairs = zip(data.user_ids[data.user[others]], data.item_ids[data.item[others]], strict=True)
    held_out[others] = _hash_shares((f"{user}\x00{item}" for user, item in pairs), seed) < pair_fraction
    return held_out


def _hash_shares(keys: Iterable[str], seed: int) -> np.ndarray:
    """float64 in [0, 1) for every key, from SHA-256 alone: adding data moves nobody."""
    start = f"{seed}:"
    firsts = b"".join([hashlib.sha256((start + key).encode()).digest()[:8] for key in keys])
    return np.frombuffer(firsts, dtype=">u8") / 2.0**64


def _splits(data: Interactions, validation: Split, test: Split, rule: str = "") -> Splits:
    for split in (validation, test):
        if not len(split.target_user):
            raise TableError(
                f"{data.name}: nobody in the {split.name} period has an earlier interaction, so nothing can be "
                "evaluated. Move the cut or import a longer period."
            )
    digest = hashlib.sha256(data.fingerprint().encode() + rule.encode())
    for split in (validation, test):
        digest.update(f"{split.name}:{split.cut}:{len(split.history_user)}:{len(split.target_user)}".encode())
        digest.update(np.packbits(split.warm).tobytes() + np.packbits(split.cold).tobytes())
    return Splits(data=data, validation=validation, test=test, fingerprint=digest.hexdigest()[:16])


def _require_fractions(**fractions: float) -> None:
    for label, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise ValueError(f"{label}={fraction} must lie between 0 and 1.")


def _quantile_time(timestamp: np.ndarray, share: float) -> int:
    return int(np.sort(timestamp)[int(share * len(timestamp))])


def _require_rows(data: Interactions, history: np.ndarray, targets: np.ndarray, name: str) -> None:
    for label, mask in (("history", history), ("targets", targets)):
        if not mask.any():
            raise TableError(
                f"{data.name}: the {name} split would have no {label}: {int(history.sum())} rows before the cut, "
                f"{int(targets.sum())} after it. Give more data, another fraction or another cut."
            )


def blocks(split: Split, n_blocks: int = 10) -> list[Split]:
    """Cut the history into time blocks of equal counts; block k is a `Split` whose history is all before it.

    Used for training in episodes. The first block has no history and is left out, so are blocks without targets.

    Raises:
        TableError: the history has no times.
    """
    if split.history_time is None:
        raise TableError("Episodes need timestamps: use the preset 'standard' for data without times.")
    edges = np.unique([_quantile_time(split.history_time, k / n_blocks) for k in range(1, n_blocks)])
    ids = (split.user_ids, split.item_ids)
    rows = (split.history_user, split.history_item, split.history_time)
    found = []
    for number, start in enumerate(edges):
        end = edges[number + 1] if number + 1 < len(edges) else None
        early = split.history_time < start
        inside = ~early if end is None else ~early & (split.history_time < end)
        part = make_split(ids, rows, early, inside, f"block-{number + 1}", int(start))
        if early.any() and len(part.target_user):
            found.append(part)
    return found
