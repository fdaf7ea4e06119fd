"""One way in for every command: a bundled name, a folder or a repository of tables on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bundled import bundled_info, bundled_names, load_bundled
from .folder import INFO_FILE, INTERACTIONS_FILE, ITEMS_FILE, read_dataset, read_info
from .hub_tables import DATA_FILES, fetch_tables, hub_id
from .tables import TableError

if TYPE_CHECKING:
    from .interactions import Interactions
    from .splits import Splits


def load_interactions(source: str) -> Interactions:
    """Load a data set.

    Args:
        source: the name of a bundled data set; a folder with `items.parquet` and `interactions.parquet`, or with the
            interactions divided by split; or the Hub id of such a repository, `org/name` or `org/name@revision`.

    Raises:
        TableError: there is none of them, or a table is broken or invalid.
    """
    return _load(source)[0]


def load_splits(source: str) -> Splits:
    """Load a data set and cut it: at the cut that its `dataset.json` names, else at the 80 % quantile of time.

    Data that bring their own test set (a column `split`) keep it: `snapshot_split`. Other data without timestamps are
    cut by `item_split`: a seeded hash holds out 20 % of the items.

    Raises:
        TableError: as `load_interactions`; also a cut that leaves a side empty.
    """
    from .splits import item_split, snapshot_split, temporal_split

    data, cut = _load(source)
    if data.in_test is not None:
        return snapshot_split(data)
    if data.timestamp is None:
        return item_split(data)
    return temporal_split(data, cut=cut)


def load_info(source: str) -> dict[str, Any]:
    """What `dataset.json` says of a data set: licence, attribution, cut, ...; empty where there is none.

    Raises:
        TableError: as `load_interactions`, of what names no data set at all.
    """
    return bundled_info(source) if source in bundled_names() else read_info(_folder(source))


def _load(source: str) -> tuple[Interactions, int | None]:
    if source in bundled_names():
        return load_bundled(source), bundled_info(source)["test_cut"]
    folder = _folder(source)
    data, info = read_dataset(folder)
    cut = info.get("test_cut")
    if cut is not None and type(cut) is not int:
        raise TableError(
            f"{folder / INFO_FILE}: 'test_cut' is {cut!r}; give whole microseconds since 1970 UTC, or null."
        )
    return data, cut


def _folder(source: str) -> Path:
    """The folder of a data set that is not bundled; fetched where it is on the Hub."""
    folder, found = Path(source), hub_id(source)
    if found is not None:
        return fetch_tables(*found, DATA_FILES)
    if not folder.is_dir():
        raise TableError(
            f"{source}: neither a bundled data set ({', '.join(bundled_names())}) nor a folder with {ITEMS_FILE} and "
            f"{INTERACTIONS_FILE}. `reclm data import` makes such a folder from CSV, Parquet or the Hub."
        )
    return folder
