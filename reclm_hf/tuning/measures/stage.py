"""Measures one stage: writes profiles, asks Yes or No, and keeps all of it so that nothing runs twice."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.folder import write_json
from ...data.tables import TableError, read_parquet, write_parquet
from ...profiler.predicting import context_limit
from ...profiler.sources import user_rows
from ..held_out import has_neighbor_inside
from .compare import ANSWER_COLUMNS, MEASURE_COLUMNS, Measured, compare
from .floors import FLOORS, floor_scores
from .free_text import MAX_NEW_TOKENS, request_messages, write_free
from .measures import PROFILE_MEASURES, Reference, measure_profiles
from .yes_no import questions, yes_probabilities

if TYPE_CHECKING:
    import pandas as pd

    from ...profiler.modeling_reclm_profiler import RecLMProfiler
    from ...profiles.engines import ProfileRequest

logger = logging.getLogger(__name__)

SHARDS, FREE, ANSWERS = "shards", "free.parquet", "answers.parquet"
USERS, QUESTIONS, TABLE, MANIFEST = "users.parquet", "questions.parquet", "measures.parquet", "measures.json"
WAYS = ("forced", "free")
_USER_COLUMNS = {"user_id": "string"} | {f"{way}_{name}": "double" for way in WAYS for name in PROFILE_MEASURES}
_QUESTION_COLUMNS = ANSWER_COLUMNS | dict.fromkeys(FLOORS, "double")
_KEPT_AT_ONCE = 64


@dataclass(frozen=True)
class Subjects:
    """Whom a stage is measured by, and on what.

    Attributes:
        items: the item table in the order of the split's item rows. drawn: [n] user rows that profiles are written of.
        measured: rows among them, each with a neighbour among them, that the figures are about.
        instructions: dialogues of drawn users, or None.
    """

    reference: Reference
    items: pd.DataFrame
    drawn: np.ndarray
    measured: np.ndarray
    instructions: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        split, drawn = self.reference.split, np.asarray(self.drawn)
        user_rows(split, [str(split.user_ids[user]) for user in drawn])  # refuses users without history
        if not np.isin(self.measured, drawn).all() or len(self.measured) < 2:
            raise ValueError("measured users must be among the drawn ones, two at least.")
        if not has_neighbor_inside(drawn, self.reference.neighbors).any():
            logger.warning("no drawn user has a neighbour among the others: over-smoothing is undefined")


def measure_profiler(
    profiler: RecLMProfiler,
    subjects: Subjects,
    folder: Path,
    stage: str,
    *,
    batch_size: int = 8,
    free: bool = True,
    progress: bool = True,
) -> Measured:
    """Measure a profiler, resumably; a second call with the same model and data runs the model not at all.

    `folder` receives the profiles' shards, `free.parquet` (free texts) and `answers.parquet` (probabilities of Yes),
    which grow while it runs; then `users.parquet` (each measure of each user), `questions.parquet` (answers beside the
    floors), `measures.parquet` (means and intervals) and `measures.json`.

    Args:
        stage: what the tables call it. free: also write profiles without forced slots.

    Raises:
        TableError: a table could not be written, or no dialogue is about a drawn user.
    """
    reference = subjects.reference
    split = reference.split
    drawn = [str(split.user_ids[user]) for user in subjects.drawn]
    texts = {"forced": forced_texts(profiler, subjects, folder, batch_size, progress)}
    if free:
        requests = profile_requests(profiler, subjects)
        texts["free"] = free_texts(profiler, requests, folder / FREE, batch_size, progress)
    chosen = np.isin(subjects.drawn, subjects.measured)
    columns: dict[str, Any] = {"user_id": np.array(drawn, dtype=object)[chosen]}
    for way, written in texts.items():
        for name, values in measure_profiles(written, subjects.drawn, reference).items():
            columns[f"{way}_{name}"] = values[chosen]
    import pandas as pd

    users = pd.DataFrame(columns)
    answers = None if subjects.instructions is None else answer(profiler, subjects, folder, batch_size, progress)
    found = Measured(stage, users, answers)
    save_measured(found, folder, {"model": profiler.label, "dtype": _dtype(profiler), "drawn": len(drawn)})
    return found


def forced_texts(
    profiler: RecLMProfiler, subjects: Subjects, folder: Path, batch_size: int, progress: bool
) -> list[str]:
    """The profiles of the drawn users with forced slots, as the recommender gets them; sharded in `folder`."""
    from ...profiles.generate import generate_user_profiles

    table = generate_user_profiles(
        subjects.reference.split,
        subjects.items,
        near_rows(profiler, subjects),
        profiler.engine(batch_size),
        folder / SHARDS,
        users=subjects.drawn,
        progress=progress,
        **_asked(profiler),
    )
    return [str(text) for text in table["profile"].fillna("")]


def near_rows(profiler: RecLMProfiler, subjects: Subjects) -> np.ndarray:
    """[U, m] int rows: as many neighbours as the profiler reads."""
    near = subjects.reference.neighbors[:, : profiler.config.neighbors]
    return near if near.shape[1] else np.full((len(near), 1), -1, dtype=np.int32)


def profile_requests(profiler: RecLMProfiler, subjects: Subjects) -> list[ProfileRequest]:
    """What the profiler is asked for the drawn users' profiles with, in its own form."""
    from ...profiles.forms import requests_in_form

    split, near = subjects.reference.split, near_rows(profiler, subjects)
    return requests_in_form(split, subjects.items, near, subjects.drawn, **_asked(profiler))


