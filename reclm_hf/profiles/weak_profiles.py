"""Profiles written by a weak prompt, which does not show the user's own history: the rejected kind `weak_prompt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.splits import Split
from .engines import Engine, GeneratedProfile, ProfileRequest
from .generate import input_hash
from .prompts import PROMPT_VERSION
from .shards import Job, ShardStore, write_jobs

_COLUMNS = {
    "user_id": "string",
    "profile": "string",
    "as_of": "timestamp[us, tz=UTC]",
    "generator": "string",
    "input_hash": "string",
    "tokens_in": "int64",
    "tokens_out": "int64",
}


def weak_texts(
    users: Mapping[str, ProfileRequest | None],
    weak: Engine | Mapping[str, str] | None,
    folder: Path | None,
    split: Split,
) -> dict[str, str]:
    """user_id -> what was written of each user without the own history.

    Args:
        users: user_id -> the request for it; None where nothing can be asked, which a table of `weak` makes up for.
        weak: an engine, or user_id -> profile. folder: keeps what an engine writes; None: it is forgotten.
    """
    if isinstance(weak, Mapping):
        return {user: weak[user] for user in users}
    requests = [request for request in users.values() if request is not None]
    if weak is None or not requests:
        return {}
    if folder is None:
        written = [profile.text for profile in weak.generate(requests)]
    else:
        written = _kept(requests, weak, folder, split)
    return {request.key: text for request, text in zip(requests, written, strict=True)}


def _kept(requests: Sequence[ProfileRequest], engine: Engine, folder: Path, split: Split) -> list[str]:
    import pandas as pd

    version = f"{PROMPT_VERSION}-weak"
    jobs = [
        Job(request, input_hash(engine.generator, version, request.key, request.examples, _contents(request)))
        for request in requests
    ]

    def to_row(position: int, result: GeneratedProfile) -> dict[str, Any]:
        return {
            "user_id": requests[position].key,
            "profile": result.text,
            "as_of": pd.NaT if split.cut is None else pd.Timestamp(split.cut, unit="us", tz="UTC"),
            "generator": engine.generator,
            "input_hash": jobs[position].input_hash,
            "tokens_in": result.tokens_in,
            "tokens_out": result.tokens_out,
        }

    rows = write_jobs(jobs, engine, ShardStore(folder, _COLUMNS, split.cut), to_row, what="weak profiles")
    return [str(row["profile"]) for row in rows]


def _contents(request: ProfileRequest) -> list[str]:
    return [message["content"] for message in request.messages]
