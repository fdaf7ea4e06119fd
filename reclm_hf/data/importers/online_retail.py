"""UCI Online Retail (Chen 2015): invoices of a shop, one row an article."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..tables import TableError, bad_rows, require_columns
from .files import read_table
from .raw import RawTables
from .times import parse_times

if TYPE_CHECKING:
    import pandas as pd

DOCUMENTED = "https://archive.ics.uci.edu/dataset/352/online+retail"
INFO = {
    "licence": "CC BY 4.0",
    "attribution": "Daqing Chen. Online Retail. UCI Machine Learning Repository, 2015, doi 10.24432/C5BW33. CC BY 4.0, "
    "https://creativecommons.org/licenses/by/4.0/. Changed: rows left out as noted, rows of one customer and article "
    "merged, columns renamed.",
    "homepage": DOCUMENTED,
}
_COLUMNS = ("InvoiceNo", "StockCode", "Description", "InvoiceDate", "CustomerID")


def read_online_retail(path: str | Path, timezone: str | None = None, time_format: str | None = None) -> RawTables:
    """Read the one table of the data set.

    Left out are cancelled invoices (they begin with C), rows without a customer, and stock codes that are not five
    digits with or without letters behind them (postage, fees, manual corrections).

    Args:
        path: a CSV file (also .gz) with the columns `InvoiceNo`, `StockCode`, `Description`, `InvoiceDate` and
            `CustomerID`; others are ignored.
        timezone, time_format: see `parse_times`; times without a zone are taken as UTC.

    Returns:
        An invoice row as an interaction of the customer with the stock code at the time of the invoice. `title` and
        `text` of an article are its most common description, the earlier one of two equally common.

    Raises:
        TableError: the file or a column is absent, nothing is left, or a time cannot be read.
    """
    import pandas as pd

    source = str(path)
    if not Path(path).is_file():
        raise TableError(f"{source}: there is no such file. The table is described at {DOCUMENTED}.")
    rows = read_table(source)
    require_columns(rows, _COLUMNS, source)
    kept, notes = _kept(rows, source)
    # An invoice has many rows: its time is read once.
    times = kept["InvoiceDate"].drop_duplicates()
    stamps = parse_times(times, source, "InvoiceDate", timezone=timezone, time_format=time_format).set_axis(times)
    interactions = pd.DataFrame(
        {
            # Spreadsheets write a whole number with gaps in its column as a float.
            "user_id": kept["CustomerID"].str.removesuffix(".0").astype(object),
            "item_id": kept["StockCode"].astype(object),
            "timestamp": kept["InvoiceDate"].map(stamps),
        }
    )
    return RawTables(_items(kept, source), interactions.reset_index(drop=True), dict(INFO), notes)


def _kept(rows: pd.DataFrame, source: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows that count, with their index, and how many were left out by which rule, one rule after the other."""
    rules = {
        "cancelled invoices": lambda table: table["InvoiceNo"].str.startswith("C"),
        "no customer": lambda table: table["CustomerID"].str.strip() == "",
        "a stock code that is no article": lambda table: ~table["StockCode"].str.fullmatch(r"\d{5}[A-Za-z]*"),
    }
    notes = []
    for what, left_out in rules.items():
        mask = left_out(rows)
        notes.append(f"{int(mask.sum()):,} rows left out: {what}.")
        rows = rows[~mask]
    if not len(rows):
        raise TableError(f"{source}: no row is left ({' '.join(notes)}) Check the file.")
    return rows, notes


def _items(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    import pandas as pd

    described = rows["Description"].str.strip()
    named = pd.DataFrame({"code": rows["StockCode"], "title": described})[described != ""]
    counts = named.groupby(["code", "title"], sort=False).size().rename("rows").reset_index()
    # Stable: of two equally common descriptions the one that stands first in the file.
    counts = counts.sort_values("rows", ascending=False, kind="stable").drop_duplicates("code")
    common = counts.set_index("code")["title"]
    codes = rows["StockCode"].drop_duplicates()
    nameless = ~codes.isin(common.index)
    if nameless.any():
        what = f"no description of {codes[nameless].iloc[0]!r}"
        raise bad_rows(source, "Description", codes.index[nameless], what, "Fill one in or drop the rows.")
    titles = common[codes].to_numpy(dtype=object)
    return pd.DataFrame({"item_id": codes.to_numpy(dtype=object), "title": titles, "text": titles})
