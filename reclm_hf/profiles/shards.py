"""Profiles on disk while they are being written: whole shards, so that a kill anywhere loses a shard's work at most."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.tables import TableError, read_parquet, write_parquet
from .engines import Engine, GeneratedProfile, ProfileRequest, UnfinishedError

logger = logging.getLogger(__name__)

SHARD_SIZE = 128


@dataclass(frozen=True)
class Job:
    """One profile to write: its request, and the hash of what it is written from."""

    request: ProfileRequest
    input_hash: str


class ShardStore:
    """A folder of shards with rows of one schema, found again by `input_hash`.

    Args:
        cut: int64 microseconds UTC, or None. A row that was written as of a later time is not taken up: what it was
            written from may not be known yet.
        admit: whether a stored row still holds: what it was written from may have been deleted since.
    """

    def __init__(
        self,
        folder: Path,
        columns: Mapping[str, str],
        cut: int | None,
        admit: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        self.folder = folder
        self.columns = dict(columns)
        self.cut = cut
        self.admit = admit

    def rows(self) -> dict[str, dict[str, Any]]:
        """input_hash -> row, the latest of every readable shard; what stood in a broken shard is written again."""
        import pandas as pd

        limit = None if self.cut is None else pd.Timestamp(self.cut, unit="us", tz="UTC")
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.glob("shard-*.parquet")):
            try:
                table = read_parquet(path)
            except TableError as error:
                logger.warning("%s Its profiles are written again.", error)
                continue
            if not set(self.columns) <= set(table.columns):
                logger.warning("%s: is from an earlier version of the tables; its profiles are written again.", path)
                continue
            for row in table.to_dict("records"):
                key = str(row["input_hash"])
                admitted = limit is None or (not pd.isna(row["as_of"]) and row["as_of"] <= limit)
                newer = limit is None or key not in found or found[key]["as_of"] < row["as_of"]
                if admitted and newer and (self.admit is None or self.admit(row)):
                    found[key] = row
        return found

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """One more shard, whole or not at all; named by content, so that runs never overwrite one another's."""
        import pandas as pd

        key = "".join(sorted(f"{row['input_hash']}{row['as_of']}" for row in rows))
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        write_parquet(pd.DataFrame(list(rows)), self.folder / f"shard-{name}.parquet", self.columns)


def write_jobs(
    jobs: Sequence[Job],
    engine: Engine,
    store: ShardStore,
    to_row: Callable[[int, GeneratedProfile], Mapping[str, Any]],
    *,
    what: str,
    shard_size: int = SHARD_SIZE,
    progress: bool = True,
) -> list[Mapping[str, Any]]:
    """The row of every job, in order; only those are written whose input has no row yet.

    Args:
        to_row: (position of a job, what the engine wrote) -> its row. what: names the profiles in messages.

    Raises:
        TableError: a shard could not be written; what was finished before is kept.
    """
    finished: dict[str, Mapping[str, Any]] = dict(store.rows())
    missing = {job.input_hash: position for position, job in enumerate(jobs) if job.input_hash not in finished}
    kept = len(jobs) - len(missing)
    logger.info(
        "%s: %d of %d (%.1f %%) are there, %d to write", what, kept, len(jobs), _percent(kept, jobs), len(missing)
    )
    for shard in _shards(list(missing.values()), jobs, shard_size, progress, what):
        try:
            written = dict(enumerate(engine.generate([jobs[position].request for position in shard])))
        except UnfinishedError as error:
            _keep(error.finished, shard, to_row, store)
            raise
        finished.update({row["input_hash"]: row for row in _keep(written, shard, to_row, store)})
    return [finished[job.input_hash] for job in jobs]


def _keep(
    written: Mapping[int, GeneratedProfile],
    shard: Sequence[int],
    to_row: Callable[[int, GeneratedProfile], Mapping[str, Any]],
    store: ShardStore,
) -> list[dict[str, Any]]:
    rows = [dict(to_row(shard[place], result)) for place, result in sorted(written.items())]
    if rows:
        store.write(rows)
    return rows


def _percent(part: int, jobs: Sequence[Job]) -> float:
    return 100.0 * part / max(len(jobs), 1)


def _shards(positions: Sequence[int], jobs: Sequence[Job], size: int, progress: bool, what: str) -> Iterator[list[int]]:
    from tqdm.auto import tqdm

    # Prompts of similar length together: less padding, and time left that can be believed after the first shards.
    ordered = sorted(positions, key=lambda position: (_length(jobs[position]), jobs[position].request.key))
    started = time.perf_counter()
    with tqdm(total=len(ordered), desc=what, unit="profile", disable=not progress or not ordered) as bar:
        for start in range(0, len(ordered), size):
            shard = ordered[start : start + size]
            yield shard
            bar.update(len(shard))
    if ordered:
        seconds = time.perf_counter() - started
        logger.info("%s: %d written in %.0f s, %.2f a second", what, len(ordered), seconds, len(ordered) / seconds)


def _length(job: Job) -> int:
    return len(job.request.messages[-1]["content"])
