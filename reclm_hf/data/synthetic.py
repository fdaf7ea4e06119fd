"""Synthetic interactions with a text signal and a profile signal of known strength, to test the tools against.

Item i has a text vector x_i, uniform on the unit sphere of R^d, an appeal a_i ~ N(0, APPEAL_SPREAD^2) and a release
r_i in [0, 1): a stock of items at 0, the others in waves of equal size. User u has a taste t_u, uniform on the unit
sphere of the first d/2 coordinates, and a trait p_u, uniform on that of the other d/2. The utility of i for u is

    s(u, i) = a_i + FRESHNESS r_i + text_strength sqrt(d) <t_u, x_i> + profile_strength sqrt(d) <p_u, x_i>

and at a time tau the user takes, among the items with r_i <= tau not taken yet, item i with probability
proportional to exp s(u, i): s plus Gumbel noise, the Plackett-Luce model. (An appeal that fades exponentially with
age is included: of exp(-FRESHNESS (tau - r_i)) only the part with r_i matters for a choice.) sqrt(d) <t_u, x_i> has
mean 0 and variance 1 over items, so a strength is the standard deviation of its term; the Gumbel noise has 1.28.

What a profile tells is the trait: the profile vector is p_u + PROFILE_NOISE g / sqrt(d), g ~ N(0, 1)^d, scaled to
length 1. It holds as of every cut, since traits do not change. The trait ranks items through their texts, cold ones
too; a history of four or five items shows it only through the Gumbel noise.

With profile_strength = 0 profile vectors are independent of all choices. With both strengths 0 texts are, too; with
text_strength = 0 alone they still tell what the traits like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from .features import center, normalize_rows
from .interactions import Interactions
from .splits import Split, Splits, make_split, temporal_split

APPEAL_SPREAD = 0.5
FRESHNESS = 2.0
PROFILE_NOISE = 0.5
STOCK = 0.25
"""Share of the items that are there from the beginning."""
WAVES = 20
VALIDATION_CUT, TEST_CUT = 0.6, 0.8
"""In units of the whole period; a wave of items is released at each of them."""
START = 1_577_836_800_000_000  # 2020-01-01 in microseconds UTC
PERIOD = 100 * 86_400_000_000
# Cells of one block of utilities: 2**22 float32 are 16 MiB.
_BLOCK_CELLS = 2**22
_LOWEST_LOG_ODDS = -60.0
_SHORTEST = np.float32(1e-30)
_NEVER = 1e-9


@dataclass(frozen=True)
class SyntheticItems:
    """What there is to choose from. vectors: [I, d] float32, unit length. appeal: [I]. release: [I] in [0, 1)."""

    vectors: np.ndarray
    appeal: np.ndarray
    release: np.ndarray


@dataclass(frozen=True)
class SyntheticUsers:
    """Who chooses. taste, trait, profiles: [U, d] float32, unit length."""

    taste: np.ndarray
    trait: np.ndarray
    profiles: np.ndarray


@dataclass(frozen=True)
class Oracle:
    """A scorer that knows the utilities, or parts of them.

    Attributes:
        base: [I] what all users share: appeal, freshness, and the log of the share of the period that the item is out.
        wants: [U, d] what users look for in a text, the strengths included. vectors: [I, d].
    """

    name: str
    base: np.ndarray = field(repr=False)
    wants: np.ndarray = field(repr=False)
    vectors: np.ndarray = field(repr=False)

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[B, C] float32 scores of user rows for item rows."""
        return (self.wants[users] @ self.vectors[items].T + self.base[items]).astype(np.float32)


@dataclass(frozen=True)
class FreshUsers:
    """Other users who choose among the same items: what a figure on the sample is an estimate of.

    Attributes:
        split: their history and targets, with warm and cold items (and thereby the candidates) of the sample's split;
            what they take beside these items is left out.
        users: in the order of the rows of `split`.
    """

    split: Split
    users: SyntheticUsers


