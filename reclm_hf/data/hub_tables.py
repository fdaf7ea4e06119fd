"""Tables repositories of the Hub as data sources: fetched by allow-list, checked by SHA-256, read like a folder.

Below `reclm_hf.hub`, which pushes such repositories, and independent of it: what reads data must not import what
publishes models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .folder import INFO_FILE, INTERACTIONS_FILE, ITEMS_FILE, PART_FILES, file_sha256, read_info
from .profile_tables import Side
from .tables import TableError

CUTS = ("validation", "test")
DATA_FILES = (ITEMS_FILE, INTERACTIONS_FILE, *PART_FILES.values())
PROFILE_FILES = tuple(f"{side}_profiles/{cut}.parquet" for side in ("user", "item") for cut in CUTS)
_HUB_ID = re.compile(r"(?P<repo_id>\w[\w.-]*/[\w.-]*\w)(?:@(?P<revision>[\w./-]+))?", re.ASCII)


def hub_id(source: str) -> tuple[str, str | None] | None:
    """`org/name` or `org/name@revision` as id and revision; None for a path that exists and for anything else."""
    if Path(source).exists():
        return None
    found = _HUB_ID.fullmatch(source)
    return None if found is None else (found["repo_id"], found["revision"])


def fetch_tables(repo_id: str, revision: str | None, names: Sequence[str]) -> Path:
    """A folder with these files of a data set repository, as far as it has them, and its `dataset.json`.

    Args:
        revision: branch, tag or commit; None: main.

    Raises:
        TableError: no such repository or revision, no access, no network and nothing cached, no tables in it, or a
            file that is not the one that `dataset.json` describes.
    """
    from huggingface_hub import snapshot_download

    from .. import __version__

    source = f"{repo_id}@{revision}" if revision else repo_id
    with fetching(source):
        fetched = snapshot_download(
            repo_id,
            repo_type="dataset",
            revision=revision,
            allow_patterns=[INFO_FILE, *names],  # whole names: nothing else of the repository is fetched
            library_name="reclm-hf",
            library_version=__version__,
        )
    folder = Path(fetched)
    if not (folder / INFO_FILE).is_file():
        raise TableError(
            f"{source}: is no repository of tables, it has no {INFO_FILE}. `reclm data import hub://{repo_id}` makes a "
            "data folder from other data sets of the Hub."
        )
    for name, expected in read_info(folder).get("sha256", {}).items():
        if name in names and (folder / name).is_file() and file_sha256(folder / name) != expected:
            raise TableError(
                f"{source}: {name} is not the file that {INFO_FILE} describes: it was changed since it was pushed. "
                "Name an earlier revision (ORG/NAME@COMMIT)."
            )
    return folder


@contextmanager
def fetching(source: str) -> Iterator[None]:
    """Say of what the Hub's client raises which source it was, that no folder has that name, and what to check.

    Raises:
        TableError: instead of any OSError or ValueError.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise TableError(
            f"{source}: there is no folder of that name, and from the Hub it could not be fetched "
            f"({type(error).__name__}: {lines[0] if lines else ''}). Check the name, the network and, for a private "
            "repository, the token (HF_TOKEN or `hf auth login`)."
        ) from error


def profiles_beside(source: str, cut: str, side: Side) -> Path:
    """The file of the profiles in a folder of `reclm profiles build`, a data folder or a repository of tables.

    Args:
        source: a folder, or `org/name` or `org/name@revision`. cut: "validation" or "test"; "" for a folder of no cut.

    Returns:
        Its path, whether or not the file is there.

    Raises:
        TableError: as `fetch_tables`.
    """
    found = hub_id(source)
    folder = Path(source) if found is None else fetch_tables(*found, PROFILE_FILES)
    built, pushed = folder / cut / f"{side}_profiles.parquet", folder / f"{side}_profiles" / f"{cut}.parquet"
    return pushed if pushed.is_file() and not built.is_file() else built
