"""A whole run of `reclm demo` on the Hub: its tables, the recommender that it shows, and its results, in this order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from .client import plain_id
from .publish import Pushed, push
from .records import RESULTS, run_record
from .staging import PushOptions, Staged

MODELS = "models"


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run: recommenders in `models/`, and a table of results."""
    return (folder / MODELS).is_dir() and (folder / RESULTS).is_file()


def shown_model(folder: Path) -> Path:
    """The recommender that a run hands over.

    Raises:
        ValueError: the run does not say which one, or it is not there.
    """
    from ..pipeline.comparison import DemoPlan

    options = run_record(folder).get("options", {})
    seed = options.get("seed")
    if type(seed) is not int:
        raise ValueError(
            f"{folder}: its manifest.json does not say which recommender it shows; push one of {folder / MODELS} by "
            "its folder (models/NAME/model)."
        )
    plan = DemoPlan.everything(seed) if options.get("everything") else DemoPlan.short(seed)
    found = folder / MODELS / plan.shown.label / "model"
    if not (found / "config.json").is_file():
        raise ValueError(f"{found} is not there: the run is not finished. Repeat the command that it came from.")
    return found


def push_run(
    folder: Path,
    repo_id: str,
    options: PushOptions | None = None,
    *,
    endpoint: str | None = None,
    token: str | bool | None = None,
    dry_run: bool = False,
    progress: bool = True,
) -> Iterator[Pushed | Staged]:
    """Push `repo_id`-tables, then `repo_id` (the recommender, pinned to the tables' commit), then `repo_id`-results.

    Cut off anywhere, the same call goes on: what is there already is not pushed again.

    Args:
        options: `private`, `code`, `license` and `title` count; the other parts are known here.

    Yields:
        What `push` returns, one a repository.

    Raises:
        ValueError, OSError: as `push`; also a run on data that have no folder of their own.
    """
    from ..data.bundled import bundled_folder

    named, revision = plain_id(repo_id)
    if revision is not None:
        raise ValueError(f"{repo_id} names a revision, and a push makes a new one: give {named}.")
    options = options or PushOptions()
    shared: dict[str, Any] = {"endpoint": endpoint, "token": token, "dry_run": dry_run, "progress": progress}
    dataset, model = str(run_record(folder).get("dataset")), shown_model(folder)
    tables = push(bundled_folder(dataset), f"{repo_id}-tables", PushOptions("tables", options.private), **shared)
    yield tables
    pin = f"{repo_id}-tables" + (f"@{tables.revision}" if isinstance(tables, Pushed) else "")
    beside = replace(options, tables=pin)
    yield push(model, repo_id, replace(beside, kind="recommender", results=str(folder)), **shared)
    yield push(folder, f"{repo_id}-results", replace(beside, kind="results", code=False, title=None), **shared)