@dataclass(frozen=True)
class Truth:
    """A population value by Monte Carlo, and the standard error of that computation."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class Synthetic:
    """A synthetic data set and everything it was made from.

    Attributes:
        splits: cut at `VALIDATION_CUT` and `TEST_CUT`.
        items, users: the truth behind it; `items.vectors` are the text vectors, `users.profiles` the profile vectors,
            in the order of the id space.
        text_strength, profile_strength: see the module. events: mean number of choices of a user. seed: of all of it.
    """

    splits: Splits
    items: SyntheticItems
    users: SyntheticUsers
    text_strength: float
    profile_strength: float
    events: int
    seed: int

    def oracle(
        self,
        split: Split,
        users: SyntheticUsers | None = None,
        *,
        text: float | None = None,
        profile: float | None = None,
        name: str = "oracle",
    ) -> Oracle:
        """A scorer of the targets of `split`.

        Args:
            users: of the rows of `split`; None means the sample's.
            text, profile: strengths that the scorer believes in; None means the true one, 0 leaves the term out.
        """
        text = self.text_strength if text is None else text
        profile = self.profile_strength if profile is None else profile
        wants = _wants(self.users if users is None else users, text, profile)
        return Oracle(name, _shared_utility(self.items) + _log_share_out(self.items, split), wants, self.items.vectors)

    def fresh_users(self, split: Split, n_users: int, seed: int = 0) -> FreshUsers:
        """`n_users` who are not in the sample; other seeds, other users. See `FreshUsers`."""
        rng = np.random.default_rng([self.seed, 2, seed])
        users = _draw_users(n_users, self.items.vectors.shape[1], rng)
        user, item, time = _choose(
            self.items, _wants(users, self.text_strength, self.profile_strength), self.events, rng
        )
        start, end = _window(split)
        user_ids = np.array([f"fresh-{number:07d}" for number in range(n_users)], dtype=object)
        history = (time < start) & split.warm[item]
        targets = (time >= start) & (time < end) & (split.warm | split.cold)[item]
        fresh = make_split(
            (user_ids, split.item_ids), (user, item, _microseconds(time)), history, targets, split.name, split.cut
        )
        return FreshUsers(replace(fresh, warm=split.warm, cold=split.cold), users)


def synthetic_interactions(
    text_strength: float,
    profile_strength: float,
    *,
    n_users: int = 1200,
    n_items: int = 400,
    dim: int = 16,
    events: int = 6,
    seed: int = 0,
) -> Synthetic:
    """Draw items, users and their choices as the module says.

    The items depend on `seed`, `n_items` and `dim` alone; the tastes, traits and profiles on these and `n_users`.

    Args:
        text_strength, profile_strength: standard deviations of the two terms of the utility, >= 0.
        dim: d, even. events: mean number of choices of a user, > 2 (it is 2 + a Poisson number).

    Raises:
        ValueError: a negative strength, an odd `dim`, or numbers of events and items that do not fit.
    """
    if min(text_strength, profile_strength) < 0:
        raise ValueError(
            f"text_strength={text_strength}, profile_strength={profile_strength}: neither may be negative."
        )
    if dim < 4 or dim % 2:
        raise ValueError(f"dim={dim} must be even and at least 4: half of it is for tastes, half for traits.")
    # Nobody may run out of items, however early and often they choose: the first ones come from the stock alone.
    if events < 5 or int(STOCK * n_items) < 3 * events:
        raise ValueError(
            f"events={events}, n_items={n_items}: at least 5 events a user are needed, and {3 / STOCK:.0f} items for "
            "each of them."
        )
    items = _draw_items(n_items, dim, np.random.default_rng([seed, 0]))
    rng = np.random.default_rng([seed, 1])
    users = _draw_users(n_users, dim, rng)
    rows = _choose(items, _wants(users, text_strength, profile_strength), events, rng)
    data = _interactions(rows, n_users, n_items, f"synthetic-text{text_strength:g}-profile{profile_strength:g}-{seed}")
    return Synthetic(_cut(data), items, users, text_strength, profile_strength, events, seed)


def text_effect(fresh: FreshUsers, vectors: np.ndarray) -> Truth:
    """The effect that `describe.text_signal` estimates from a sample: the mean over users, with these items and texts.

    Mean over users with two items or more of the mean cosine over all their pairs, less the mean cosine over all pairs
    of warm items, which is what permuted texts have on average. Vectors are centred over the warm items of the sample.

    Args:
        vectors: [I, d] text vectors.
    """
    centred = center(vectors, fresh.split.warm)[0].astype(np.float64)
    matrix = fresh.split.history_matrix()
    count = np.diff(matrix.indptr)
    total = np.square(matrix @ centred).sum(axis=1) - matrix @ np.square(centred).sum(axis=1)
    several = count >= 2
    cosine = total[several] / (count * (count - 1.0))[several]
    warm = centred[fresh.split.warm]
    permuted = (np.square(warm.sum(axis=0)).sum() - np.square(warm).sum()) / (len(warm) * (len(warm) - 1))
    return Truth(float(cosine.mean() - permuted), float(cosine.std(ddof=1) / len(cosine) ** 0.5))


def _draw_items(n_items: int, dim: int, rng: np.random.Generator) -> SyntheticItems:
    stock = int(STOCK * n_items)
    release = np.zeros(n_items)
    release[stock:] = np.arange(1, WAVES)[np.arange(n_items - stock) % (WAVES - 1)] / WAVES
    vectors = normalize_rows(rng.standard_normal((n_items, dim)))
    # Ids tell nothing about the age.
    return SyntheticItems(vectors, rng.normal(0, APPEAL_SPREAD, n_items), rng.permutation(release))


def _draw_users(n_users: int, dim: int, rng: np.random.Generator) -> SyntheticUsers:
    taste, trait = rng.standard_normal((n_users, dim)), rng.standard_normal((n_users, dim))
    taste[:, dim // 2 :] = 0
    trait[:, : dim // 2] = 0
    taste, trait = normalize_rows(taste), normalize_rows(trait)
    noise = PROFILE_NOISE / dim**0.5 * rng.standard_normal((n_users, dim))
    return SyntheticUsers(taste, trait, normalize_rows(trait + noise))


def _wants(users: SyntheticUsers, text: float, profile: float) -> np.ndarray:
    scale = users.taste.shape[1] ** 0.5
    return scale * (text * users.taste + profile * users.trait)


def _shared_utility(items: SyntheticItems) -> np.ndarray:
    return items.appeal + FRESHNESS * items.release


def _choose(
    items: SyntheticItems, wants: np.ndarray, events: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choices in no order: user [n] int64, item [n] int64, time [n] float64 in [0, 1)."""
    size = max(1, _BLOCK_CELLS // len(items.release))
    parts = [
        np.stack([start + user, item, time])
        for start in range(0, len(wants), size)
        for user, item, time in _choose_block(items, wants[start : start + size], events, rng)
    ]
    user, item, time = np.concatenate(parts, axis=1)
    return user.astype(np.int64), item.astype(np.int64), time


def _choose_block(
    items: SyntheticItems, wants: np.ndarray, events: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The first choices of all users, the second ones, and so on."""
    utility = wants @ items.vectors.T + _shared_utility(items)
    # Bounded, so that what is not taken stays above 0 in float32 whatever the strengths.
    odds = np.maximum(utility - utility.max(axis=1, keepdims=True), _LOWEST_LOG_ODDS)
    rate = np.exp(odds).astype(np.float32)  # [B, I], 0 once taken
    n_events = 2 + rng.poisson(events - 2, len(wants))
    times = rng.random((len(wants), int(n_events.max())))
    times[np.arange(times.shape[1]) >= n_events[:, None]] = np.inf
    times.sort(axis=1)
    for time in times.T:
        users = np.flatnonzero(np.isfinite(time))
        # Of exponential waiting times with these rates the shortest is i's with probability rate_i / sum of rates.
        waiting = rng.standard_exponential((len(users), len(items.release)), dtype=np.float32)
        speed = rate[users] / np.maximum(waiting, _SHORTEST) * (items.release <= time[users, None])
        chosen = speed.argmax(axis=1)
        rate[users, chosen] = 0
        yield users, chosen, time[users]


def _interactions(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray], n_users: int, n_items: int, name: str
) -> Interactions:
    import pandas as pd

    user, item, time = rows
    item_ids = [f"item-{number:05d}" for number in range(n_items)]
    items = pd.DataFrame({"item_id": item_ids, "title": item_ids, "text": [f"Text of {name}" for name in item_ids]})
    user_ids = np.array([f"user-{number:05d}" for number in range(n_users)], dtype=object)
    stamps = pd.to_datetime(_microseconds(time), unit="us", utc=True)
    table = pd.DataFrame({"user_id": user_ids[user], "item_id": np.array(item_ids)[item], "timestamp": stamps})
    # Everybody chooses twice or more, so the rows of the id space are the rows of the users.
    return Interactions.from_tables(items, table, name)


def _cut(data: Interactions) -> Splits:
    assert data.timestamp is not None
    early, before = (int((data.timestamp < _microseconds(cut)).sum()) for cut in (VALIDATION_CUT, TEST_CUT))
    # Half a row more than the early ones, so that rounding cannot move the cut into them.
    share = 1 - (early + 0.5) / before
    return temporal_split(data, cut=int(_microseconds(TEST_CUT)), validation_fraction=share)


def _microseconds(time: float | np.ndarray) -> np.ndarray:
    return START + np.floor(np.asarray(time) * PERIOD).astype(np.int64)


def _window(split: Split) -> tuple[float, float]:
    """First and last time of the targets of a split, in units of the period."""
    if split.name == "validation":
        return VALIDATION_CUT, TEST_CUT
    if split.name == "test":
        return TEST_CUT, 1.0
    raise ValueError(f"{split.name}: only the splits 'validation' and 'test' of these data have a known period.")


def _log_share_out(items: SyntheticItems, split: Split) -> np.ndarray:
    start, end = _window(split)
    share = (end - np.maximum(items.release, start)) / (end - start)
    return np.log(np.maximum(share, _NEVER))
