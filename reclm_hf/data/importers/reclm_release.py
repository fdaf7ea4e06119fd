"""The data that the authors of RecLM published: MIND whole, Netflix without its train matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tables import TableError
from .fields import joined
from .files import require_files
from .raw import RawTables
from .restricted_pickle import read_dictionary, read_matrix

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import coo_array

DOCUMENTED = "https://github.com/HKUDS/RecLM"
INFO = {
    "licence": "research use, as the data set it was cut from (MIND or Netflix Prize)",
    "attribution": "RecLM: Recommendation Instruction Tuning. ACL 2025, arXiv 2412.19302; the authors' data release.",
    "homepage": DOCUMENTED,
}
_TRAIN, _TEST = "trnMat_zero.pkl", "tstMat_zero_.pkl"
_PARTIAL = ("item_id_map_zero.pkl", "user_item_dict_test.pkl")


def read_reclm_release(folder: str | Path) -> RawTables:
    """Read one folder of the release through the restricted unpickler.

    With both matrices (MIND) the split is the authors': train = first snapshot, test = second, pairs of both only in
    train. Users are the rows of the matrices. Without them (Netflix as published) one thing can be built: the second
    snapshot by itself, its interactions with items of the first snapshot as train, those with new items as test. That
    measures recommendation of new items from a history, but it is not the paper's protocol: nothing of the first
    snapshot is in it. A note says so.

    Args:
        folder: holds `item_info_dict.pkl` and either `trnMat_zero.pkl`, `tstMat_zero_.pkl`, `item_id_map_train.pkl`
            and `item_id_map_test.pkl`, or `item_id_map_zero.pkl` and `user_item_dict_test.pkl`.

    Returns:
        `interactions` with `split` and without times. `text` of the items: title, abstract, category, subcategory
        where there are any, else "Title (year)".

    Raises:
        TableError: a file is absent, broken, asks for code, or does not fit the others.
    """
    folder = Path(folder)
    require_files(folder, ["item_info_dict.pkl"], DOCUMENTED)
    items = _items(folder / "item_info_dict.pkl")
    if (folder / _TRAIN).is_file() and (folder / _TEST).is_file():
        return RawTables(items, _both_snapshots(folder), dict(INFO))
    absent = " and ".join(name for name in (_TRAIN, _TEST) if not (folder / name).is_file())
    if not all((folder / name).is_file() for name in _PARTIAL):
        raise TableError(
            f"{folder}: {absent} and some of {' and '.join(_PARTIAL)} are missing: neither both snapshots nor the new "
            f"items of the second can be read. The release is described at {DOCUMENTED}."
        )
    note = (
        f"Not the paper's protocol: the release lacks {absent}. Histories (train) are the second snapshot's "
        "interactions with items of the first snapshot, targets (test) those with new items."
    )
    return RawTables(items, _second_snapshot(folder), {**INFO, "protocol": note}, [note])


def _both_snapshots(folder: Path) -> pd.DataFrame:
    import pandas as pd

    maps = ("item_id_map_train.pkl", "item_id_map_test.pkl")
    require_files(folder, maps, DOCUMENTED)
    train, test = (read_matrix(folder / name) for name in (_TRAIN, _TEST))
    if train.shape[0] != test.shape[0]:
        raise TableError(
            f"{folder}: {_TRAIN} has {train.shape[0]:,} users and {_TEST} {test.shape[0]:,}. Download both again."
        )
    parts = [_pairs(train, folder / maps[0], "train"), _pairs(test, folder / maps[1], "test")]
    return pd.concat(parts, ignore_index=True)


def _pairs(matrix: coo_array, map_path: Path, split: str) -> pd.DataFrame:
    """The entries of a matrix by the ids of its rows (users) and, through the map id -> column, of its columns."""
    import pandas as pd

    columns = read_dictionary(map_path)
    if set(columns.values()) != set(range(matrix.shape[1])) or len(columns) != matrix.shape[1]:
        raise TableError(f"{map_path}: does not map ids to the {matrix.shape[1]:,} columns of the {split} matrix.")
    item_ids = np.empty(matrix.shape[1], dtype=object)
    for item, column in columns.items():
        item_ids[column] = str(item)
    there = matrix.data != 0
    users = [str(user) for user in matrix.row[there]]
    return pd.DataFrame({"user_id": users, "item_id": item_ids[matrix.col[there]], "split": split})


def _second_snapshot(folder: Path) -> pd.DataFrame:
    import pandas as pd

    new = read_dictionary(folder / _PARTIAL[0])
    taken = read_dictionary(folder / _PARTIAL[1])
    odd = [user for user, items in taken.items() if not isinstance(items, list)]
    if odd:
        raise TableError(f"{folder / _PARTIAL[1]}: user {odd[0]!r} has no list of items. Download it again.")
    rows = [
        (str(user), str(item), "test" if item in new else "train") for user, items in taken.items() for item in items
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "split"])


def _items(path: Path) -> pd.DataFrame:
    import pandas as pd

    rows = [_item(path, item, fields) for item, fields in read_dictionary(path).items()]
    return pd.DataFrame(rows, columns=["item_id", "title", "text", "categories"])


def _item(path: Path, item: object, fields: Any) -> tuple[str, str, str, list[str]]:
    try:
        title = fields["title"]
        if "year" in fields:
            title = f"{title} ({fields['year']})"
            return str(item), title, title, []
        category, subcategory = fields["cate"], fields["sub_cate"]
        return str(item), title, joined((title, fields["abstract"], category, subcategory)), [category, subcategory]
    except (KeyError, TypeError) as error:
        raise TableError(
            f"{path}: item {item!r} has {fields!r:.80}, expected title with year, or cate, sub_cate, title, abstract."
        ) from error
