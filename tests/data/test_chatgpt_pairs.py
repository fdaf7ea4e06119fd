"""The authors' ChatGPT-3.5 pairs: read as they are, given back by the ids of the release."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.importers.chatgpt_pairs import read_chatgpt_pairs
from reclm_hf.data.tables import TableError
from tests.data.release import MIND_PAIRS, NETFLIX_PAIRS, write_release


def test_mind(tmp_path: Path) -> None:
    pairs = read_chatgpt_pairs(write_release(tmp_path, "mind"))
    assert pairs.name == "mind"
    assert [(pair.user_id, pair.items) for pair in pairs.users] == [("0", ["0", "3"]), ("2", ["2"])]
    assert pairs.users[0].text == "User identity: Golf fan, News reader, Fan; User interests: Golf, Sports, News."
    assert [pair.neighbors for pair in pairs.users] == [[], []]
    first, second = pairs.item_pairs
    assert (first.item_id, first.similar, first.reader_ids) == ("0", ["3", "1"], [])
    assert first.readers == [
        "User identity: A fan, B fan, C fan; User interests: ants, bees, cats.",
        "User identity: D fan; User interests: dogs.",
    ]
    assert (second.item_id, second.similar) == ("3", ["0"])
    assert "Title" not in first.text


def test_items_that_differ_by_their_id_alone_are_told_apart_by_the_history(tmp_path: Path) -> None:
    """Items 1 and 2 are the same news; user 2 has item 2."""
    pairs = read_chatgpt_pairs(write_release(tmp_path, "mind"))
    texts = dict(zip(pairs.items["item_id"], pairs.items["text"], strict=True))
    assert texts["1"] == texts["2"]
    assert pairs.users[1].items == ["2"]


def test_netflix(tmp_path: Path) -> None:
    folder = write_release(tmp_path, "netflix")
    pairs = read_chatgpt_pairs(folder)
    assert [(pair.user_id, pair.items, pair.neighbors) for pair in pairs.users] == [("1", ["0", "1"], ["0", "2"])]
    (item,) = pairs.item_pairs
    assert (item.item_id, item.reader_ids, item.similar) == ("1", ["7", "9"], ["0"])
    assert item.readers == [
        "user 7's profile: [User identity: A fan, B fan, C fan; User interests: ants, bees, cats.",
        "user 9's profile: User identity: D fan, E fan, F fan; User interests: dogs, elks, foxes.",
    ]


def test_the_csv_files_may_lie_elsewhere(tmp_path: Path) -> None:
    folder = write_release(tmp_path, "mind")
    other = (tmp_path / "sft" / "mind").rename(tmp_path / "pairs")
    with pytest.raises(TableError, match=r"mind_fine_tune\.csv: there is no such file.*github"):
        read_chatgpt_pairs(folder)
    assert len(read_chatgpt_pairs(folder, other).users) == 2
    for path in other.iterdir():
        path.rename(folder / path.name)
    assert len(read_chatgpt_pairs(folder).users) == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"Input": "Hello."}, r"mind_fine_tune\.csv: row 1 has a prompt of another form: 'Hello\.'"),
        (
            {"Input": "['cate': 'x', 'title': 'Unheard of'] Please provide"},
            r"mind_fine_tune\.csv: row 1 lists .*Unheard of.*an item that the release does not have",
        ),
        (
            {"Input": "['cate': open('x'), 'title': 'y'] Please provide"},
            r"mind_fine_tune\.csv: row 1 lists .*open.*an item that the release does not have",
        ),
        ({"UID": 2}, r"mind_fine_tune\.csv: '2' stands there twice"),
        (None, r"mind_fine_tune\.csv: there is no column 'Response'"),
    ],
)
def test_prompts_of_another_form_are_refused(tmp_path: Path, change: dict[str, object] | None, expected: str) -> None:
    folder = write_release(tmp_path, "mind")
    path = tmp_path / "sft" / "mind" / "mind_fine_tune.csv"
    table = pd.DataFrame(MIND_PAIRS)
    table = table.drop(columns="Response") if change is None else table
    for column, value in (change or {}).items():
        table.loc[0, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(TableError, match=expected):
        read_chatgpt_pairs(folder)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"output": "x"}, r"item_side_filter\.pkl: item '0' has .*expected input and output"),
        ("text", r"item_side_filter\.pkl: item '0' has .*expected input and output"),
        ({"input": "x", "output": "y"}, r"item_side_filter\.pkl: item '0' lists no users"),
    ],
)
def test_item_texts_of_another_form_are_refused(tmp_path: Path, entry: object, expected: str) -> None:
    folder = write_release(tmp_path, "mind")
    (folder / "gpt_output_dict_item_side_filter.pkl").write_bytes(pickle.dumps({0: entry}))
    with pytest.raises(TableError, match=expected):
        read_chatgpt_pairs(folder)


def test_an_unknown_item_is_named(tmp_path: Path) -> None:
    folder = write_release(tmp_path, "netflix")
    path = tmp_path / "sft" / "netflix" / "item_side_instruction_data.csv"
    pd.DataFrame({"UID": [1], "Input": ["\nitem 99: [Text information: x]"], "Response": ["y"]}).to_csv(
        path, index=False
    )
    with pytest.raises(TableError, match=r"item '1' names item '99', which the release does not have"):
        read_chatgpt_pairs(folder)


def test_numpy_numbers_in_the_neighbour_lists_are_read(tmp_path: Path) -> None:
    folder = write_release(tmp_path, "netflix")
    content = pickle.loads((folder / "self_instruction_dict.pkl").read_bytes())  # noqa: S301 - written by this test
    assert isinstance(content[1][0], np.int64)
    assert len(NETFLIX_PAIRS["UID"]) == len(read_chatgpt_pairs(folder).users)


@pytest.mark.shared_data
def test_mind_as_published(shared_data: Path) -> None:
    pairs = read_chatgpt_pairs(shared_data / "reclm-release" / "mind")
    assert (len(pairs.users), len(pairs.item_pairs)) == (1_694, 892)
    assert sum(len(pair.items) for pair in pairs.users) == 2_632
    assert all(len(pair.similar) == 5 for pair in pairs.item_pairs)
    assert sum(len(pair.readers) for pair in pairs.item_pairs) == 3_462


@pytest.mark.slow
@pytest.mark.shared_data
def test_netflix_as_published(shared_data: Path) -> None:
    pairs = read_chatgpt_pairs(shared_data / "reclm-release" / "netflix")
    assert (len(pairs.users), len(pairs.item_pairs)) == (1_530, 1_071)
    assert all(len(pair.neighbors) == 5 for pair in pairs.users)
    assert sum(len(pair.items) for pair in pairs.users) == 7_337
