"""The profiles that ChatGPT-3.5 wrote for the authors of RecLM, from their data release: prompts in, texts out as is.

Users' prompts list the items that a profile was written from; items' prompts list profiles of users who chose the item,
and the item-side pairs list similar items. Everything is given back by the ids that `read_reclm_release` gives.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..tables import TableError, require_columns
from .fields import joined
from .files import read_table, require_files
from .raw import RawTables
from .reclm_release import DOCUMENTED, read_reclm_release
from .restricted_pickle import read_dictionary

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "chatgpt-3.5 (RecLM release)"
"""What the column `generator` says of these profiles."""

_USER_PAIRS, _ITEM_PAIRS = "{name}_fine_tune.csv", "item_side_instruction_data.csv"
_ITEM_TEXTS = "gpt_output_dict_item_side_filter.pkl"
_NEIGHBORS, _SIMILAR = "self_instruction_dict.pkl", "self_instruction_dict_item.pkl"
_COLUMNS = ["UID", "Input", "Response"]
_ITEMS = re.compile(r"\['(?:cate|year)': .*?\](?=\s*(?:\['(?:cate|year)':|Please provide))", re.DOTALL)
_READERS = re.compile(r"user who previously interacted with this item:(.*)Please provide the profile", re.DOTALL)
_NAMED = re.compile(r"user (\d+)'s profile")
_BRACKETED = re.compile(r"\[(User (?:identity|interests))\]")
_SIMILAR_ITEM = re.compile(r"^item (\d+): \[Text information:", re.MULTILINE)


@dataclass(frozen=True)
class UserPair:
    """One user's profile as written, the items of its prompt in their order, and the user's neighbours, if known."""

    user_id: str
    text: str
    prompt: str
    items: list[str]
    neighbors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ItemPair:
    """One item's profile as written.

    Attributes:
        readers: the users' profiles in its prompt, as they stand there. reader_ids: those users whom the prompt names;
            MIND's prompts name nobody, Netflix's most.
        similar: items that the item-side pairs show it beside.
    """

    item_id: str
    text: str
    prompt: str
    readers: list[str]
    reader_ids: list[str]
    similar: list[str]


@dataclass(frozen=True)
class ChatGPTPairs:
    """All pairs of one data set of the release, with its item table."""

    name: str
    items: pd.DataFrame
    users: list[UserPair]
    item_pairs: list[ItemPair]


def read_chatgpt_pairs(folder: str | Path, pairs: str | Path | None = None) -> ChatGPTPairs:
    """Read the pairs of one data set.

    Args:
        folder: of `read_reclm_release`, named `mind` or `netflix`; holds `gpt_output_dict_item_side_filter.pkl`.
        pairs: holds `mind_fine_tune.csv` or `netflix_fine_tune.csv`, and `item_side_instruction_data.csv`; None:
            `../sft/NAME` as in the release, else `folder` itself.

    Raises:
        TableError: a file is absent or broken, a prompt is of another form, or an id is unknown.
    """
    folder = Path(folder)
    name = folder.resolve().name
    beside = folder.resolve().parent / "sft" / name
    place = Path(pairs) if pairs is not None else beside if beside.is_dir() else folder
    require_files(folder, [_ITEM_TEXTS], DOCUMENTED)
    require_files(place, [_USER_PAIRS.format(name=name), _ITEM_PAIRS], DOCUMENTED)
    raw = read_reclm_release(folder)
    users = _users(place / _USER_PAIRS.format(name=name), raw, folder / _NEIGHBORS)
    return ChatGPTPairs(name, raw.items, users, _items(folder, place / _ITEM_PAIRS, set(raw.items["item_id"])))


def _users(path: Path, raw: RawTables, neighbors: Path) -> list[UserPair]:
    by_text: dict[str, list[str]] = {}
    for item, text in zip(raw.items["item_id"], raw.items["text"], strict=True):
        by_text.setdefault(text, []).append(item)
    rows = _rows(path)
    taken = raw.interactions[raw.interactions["user_id"].isin({user for user, _, _ in rows})]
    own = set(zip(taken["user_id"], taken["item_id"], strict=True))
    near = {str(user): list(map(str, found)) for user, found in _optional(neighbors).items()}
    pairs = []
    for row, (user, prompt, text) in enumerate(rows, start=1):
        listed = _listed(path, row, prompt, by_text)
        # Some items differ by their id alone: the one that the user has is meant.
        items = [next((item for item in same if (user, item) in own), same[0]) for same in listed]
        pairs.append(UserPair(user, text, prompt, items, near.get(user, [])))
    return pairs


def _listed(path: Path, row: int, prompt: str, by_text: dict[str, list[str]]) -> list[list[str]]:
    """What a user's prompt lists, each item written as a Python dictionary in square brackets: the ids that fit."""
    found = []
    for entry in _ITEMS.findall(prompt):
        try:
            fields = ast.literal_eval("{" + entry[1:-1] + "}")  # literals alone: it runs nothing
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            fields = {}
        text = _text(fields) if isinstance(fields, dict) else ""
        if text not in by_text:
            raise TableError(f"{path}: row {row} lists {entry[:60]!r}, an item that the release does not have.")
        found.append(by_text[text])
    if not found:
        raise TableError(f"{path}: row {row} has a prompt of another form: {prompt[:60]!r}, without a list of items.")
    return found


def _text(fields: dict[str, object]) -> str:
    """The text that `read_reclm_release` gives an item of these fields."""
    if "year" in fields:
        return f"{fields.get('title')} ({fields['year']})"
    return joined(fields.get(part) for part in ("title", "abstract", "cate", "sub_cate"))


def _items(folder: Path, path: Path, known: set[str]) -> list[ItemPair]:
    similar = {str(item): list(map(str, found)) for item, found in _optional(folder / _SIMILAR).items()}
    shown = {item: _SIMILAR_ITEM.findall(prompt) for item, prompt, _ in _rows(path)}
    texts = folder / _ITEM_TEXTS
    pairs = []
    for key, entry in read_dictionary(texts).items():
        item = str(key)
        try:
            prompt, text = entry["input"], entry["output"]
            listed = _READERS.search(prompt)
        except (KeyError, TypeError) as error:
            raise TableError(f"{texts}: item {item!r} has {entry!r:.60}, expected input and output.") from error
        near = shown.get(item) or similar.get(item, [])
        unknown = [other for other in (item, *near) if other not in known]
        if unknown or listed is None:
            what = f"names item {unknown[0]!r}, which the release does not have" if unknown else "lists no users"
            raise TableError(f"{texts}: item {item!r} {what}. Download the release again.")
        readers = [part.strip(" []\n") for part in _BRACKETED.sub(r"\1", listed[1]).split("]")]
        pairs.append(ItemPair(item, text, prompt, list(filter(None, readers)), _NAMED.findall(listed[1]), list(near)))
    return pairs


def _rows(path: Path) -> list[tuple[str, str, str]]:
    table = read_table(str(path))
    require_columns(table, _COLUMNS, str(path))
    repeated = table["UID"][table["UID"].duplicated()]
    if len(repeated):
        raise TableError(f"{path}: {repeated.iloc[0]!r} stands there twice. Download the release again.")
    return [(str(who), str(prompt), str(text)) for who, prompt, text in table[_COLUMNS].itertuples(index=False)]


def _optional(path: Path) -> dict[object, list[object]]:
    return read_dictionary(path) if path.is_file() else {}
