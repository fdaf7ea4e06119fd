"""The data sets that ship with the package, each a folder of `bundled_tables/` with its licence beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .folder import file_sha256, read_dataset, read_info
from .profile_tables import Side, read_profiles
from .tables import TableError

if TYPE_CHECKING:
    import pandas as pd

    from .interactions import Interactions
    from .splits import Splits

DEFAULT = "movietweetings-100k-u10"
_TABLES = Path(__file__).parent / "bundled_tables"


def bundled_names() -> list[str]:
    """The names that `load_bundled` knows."""
    return sorted(path.parent.name for path in _TABLES.glob("*/dataset.json"))


def bundled_folder(name: str = DEFAULT) -> Path:
    """The folder of a bundled data set.

    Raises:
        ValueError: no such data set.
    """
    if name not in bundled_names():
        raise ValueError(f"There is no bundled data set {name!r}: choose one of {', '.join(bundled_names())}.")
    return _TABLES / name


def bundled_info(name: str = DEFAULT) -> dict[str, Any]:
    """What `dataset.json` says: licence, attribution, citation, source, cut, rules, counts, SHA-256 of the tables."""
    return read_info(bundled_folder(name))


def load_bundled(name: str = DEFAULT) -> Interactions:
    """All interactions of a bundled data set.

    Raises:
        ValueError: no such data set.
        TableError: a file is not the one that was shipped.
    """
    folder = bundled_folder(name)
    for file, expected in bundled_info(name)["sha256"].items():
        if file_sha256(folder / file) != expected:
            raise TableError(f"{folder / file}: is not the file that was shipped. Install the package again.")
    return read_dataset(folder)[0]


def bundled_splits(name: str = DEFAULT) -> Splits:
    """The data set cut where `dataset.json` says; the validation split lies inside the time before that cut."""
    from .splits import temporal_split

    return temporal_split(load_bundled(name), cut=bundled_info(name)["test_cut"])


def bundled_profiles(name: str = DEFAULT, which: str = "test", side: Side = "user") -> pd.DataFrame:
    """The profiles written from what was known before one of the two cuts; see `read_profiles`.

    Args:
        which: `validation` while choosing settings, `test` for the refit: the second knows what the first must not.
        side: `user` for the columns of `PROFILE_COLUMNS`, `item` for those of `ITEM_PROFILE_COLUMNS`.

    Raises:
        ValueError: an unknown data set, cut or side.
        TableError: the table is absent or broken.
    """
    return read_profiles(bundled_profiles_path(name, which, side), side)


def bundled_profiles_path(name: str, which: str, side: Side) -> Path:
    """The file of these profiles, whether or not it was shipped.

    Raises:
        ValueError: an unknown data set, cut or side.
    """
    if which not in ("validation", "test"):
        raise ValueError(f"which={which!r}: profiles exist as of the cuts 'validation' and 'test'.")
    if side not in ("user", "item"):
        raise ValueError(f"side={side!r}: profiles exist of the sides 'user' and 'item'.")
    return bundled_folder(name) / f"{side}_profiles-{which}.parquet"
