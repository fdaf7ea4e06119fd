"""The four data sets of the placebo table: which items are cold, what is known of whom, and which texts there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.data.folder import read_dataset
from reclm_hf.data.importers.fields import with_genres
from reclm_hf.data.importers.files import utf8_or_latin1
from reclm_hf.data.importers.movietweetings import read_movies
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split, item_split, make_split
from reclm_hf.data.tables import read_parquet

if TYPE_CHECKING:
    import pandas as pd

DATA_SETS = ("ml-1m", "movietweetings", "online-retail", "ml-100k")
USERS, ITEMS = "user_profiles.parquet", "item_profiles.parquet"
ML_1M_SEEDS = (0, 1, 2)
# All texts of a data set in one space. The profiles of ML-1M have about 220 tokens: 128 would cut them.
MAX_LENGTH = 256


class AbsentError(Exception):
    """A data set cannot be measured here; the message says what is missing and how to get it."""


class Fold(NamedTuple):
    """One choice of cold items: settings are chosen on `validation`, and `test` is ranked once with them."""

    validation: Split
    test: Split


@dataclass(frozen=True)
class Problem:
    """A data set with its texts.

    Attributes:
        name: as results call it. fingerprint: of the data and the cut. note: what a reader must know.
        folds: one, or several choices of cold items.
        metadata: [I] texts. raw_texts: [I] the longer texts that item profiles were written from, or None where there
            are only the metadata.
        item_profiles: [I] texts, "" where there is none; None without any. user_profiles: the same, [U].
        neighbors: user row -> rows of similar users, best first.
    """

    name: str
    fingerprint: str
    note: str
    folds: Sequence[Fold]
    metadata: Sequence[str]
    raw_texts: Sequence[str] | None = None
    item_profiles: Sequence[str] | None = None
    user_profiles: Sequence[str] | None = None
    neighbors: Mapping[int, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Vectors:
    """The texts of a problem as encoder vectors, [I, d] or [U, d] float32; zero rows where there is no text.

    `raw` equals `metadata` where there are no longer texts. `joined` is "metadata. profile" encoded as one text.
    """

    metadata: np.ndarray
    raw: np.ndarray
    item_profiles: np.ndarray | None = None
    joined: np.ndarray | None = None
    user_profiles: np.ndarray | None = None


def load(name: str, shared: Path | None, profiles: Path | None, n_users: int) -> Problem:
    """A data set by its name.

    Args:
        shared: folder of the shared data sets, needed for `ml-1m`.
        profiles: folder with the profile tables. `online-retail` and `ml-100k` have their data there as well.
        n_users: test users drawn for `ml-1m`.

    Raises:
        AbsentError: files that are not here.
    """
    if name == "ml-1m":
        if shared is None or not (shared / "ml-1m-llm").is_dir():
            raise AbsentError(f"{name}: set RECLM_SHARED_DATA, or give --shared, to the folder that holds ml-1m-llm.")
        return ml_1m(shared / "ml-1m-llm", n_users)
    if name == "movietweetings":
        return movietweetings(profiles)
    folder = profiles or Path("runs") / "placebo" / name
    if not (folder / "data").is_dir() or not (folder / USERS).is_file():
        raise AbsentError(
            f"{name}: {folder} holds no data with profiles; `python training/benchmarks/placebo_profiles.py {name}` "
            "writes them (hours on two cores; needs RECLM_SHARED_DATA)."
        )
    return prepared(name, folder)


def ml_1m(folder: Path, n_users: int, seeds: Sequence[int] = ML_1M_SEEDS) -> Problem:
    """MovieLens 1M with an LLM-written profile of every item: 20 % of the items made cold, once for each seed.

    History are the given train rows of the other items; targets are the given test rows of the cold items, of
    `n_users` users drawn by seed. Settings are chosen on another 16 % of the items: their train rows are held out of
    the train rows.
    """
    data = _read_ml_1m(folder)
    assert data.in_test is not None
    drawn = np.random.default_rng(0).permutation(data.n_users)[:n_users]
    folds = []
    for seed in seeds:
        held_out = item_split(data, seed=seed)
        cold, unseen = held_out.test.cold[data.item], held_out.validation.cold[data.item]
        masks = {
            "validation": (~data.in_test & ~cold & ~unseen, ~data.in_test & unseen),
            "test": (~data.in_test & ~cold, data.in_test & cold),
        }
        ids, rows = (data.user_ids, data.item_ids), (data.user, data.item, None)
        parts = [make_split(ids, rows, *mask, name, None) for name, mask in masks.items()]
        folds.append(Fold(*(_of_users(part, drawn) for part in parts)))
    profiles = json.loads((folder / "llm_response_item.json").read_text(encoding="utf-8"))
    return Problem(
        name="ml-1m" if n_users == 1500 else f"ml-1m-{n_users}",
        fingerprint=data.fingerprint()[:16],
        note=f"given split, 20 % of the items cold, {len(seeds)} choices of them, {n_users} users; ready-made profiles",
        folds=folds,
        metadata=data.items["text"].tolist(),
        item_profiles=[str(profiles.get(item, "")).strip() for item in data.item_ids],
    )


def _read_ml_1m(folder: Path) -> Interactions:
    import pandas as pd

    original = {}
    for line in (folder / "item_map.txt").read_text(encoding="utf-8").splitlines():
        before, after = line.split()
        original[after] = before
    parts = []
    for split in ("train", "test"):
        lines = (line.split() for line in (folder / f"{split}.txt").read_text(encoding="utf-8").splitlines())
        pairs = [(line[0], original[item]) for line in lines for item in line[1:]]
        parts.append(pd.DataFrame(pairs, columns=["user_id", "item_id"]).assign(split=split))
    items = read_movies(folder / "movies.dat", utf8_or_latin1(folder / "movies.dat"))
    return Interactions.from_tables(items[items["item_id"].isin(original.values())], pd.concat(parts), "ml-1m-llm")


def _of_users(split: Split, users: np.ndarray) -> Split:
    """The split with the targets of some users; history and candidates stay."""
    kept = np.isin(split.target_user, users)
    return replace(split, target_user=split.target_user[kept], target_item=split.target_item[kept])


def movietweetings(profiles: Path | None) -> Problem:
    """The bundled data at their temporal test cut; item profiles only where `profiles` has them."""
    splits = bundled_splits()
    users = bundled_profiles() if profiles is None else read_parquet(profiles / USERS)
    items = None if profiles is None or not (profiles / ITEMS).is_file() else read_parquet(profiles / ITEMS)
    data = splits.data
    return Problem(
        name="movietweetings",
        fingerprint=splits.fingerprint,
        note="bundled data, temporal test cut" + ("" if items is not None else "; no item profiles were given"),
        folds=[Fold(splits.validation, splits.test)],
        metadata=data.items["text"].tolist(),
        **_profile_texts(data, users, items),
    )


def prepared(name: str, folder: Path) -> Problem:
    """Data and profiles that `placebo_profiles.py` wrote: 20 % of the items cold."""
    data, info = read_dataset(folder / "data")
    splits = item_split(data)
    items = read_parquet(folder / ITEMS) if (folder / ITEMS).is_file() else None
    titles, categories = data.items["title"], data.items["categories"]
    # The text of an item is what its profile may be written from; metadata are title and categories alone.
    metadata = [
        with_genres(title, [str(one) for one in names]) for title, names in zip(titles, categories, strict=True)
    ]
    texts = data.items["text"].tolist()
    return Problem(
        name=name,
        fingerprint=splits.fingerprint,
        note=f"{info.get('rule', '')}; 20 % of the items cold",
        folds=[Fold(splits.validation, splits.test)],
        metadata=metadata,
        raw_texts=None if texts == metadata else texts,
        **_profile_texts(data, read_parquet(folder / USERS), items),
    )


def _profile_texts(data: Interactions, users: pd.DataFrame, items: pd.DataFrame | None) -> dict[str, Any]:
    """`user_profiles`, `item_profiles` and `neighbors` of a `Problem`."""
    texts = {
        "user_profiles": _in_order(users, "user_id", data.user_ids),
        "item_profiles": None if items is None else _in_order(items, "item_id", data.item_ids),
    }
    row = {user: number for number, user in enumerate(data.user_ids)}
    near = {
        row[user]: [row[other] for other in others if other in row]
        for user, others in zip(users["user_id"], users["neighbors"], strict=True)
    }
    return {**texts, "neighbors": near}


def _in_order(table: pd.DataFrame, key: str, ids: np.ndarray) -> list[str]:
    found = dict(zip(table[key], table["profile"].str.strip(), strict=True))
    strangers = set(found) - set(ids)
    if strangers:
        raise ValueError(f"profiles of {len(strangers)} unknown {key}s, first {min(strangers)!r}: of another data set?")
    return [found.get(identity, "") for identity in ids]


def embed(problem: Problem, encoder: Any) -> Vectors:
    """Encode every text of a problem; `encoder` has `encode(texts)` and `dimension`."""
    metadata = encoder.encode(list(problem.metadata))
    joined = None
    if problem.item_profiles is not None:
        pairs = zip(problem.metadata, problem.item_profiles, strict=True)
        joined = encoder.encode(
            [f"{text.removesuffix('.')}. {profile}" if profile else text for text, profile in pairs]
        )
    return Vectors(
        metadata=metadata,
        raw=metadata if problem.raw_texts is None else encoder.encode(list(problem.raw_texts)),
        item_profiles=_encoded(problem.item_profiles, encoder),
        joined=joined,
        user_profiles=_encoded(problem.user_profiles, encoder),
    )


def _encoded(texts: Sequence[str] | None, encoder: Any) -> np.ndarray | None:
    if texts is None:
        return None
    vectors = np.zeros((len(texts), encoder.dimension), dtype=np.float32)
    written = [row for row, text in enumerate(texts) if text]
    if written:
        vectors[written] = encoder.encode([texts[row] for row in written])
    return vectors
