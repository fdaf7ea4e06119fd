"""MIND (Wu et al., ACL 2020): clicks on news in the impression log, cut into two consecutive days."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..tables import TableError
from .fields import joined, plain
from .files import bad_line, numbered_lines, require_files
from .raw import RawTables
from .snapshots import choose_snapshots, users_in_both
from .times import parse_times

if TYPE_CHECKING:
    import pandas as pd

DOCUMENTED = "https://github.com/msnews/msnews.github.io/blob/master/assets/doc/introduction.md"
INFO = {
    "licence": "Microsoft Research License Terms: research use",
    "attribution": "Fangzhao Wu et al. MIND: A Large-scale Dataset for News Recommendation. ACL 2020.",
    "homepage": "https://msnews.github.io",
}
_TIME_FORMAT = "%m/%d/%Y %I:%M:%S %p"
_EXPECTED_BEHAVIOUR = (
    "id<tab>user<tab>11/11/2019 9:05:58 AM<tab>history<tab>N1-1 N2-0 (labels -1 and -0, which MIND's test part lacks)"
)
_EXPECTED_NEWS = "id<tab>category<tab>subcategory<tab>title<tab>abstract<tab>..."


def read_mind(
    folder: str | Path, train_day: str | None = None, test_day: str | None = None, max_users: int | None = None
) -> RawTables:
    """Read the log and keep two days: the first to learn from, the second to test on, users active in both.

    Args:
        folder: holds `behaviors.tsv` and `news.tsv`, or folders that do (such as `MINDsmall_train`, `MINDsmall_dev`).
        train_day, test_day: such as `2019-11-13`. By default the last day of the log and the one before it.
        max_users: keep so many of the users, drawn by a hash of their ids.

    Returns:
        A click in an impression as an interaction at the time of the impression (the log names no zone: taken as UTC);
        the column `history` has no times and is left out. Items are the news that are clicked in the two days, `text` =
        title, abstract, category and subcategory. `info["test_cut"]` is the start of the test day.

    Raises:
        TableError: a file is absent, a row cannot be read, or a day has no clicks.
    """
    folder = Path(folder)
    parts = sorted(path.parent for path in folder.glob("*/behaviors.tsv"))
    folders = [folder] if (folder / "behaviors.tsv").is_file() or not parts else parts
    for one in folders:
        require_files(one, ["behaviors.tsv", "news.tsv"], DOCUMENTED)
    clicks = _read_clicks([one / "behaviors.tsv" for one in folders])
    days = clicks["timestamp"].dt.strftime("%Y-%m-%d")
    snapshots = choose_snapshots(train_day, test_day, "D", str(folder), days.max())
    inside = days.isin([str(snapshots.train), str(snapshots.test)])
    rows, in_test = clicks[inside], (days[inside] == str(snapshots.test)).to_numpy()
    kept = users_in_both(rows["user_id"], in_test, snapshots, str(folder), set(days), max_users)
    rows = rows[kept].reset_index(drop=True)
    news = _read_news([one / "news.tsv" for one in folders])
    clicked = news[news["item_id"].isin(rows["item_id"])]
    return RawTables(clicked, rows, {**INFO, "test_cut": snapshots.test_cut}, snapshots.notes(max_users))


def _read_clicks(paths: list[Path]) -> pd.DataFrame:
    """All clicks, in the order of the files: `user_id`, `item_id`, `timestamp`."""
    import pandas as pd

    parts = []
    for path in paths:
        users, items, times, rows = [], [], [], []
        for number, line in numbered_lines(path):
            fields = line.split("\t")
            shown = fields[-1].split()
            if len(fields) != 5 or not shown or not all(entry.endswith(("-0", "-1")) for entry in shown):
                raise bad_line(path, number, line, _EXPECTED_BEHAVIOUR)
            for entry in shown:
                if entry.endswith("-1"):
                    users.append(fields[1])
                    items.append(entry[:-2])
                    times.append(fields[2])
                    rows.append(number - 1)
        stamps = parse_times(pd.Series(times, index=rows), str(path), "time", time_format=_TIME_FORMAT)
        stamps = stamps.reset_index(drop=True)
        parts.append(pd.DataFrame({"user_id": users, "item_id": items, "timestamp": stamps}))
    clicks = pd.concat(parts, ignore_index=True)
    if not len(clicks):
        raise TableError(f"{paths[0]}: holds no click (an impression that ends with -1). Check the file.")
    return clicks


def _read_news(paths: list[Path]) -> pd.DataFrame:
    """Every news once; the files of two parts of the log overlap."""
    import pandas as pd

    found: dict[str, tuple[str, str, str, list[str]]] = {}
    for path in paths:
        for number, line in numbered_lines(path):
            fields = line.split("\t")
            if len(fields) < 5 or not fields[0] or not plain(fields[3]):
                raise bad_line(path, number, line, _EXPECTED_NEWS)
            item_id, category, subcategory, title, abstract = fields[:5]
            text = joined((title, abstract, category, subcategory))
            found.setdefault(item_id, (item_id, plain(title), text, [plain(category), plain(subcategory)]))
    return pd.DataFrame(list(found.values()), columns=["item_id", "title", "text", "categories"])