def _asked(profiler: RecLMProfiler) -> dict[str, Any]:
    """How a profiler is asked, by its configuration; the same for forced and for free profiles."""
    config = profiler.config
    return {
        "form": config.form,
        "style": config.style,
        "tokenizer": profiler.tokenizer,
        "max_tokens": context_limit(profiler.model, config.max_tokens),
        "history_items": config.history_items,
        "neighbor_items": config.neighbor_items,
    }


def free_texts(
    profiler: RecLMProfiler, requests: Sequence[ProfileRequest], path: Path, batch_size: int, progress: bool
) -> list[str]:
    """The freely written reply to each request; kept in a table that grows."""
    settings = [profiler.label, _dtype(profiler), MAX_NEW_TOKENS]
    keys = [_key(settings, request_messages(request)) for request in requests]

    def write(rows: Sequence[int]) -> list[str]:
        return write_free(profiler.model, profiler.tokenizer, [requests[row] for row in rows], batch_size)

    lengths = [sum(len(message["content"]) for message in request_messages(request)) for request in requests]
    return [str(text) for text in _filled(path, keys, "text", "string", lengths, write, progress)]


def answer(profiler: RecLMProfiler, subjects: Subjects, folder: Path, batch_size: int, progress: bool) -> pd.DataFrame:
    """The answers to all dialogues of drawn users: columns `ANSWER_COLUMNS` and `FLOORS`.

    Raises:
        TableError: no dialogue is about a drawn user.
    """
    reference = subjects.reference
    drawn = {str(reference.split.user_ids[user]) for user in subjects.drawn}
    assert subjects.instructions is not None
    table = subjects.instructions[subjects.instructions["user_id"].astype(str).isin(drawn)]
    if not len(table):
        raise TableError("instructions: no dialogue is about one of the users that are measured; give others.")
    rows, chats = questions(table)
    settings = [profiler.label, _dtype(profiler)]
    keys = [_key(settings, chat) for chat in chats]

    def ask(chosen: Sequence[int]) -> np.ndarray:
        return yes_probabilities(
            profiler.model, profiler.processor, [chats[row] for row in chosen], batch_size=batch_size
        )

    # Those of one user follow one another, so that a part never cuts through what they share more than once.
    order = rows["user_id"].rank(method="dense").tolist()
    said = _filled(folder / ANSWERS, keys, "probability", "double", order, ask, progress)
    floors = floor_scores(
        reference.split,
        reference.item_vectors,
        rows["user_id"].tolist(),
        rows["item_id"].tolist(),
        rows["label"].to_numpy(),
    )
    return rows.assign(probability=np.array(said, dtype=np.float64), **floors)


def _filled(
    path: Path,
    keys: Sequence[str],
    name: str,
    kind: str,
    order: Sequence[float],
    compute: Callable[[Sequence[int]], Sequence[Any] | np.ndarray],
    progress: bool,
) -> list[Any]:
    """One value a key, read from the table at `path` where it is there; what is missing is computed and added.

    The table is written anew, whole or not at all, after every `_KEPT_AT_ONCE` values: a kill loses no more than these.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    known: dict[str, Any] = {}
    if path.is_file():
        try:
            kept = read_parquet(path)
            known = dict(zip(kept["key"], kept[name], strict=True))
        except (TableError, KeyError) as error:
            logger.warning("%s It is computed again.", error)
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    missing = sorted((row for key, row in first.items() if key not in known), key=lambda row: (order[row], row))
    logger.info("%s: %d of %d are there, %d to compute", path.stem, len(first) - len(missing), len(first), len(missing))
    with tqdm(total=len(missing), desc=path.stem, disable=not progress or not missing) as bar:
        for start in range(0, len(missing), _KEPT_AT_ONCE):
            rows = missing[start : start + _KEPT_AT_ONCE]
            known.update(zip((keys[row] for row in rows), compute(rows), strict=True))
            table = pd.DataFrame({"key": list(known), name: list(known.values())})
            write_parquet(table, path, {"key": "string", name: kind})
            bar.update(len(rows))
    return [known[key] for key in keys]


def _key(settings: Sequence[object], messages: object) -> str:
    return hashlib.sha256(json.dumps([*settings, messages], default=dict).encode()).hexdigest()


def _dtype(profiler: RecLMProfiler) -> str:
    return str(profiler.model.dtype).removeprefix("torch.")


def save_measured(found: Measured, folder: Path, about: dict[str, Any]) -> None:
    """Write the tables of `measure_profiler` that others compare with, the manifest last."""
    known = {name: kind for name, kind in _USER_COLUMNS.items() if name in found.users.columns}
    write_parquet(found.users, folder / USERS, known)
    if found.answers is not None:
        write_parquet(found.answers, folder / QUESTIONS, _QUESTION_COLUMNS)
    else:
        (folder / QUESTIONS).unlink(missing_ok=True)
    write_parquet(compare(None, found), folder / TABLE, MEASURE_COLUMNS)
    write_json({"stage": found.stage, "users": len(found.users), **about}, folder / MANIFEST)


def load_measured(folder: str | Path) -> Measured:
    """What `measure_profiler` left in a folder.

    Raises:
        TableError: nothing was measured there, or not to the end.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise TableError(f"{folder}: there is no {MANIFEST}; give the output of a finished `reclm measure`.")
    about = json.loads(path.read_text(encoding="utf-8"))
    answers = folder / QUESTIONS
    return Measured(
        str(about["stage"]), read_parquet(folder / USERS), read_parquet(answers) if answers.is_file() else None
    )
