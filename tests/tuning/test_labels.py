"""What is learnt is proven from the labels; whatever else would be learnt is refused with the row's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reclm_hf.data.tables import TableError
from reclm_hf.tuning.chat_templates import reply_frame, training_template
from reclm_hf.tuning.held_out import hash_order
from reclm_hf.tuning.inputs import held_out, read_instructions, resolve_variant
from reclm_hf.tuning.labels import check_labels, replies_to_learn, require_fitting
from tests.profiles.tiny import tiny_tokenizer
from tests.tuning.sft_parts import chats, write_chats

FRAME = reply_frame(tiny_tokenizer(), training_template(tiny_tokenizer()))


def batches(table, variant):  # type: ignore[no-untyped-def]
    """Labels as a trainer makes them, by a way of our own: every reply is looked for in the rendered chat."""
    tokenizer = tiny_tokenizer()
    made = []
    for messages in table["messages"]:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False)
        encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        spans, start = [], 0
        for message in messages:
            place = text.index(message["content"], start)
            start = place + len(message["content"])
            if message["role"] == "assistant":
                spans.append((place, start + len("<|im_end|>")))
        spans = spans if variant == "mask" else spans[-1:]
        labels = [
            token if any(a <= begin and end <= b for a, b in spans) else -100
            for token, (begin, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]
        made.append({"labels": [labels]})
    return made


@pytest.mark.parametrize("variant", ["mask", "naive", "distill"])
def test_right_labels_pass_and_are_counted(variant: str) -> None:
    table, tokenizer = chats(3, "distill" if variant == "distill" else "mask"), tiny_tokenizer()
    made = batches(table, variant)
    count = check_labels(table, made, tokenizer, variant, FRAME, "t")
    assert count == sum(label != -100 for batch in made for label in batch["labels"][0])
    assert count == sum(
        len(tokenizer.encode(reply, add_special_tokens=False)) + 1
        for messages in table["messages"]
        for reply in replies_to_learn(messages, variant)
    )


def break_labels(kind: str, labels: list[int]) -> list[int]:
    learnt = [place for place, label in enumerate(labels) if label != -100]
    labels = list(labels)
    if kind == "no end token":
        labels[learnt[-1]] = -100
    elif kind == "line break too":
        labels[learnt[-1] + 1] = tiny_tokenizer().encode("\n")[0]
    elif kind == "nothing":
        labels = [-100] * len(labels)
    elif kind == "prompt too":
        labels[learnt[0] - 1] = 7
    elif kind == "reply cut":
        labels[learnt[0]] = -100
    return labels


@pytest.mark.parametrize("kind", ["no end token", "line break too", "nothing", "prompt too", "reply cut"])
@pytest.mark.parametrize("variant", ["mask", "naive"])
def test_wrong_labels_stop_the_run_and_name_the_row(kind: str, variant: str) -> None:
    table, tokenizer = chats(3), tiny_tokenizer()
    made = batches(table, variant)
    made[3]["labels"][0] = break_labels(kind, made[3]["labels"][0])
    with pytest.raises(TableError, match=r"row 3 \(user 'u1', item 'i1'\)"):
        check_labels(table, made, tokenizer, variant, FRAME, "t")


def test_a_second_reply_that_is_lost_is_seen() -> None:
    table, tokenizer = chats(2), tiny_tokenizer()
    made = batches(table, "mask")
    labels = made[0]["labels"][0]
    made[0]["labels"][0] = [*labels[:-4], -100, -100, -100, -100]
    with pytest.raises(TableError, match="not the 2 replies"):
        check_labels(table, made, tokenizer, "mask", FRAME, "t")


def test_rows_that_a_trainer_dropped_are_missed() -> None:
    table, tokenizer = chats(2), tiny_tokenizer()
    with pytest.raises(TableError, match="kept 3 of 4"):
        check_labels(
            table,
            batches(table, "mask")[1:],
            tokenizer,
            "mask",
            FRAME,
            "t",
        )


def test_long_chats_are_refused_not_cut() -> None:
    table, tokenizer = chats(4), tiny_tokenizer()
    lengths = require_fitting(table, tokenizer, training_template(tokenizer), 1000, "t")
    with pytest.raises(TableError, match=r"1 chats have more than|chats have more than.*row"):
        require_fitting(table, tokenizer, training_template(tokenizer), max(lengths) - 1, "t")
    assert require_fitting(table, tokenizer, training_template(tokenizer), max(lengths), "t") == lengths


def test_a_chat_without_a_marked_reply_is_refused() -> None:
    table, tokenizer = chats(2), tiny_tokenizer()
    with pytest.raises(TableError, match=r"row 0 .*no token to learn"):
        require_fitting(table, tokenizer, tokenizer.chat_template, 1000, "t")


def test_tables_of_another_kind_are_refused(tmp_path: Path) -> None:
    two = str(write_chats(tmp_path / "two.parquet"))
    one = str(write_chats(tmp_path / "one.parquet", variant="distill"))
    assert resolve_variant(read_instructions(two), None, two) == "mask"
    assert resolve_variant(read_instructions(two, "naive"), "naive", two) == "naive"
    assert resolve_variant(read_instructions(one), None, one) == "distill"
    with pytest.raises(TableError, match=r"cannot be tuned on as 'mask'.*--variant mask"):
        read_instructions(one, "mask")
    with pytest.raises(TableError, match="cannot be tuned on as 'distill'"):
        read_instructions(two, "distill")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"instructions\.parquet"):
        read_instructions(str(tmp_path))
    with pytest.raises(OSError, match="nowhere"):
        read_instructions(str(tmp_path / "nowhere.parquet"))


def test_users_are_held_out_whole_and_whatever_the_order() -> None:
    users = [f"u{number // 3}" for number in range(3000)]
    mask = held_out(users, 0.2, 1)
    assert mask.sum() == 600
    assert all(len(set(mask[start : start + 3])) == 1 for start in range(0, 3000, 3))
    assert (held_out(users[::-1], 0.2, 1)[::-1] == mask).all()
    assert (held_out(users, 0.2, 2) != mask).any()
    assert not held_out(users, 0.0, 1).any()
    assert held_out(["a", "b", "c"], 0.05, 0).sum() == 1
    assert not held_out(["a"], 0.5, 0).any()


def test_users_are_held_out_among_those_that_another_draw_has_left() -> None:
    """The users of `reclm measure` are drawn by a hash of seed and id too; the same hash would hold out nobody else."""
    users = [f"u{number}" for number in range(2000)]
    drawn = set(hash_order(users, 0)[:600])
    left = [user for row, user in enumerate(users) if row not in drawn]
    assert held_out(left, 0.2, 0).sum() == 280
    overlap = set(hash_order(left, 0)[:280]) & set(np.flatnonzero(held_out(left, 0.2, 0)).tolist())
    assert 30 < len(overlap) < 85, "an independent draw shares a fifth"
