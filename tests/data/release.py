"""A release of RecLM's authors in small: their files, their forms, our words."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix

NEWS = {
    0: {"cate": "sports", "sub_cate": "golf", "title": 'Tiger\'s "big" day', "abstract": "It's [begun]."},
    1: {"cate": "news", "sub_cate": "world", "title": "Same news", "abstract": ""},
    2: {"cate": "news", "sub_cate": "world", "title": "Same news", "abstract": ""},
    3: {"cate": "sports", "sub_cate": "nfl", "title": "Late game", "abstract": "Over\nat last."},
}
FILMS = {item: {"year": 1990 + item, "title": f"Film {item}"} for item in range(4)}


def listed(item: dict[str, Any]) -> str:
    """An item as the prompts list it."""
    return f"[{str(item)[1:-1]}]"


def _user_prompt(items: list[dict[str, Any]]) -> str:
    shown = " ".join(map(listed, items))
    return f"Describe the user. Here is the list: {shown} Please provide the profile in this format: [Identity 1]."


def _item_prompt(item: dict[str, Any], readers: str) -> str:
    return (
        f"Describe the audience. The item: {listed(item)}Here is the list of user who previously interacted with this "
        f"item: {readers}Please provide the profile with 5 identities."
    )


_FIVE = "User identity: a fan, b fan, c fan, d fan, e fan; User interests: f, g, h, i, j."
MIND_PAIRS = {
    "UID": [0, 2],
    "Input": [_user_prompt([NEWS[0], NEWS[3]]), _user_prompt([NEWS[2]])],
    "Response": [
        "User identity: Golf fan, News reader, Fan; User interests: Golf, Sports, News.",
        "User identity: Reader; User interests: News, World.",
    ],
}
NETFLIX_PAIRS = {
    "UID": [1],
    "Input": [_user_prompt([FILMS[0], FILMS[1]])],
    "Response": ["User identity: Film fan, Fan, Buff; User interests: Films, Old films, New films, Shorts."],
}
_MIND_ITEMS = {
    "UID": [0, 3],
    "Input": [
        "The target. Here is the list:\nitem 3: [Text information: Late game];\nitem 1: [Text information: Same];\n",
        "The target. Here is the list:\nitem 0: [Text information: Tiger];\n",
    ],
    "Response": [_FIVE, "User identity: a fan; User interests: f."],
}
_NETFLIX_ITEMS = {"UID": [1], "Input": ["The target.\nitem 0: [Text information: Film];\n"], "Response": [_FIVE]}
_PROFILES = (
    "User identity: A fan, B fan, C fan; User interests: ants, bees, cats.",
    "User identity: D fan; User interests: dogs.",
    "User identity: D fan, E fan, F fan; User interests: dogs, elks, foxes.",
)


def _matrix(pairs: list[tuple[int, int]], shape: tuple[int, int]) -> coo_matrix:
    rows, columns = zip(*pairs, strict=True)
    return coo_matrix((np.ones(len(pairs)), (rows, columns)), shape=shape)


_PICKLES: dict[str, dict[str, Any]] = {
    "mind": {
        "item_info_dict": NEWS,
        "item_id_map_train": {0: 0, 2: 1, 3: 2},
        "item_id_map_test": {1: 0},
        "trnMat_zero": _matrix([(0, 0), (0, 2), (1, 2), (2, 1)], (3, 3)),
        "tstMat_zero_": _matrix([(0, 0), (1, 0)], (3, 1)),
        "gpt_output_dict_item_side_filter": {
            0: {"input": _item_prompt(NEWS[0], f"[{_PROFILES[0]}][{_PROFILES[1]}]"), "output": _FIVE},
            3: {
                "input": _item_prompt(NEWS[3], f"[{_PROFILES[1]}]"),
                "output": "User identity: a fan; User interests: f.",
            },
        },
    },
    "netflix": {
        "item_info_dict": FILMS,
        "item_id_map_zero": {2: 0, 3: 1},
        "user_item_dict_test": {1: [2], 0: [1, 3]},
        "self_instruction_dict": {1: [np.int64(0), np.int64(2)], 0: [np.int64(1)]},
        "gpt_output_dict_item_side_filter": {
            1: {
                "input": _item_prompt(
                    FILMS[1], f"[user 7's profile: [{_PROFILES[0]}]][user 9's profile: {_PROFILES[2]}]"
                ),
                "output": _FIVE,
            }
        },
    },
}


def write_release(folder: Path, name: str) -> Path:
    """Write `folder/NAME` and `folder/sft/NAME`; returns the first."""
    place, pairs = folder / name, folder / "sft" / name
    place.mkdir(parents=True)
    pairs.mkdir(parents=True)
    for file, content in _PICKLES[name].items():
        (place / f"{file}.pkl").write_bytes(pickle.dumps(content, protocol=4))
    users, items = (MIND_PAIRS, _MIND_ITEMS) if name == "mind" else (NETFLIX_PAIRS, _NETFLIX_ITEMS)
    pd.DataFrame(users).to_csv(pairs / f"{name}_fine_tune.csv", index=False)
    pd.DataFrame(items).to_csv(pairs / "item_side_instruction_data.csv", index=False)
    return place
