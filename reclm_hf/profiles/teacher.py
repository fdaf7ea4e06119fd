"""A teacher without another model: the best of n profiles that the student itself writes (best-of-n distillation).

Of n candidates, the greedy one and n - 1 draws, the best-formed and among these the most personal is kept. Selecting by
a measure raises that measure, whatever it is worth, so two things are kept apart: selection sees one half of each
user's history and one half of the other users; what it brought is judged on the other halves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..data.splits import Split
from ..data.tables import TableError, read_parquet, write_parquet
from .engines import Engine, GeneratedProfile, ProfileRequest
from .profile import format_score
from .quality import Personalisation, centered, mean_interval, personalisation, unit

if TYPE_CHECKING:
    import pandas as pd

OTHERS = 50
CANDIDATE_COLUMNS = {
    "user_id": "string",
    "sample": "int64",
    "profile": "string",
    "format_score": "double",
    "personalisation": "double",
    "selected": "bool",
    "generator": "string",
    "tokens_in": "int64",
    "tokens_out": "int64",
}


class Scorer(Protocol):
    """What candidates are compared by, beside their format; `name` goes into the `generator` column."""

    name: str

    def score(self, keys: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """[n] float64, higher is better, of n texts about the users `keys`."""
        ...


@dataclass(frozen=True)
class Candidate:
    """One profile that was in the choice; `sample` 0 is the greedy one."""

    sample: int
    written: GeneratedProfile
    format_score: float
    personalisation: float


@dataclass(frozen=True)
class Selection:
    """The candidates for one request, in the order of their samples."""

    key: str
    candidates: tuple[Candidate, ...]

    @property
    def greedy(self) -> Candidate:
        """What would have been written without a choice."""
        return self.candidates[0]

    @property
    def best(self) -> Candidate:
        """The best-formed and, among equally well-formed ones, the most personal; of ties the first."""
        return max(self.candidates, key=lambda found: (found.format_score, found.personalisation, -found.sample))


@dataclass(frozen=True)
class Halves:
    """What selection may see and what it is judged by.

    Attributes:
        selecting, judging: [U, d] float32 mean directions of the two halves of each user's history, zero where a half
            is empty. selecting_others, judging_others: rows of two halves of the users with history.
        seed: of every draw.
    """

    selecting: np.ndarray
    judging: np.ndarray
    selecting_others: np.ndarray
    judging_others: np.ndarray
    seed: int


def halves(split: Split, item_vectors: np.ndarray, seed: int = 0) -> Halves:
    """Deal the items of each history, and the users, to two halves at random; of an odd history the first gets more.

    Args:
        item_vectors: [I, d] sentence vectors of the item texts.

    Raises:
        ValueError: fewer than four users with history: a half of them would hold nobody to compare with.
    """
    from scipy.sparse import csr_array

    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(split.history_user)), split.history_user))
    users, items = split.history_user[order], split.history_item[order]
    starts = np.searchsorted(users, users)
    second = (np.arange(len(users)) - starts) % 2 == 1
    vectors = unit(item_vectors)

    def mean_direction(taken: np.ndarray) -> np.ndarray:
        ones = np.ones(int(taken.sum()), dtype=np.float32)
        matrix = csr_array((ones, (users[taken], items[taken])), shape=(split.n_users, split.n_items))
        return unit(matrix @ vectors).astype(np.float32)

    known = rng.permutation(np.unique(users))
    if len(known) < 4:
        raise ValueError(f"{len(known)} users have a history: best-of-n compares with those of others, four at least.")
    middle = len(known) // 2
    users_in_halves = np.sort(known[:middle]), np.sort(known[middle:])
    return Halves(mean_direction(~second), mean_direction(second), *users_in_halves, seed)


class HistoryScorer:
    """How much closer a profile is to the own history than to those of others, by the cosine of sentence vectors.

    Args:
        user_ids: [U] the keys of requests. parts: of `halves`; the judging ones are not looked at.
        encoder: `encode(texts) -> [n, d]`. others: histories drawn for each user.
    """

    def __init__(
        self, user_ids: Sequence[str] | np.ndarray, parts: Halves, encoder: Any, *, others: int = OTHERS
    ) -> None:
        self.rows = {str(user): row for row, user in enumerate(user_ids)}
        self.vectors = centered(parts.selecting, parts.selecting[parts.selecting_others].mean(axis=0))
        self.pool = parts.selecting_others
        self.encoder = encoder
        self.others = others
        self.seed = parts.seed
        self.name = f"half the history against {others} others', seed {parts.seed}"

    def score(self, keys: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """[n] float64 cosine with the own half history less the mean one with the others'; 0.0 for an empty text.

        Raises:
            KeyError: a user who is not in the data.
        """
        unknown = [key for key in keys if key not in self.rows]
        if unknown:
            raise KeyError(f"user {unknown[0]!r} is not in the data that candidates are scored by.")
        scores = np.zeros(len(texts))
        written = [row for row, text in enumerate(texts) if text.strip()]
        if written:
            vectors = self.encoder.encode([texts[row] for row in written])
            for row, vector in zip(written, vectors, strict=True):
                scores[row] = self._direction(self.rows[keys[row]]) @ vector
        return scores

    def _direction(self, owner: int) -> np.ndarray:
        pool = self.pool[self.pool != owner]
        drawn = np.random.default_rng([self.seed, owner]).choice(pool, min(self.others, len(pool)), replace=False)
        return self.vectors[owner] - self.vectors[drawn].mean(axis=0)


def best_of_n(engine: Engine, requests: Sequence[ProfileRequest], n: int, scorer: Scorer) -> list[Selection]:
    """Let an engine write n profiles for every request, the first greedy, and score them.

    Raises:
        ValueError: n < 2.
    """
    if n < 2:
        raise ValueError(f"n={n}: a choice needs at least two candidates.")
    asked = [
        replace(request, sample=n * request.sample + number) for request in requests for number in range(n)
    ]  # drawn again, a request gets draws of its own
    written = engine.generate(asked)
    scores = scorer.score([request.key for request in asked], [profile.text for profile in written])
    candidates = [
        Candidate(request.sample, profile, format_score(profile.text, request.size), float(score))
        for request, profile, score in zip(asked, written, scores, strict=True)
    ]
    return [
        Selection(request.key, tuple(candidates[n * place : n * (place + 1)])) for place, request in enumerate(requests)
    ]


class BestOfN:
    """An engine that writes with another one and keeps the best of n: so `generate_user_profiles` makes the table.

    Args:
        engine: writes the candidates. n: how many for each profile. scorer: see `HistoryScorer`.
        folder: keeps all candidates with their scores, see `read_candidates`; None: they are forgotten.
    """

    def __init__(self, engine: Engine, n: int, scorer: Scorer, folder: Path | None = None) -> None:
        self.engine = engine
        self.n = n
        self.scorer = scorer
        self.folder = folder
        self.generator = f"{engine.generator}; best of {n} by format and personalisation ({scorer.name})"

    def generate(self, requests: Sequence[ProfileRequest]) -> list[GeneratedProfile]:
        """The best of n for every request, in order; tokens are those of all its candidates."""
        selections = best_of_n(self.engine, requests, self.n, self.scorer)
        if self.folder is not None and selections:
            self._keep(selections, self.folder)
        return [
            GeneratedProfile(
                found.best.written.text,
                sum(candidate.written.tokens_in for candidate in found.candidates),
                sum(candidate.written.tokens_out for candidate in found.candidates),
            )
            for found in selections
        ]

    def _keep(self, selections: Sequence[Selection], folder: Path) -> None:
        table = candidate_table(selections, self.generator)
        content = "\x00".join([self.generator, *table["user_id"], *table["profile"]])
        name = hashlib.sha256(content.encode()).hexdigest()[:16]
        write_parquet(table, folder / f"candidates-{name}.parquet", CANDIDATE_COLUMNS)


def candidate_table(selections: Sequence[Selection], generator: str) -> pd.DataFrame:
    """One row a candidate, columns `CANDIDATE_COLUMNS`."""
    import pandas as pd

    rows = [
        {
            "user_id": found.key,
            "sample": candidate.sample,
            "profile": candidate.written.text,
            "format_score": candidate.format_score,
            "personalisation": candidate.personalisation,
            "selected": candidate is found.best,
            "generator": generator,
            "tokens_in": candidate.written.tokens_in,
            "tokens_out": candidate.written.tokens_out,
        }
        for found in selections
        for candidate in found.candidates
    ]
    return pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS))


def read_candidates(folder: Path, profiles: pd.DataFrame) -> pd.DataFrame:
    """The candidates that the profiles of a table were selected from, columns `CANDIDATE_COLUMNS`.

    Args:
        profiles: columns `user_id`, `profile` and `generator`, of a `BestOfN`.

    Raises:
        TableError: there are none, or a file is broken.
    """
    import pandas as pd

    tables = [read_parquet(path) for path in sorted(folder.glob("candidates-*.parquet"))]
    kept = {}
    wanted = set(zip(profiles["user_id"], profiles["profile"], profiles["generator"], strict=True))
    for table in tables:
        chosen = table[table["selected"]]
        keys = zip(chosen["user_id"], chosen["profile"], chosen["generator"], strict=True)
        users = {user for user, text, generator in keys if (user, text, generator) in wanted}
        kept.update({user: group for user, group in table.groupby("user_id", sort=False) if user in users})
    if not kept:
        raise TableError(f"{folder}: holds no candidates of these profiles. Write them with a folder for `BestOfN`.")
    return pd.concat([kept[user] for user in profiles["user_id"] if user in kept], ignore_index=True)


def selection_report(
    candidates: pd.DataFrame,
    user_ids: Sequence[str] | np.ndarray,
    parts: Halves,
    encoder: Any,
) -> dict[str, Any]:
    """What selection brought, on the half of each history and on the other users that it did not see.

    Args:
        candidates: columns `CANDIDATE_COLUMNS`. user_ids: [U]. parts: that selection was made with.

    Returns:
        Figures of `greedy` and `best`: mean `selection_score` (which rises by construction), `format_score`, and `mrr`
        and `hit_at_1` on the judging half; `mrr_gain` with its paired 95 % interval; `users` judged, and the share
        `changed` where a draw was better than the greedy profile. Users of one interaction cannot be judged.

    Raises:
        ValueError: nobody can be judged.
    """
    rows = {str(user): row for row, user in enumerate(user_ids)}
    greedy = candidates.loc[candidates.groupby("user_id", sort=False)["sample"].idxmin()].reset_index(drop=True)
    best = candidates[candidates["selected"]].set_index("user_id").loc[greedy["user_id"]].reset_index()
    owners = np.array([rows[user] for user in greedy["user_id"]])
    judged = np.flatnonzero(parts.judging[owners].any(axis=1))
    if not len(judged):
        raise ValueError("No user has two interactions: there is no half of a history to judge by.")

    def judge(table: pd.DataFrame) -> Personalisation:
        vectors = np.zeros((len(judged), parts.judging.shape[1]), dtype=np.float32)
        texts = table["profile"].iloc[judged].tolist()
        written = [row for row, text in enumerate(texts) if text.strip()]
        vectors[written] = encoder.encode([texts[row] for row in written])
        others = parts.judging_others
        return personalisation(vectors, parts.judging, seed=parts.seed + 1, rows=owners[judged], others=others)

    found = {"greedy": judge(greedy), "best": judge(best)}
    gain = found["best"].reciprocal_rank - found["greedy"].reciprocal_rank
    return {
        "users": len(judged),
        "candidates": found["best"].candidates,
        "chance": found["best"].chance,
        "changed": float((best["sample"].to_numpy() != greedy["sample"].to_numpy()).mean()),
        **{name: _figures(table, found[name]) for name, table in (("greedy", greedy), ("best", best))},
        "mrr_gain": float(gain.mean()),
        "mrr_gain_interval": list(mean_interval(gain, seed=parts.seed)),
    }


def selection_lines(report: Mapping[str, Any]) -> list[str]:
    """The report of `selection_report` for a person, in one line."""
    low, high = report["mrr_gain_interval"]
    greedy, best = report["greedy"], report["best"]
    return [
        f"selection changed {report['changed']:.1%} of the profiles; on the other half of {report['users']} users' "
        f"histories the MRR went from {greedy['mrr']:.3f} to {best['mrr']:.3f} ({report['mrr_gain']:+.3f} "
        f"[{low:+.3f}, {high:+.3f}]), by chance {report['chance']:.3f}"
    ]


def _figures(table: pd.DataFrame, found: Personalisation) -> Mapping[str, float]:
    return {
        "selection_score": float(table["personalisation"].mean()),
        "format_score": float(table["format_score"].mean()),
        "mrr": found.mrr,
        "hit_at_1": found.hit_at_1,
    }
