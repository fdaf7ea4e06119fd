from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.tables import TableError
from reclm_hf.profiler.answers import first_answer_probabilities
from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.processing_reclm_profiler import RecLMProfilerProcessor
from reclm_hf.profiles.dialogues import answer_words, first_reply, first_turn, second_reply, second_turn
from reclm_hf.profiles.prompts import ItemLine
from reclm_hf.tuning.measures.floors import FLOORS, combined, floor_scores, logistic_weights
from reclm_hf.tuning.measures.yes_no import auc, auc_difference, questions, yes_probabilities
from tests.checkerboard import checkerboard
from tests.profiler.models import BASE, base_model, tokenizer

PROFILE = "User identity: tea drinker, map reader, night owl; User interests: long walks, old maps, cold lakes"


def chats_of(user: int, candidates: int) -> list[list]:
    """Chats of one user that differ in the last question only."""
    own = [ItemLine(f"Saw number {user}"), *(ItemLine(f"Oak board {row}") for row in range(2 + user))]
    begin = [*first_turn(own, [[ItemLine("Mug")]]), first_reply([PROFILE, PROFILE])]
    return [[*begin, second_turn(ItemLine("Lamp " * row + f"of {row}"))] for row in range(1, candidates + 1)]


def brute_force(labels: np.ndarray, scores: np.ndarray) -> float:
    won = [
        1.0 if yes > no else 0.5 if yes == no else 0.0
        for yes in scores[labels].tolist()
        for no in scores[~labels].tolist()
    ]
    return float(np.mean(won))


def test_a_shared_beginning_changes_no_answer() -> None:
    model, processor = base_model(), RecLMProfilerProcessor(tokenizer(), RecLMProfilerConfig(BASE))
    chats = [chat for user in range(4) for chat in chats_of(user, 1 + user)]
    mixed = [chats[row] for row in np.random.default_rng(0).permutation(len(chats))]
    plain = first_answer_probabilities(model, processor, mixed, answer_words())
    for batch_size in (1, 2, 8):
        np.testing.assert_allclose(yes_probabilities(model, processor, mixed, batch_size=batch_size), plain, atol=1e-5)
    assert np.ptp(plain) > 1e-3, "the answers depend on the question"


def test_a_beginning_is_read_once() -> None:
    model, processor = base_model(), RecLMProfilerProcessor(tokenizer(), RecLMProfilerConfig(BASE))
    read = []
    model.model.embed_tokens.register_forward_hook(lambda module, args, out: read.append(args[0].numel()))
    chats = chats_of(3, 6)
    yes_probabilities(model, processor, chats)
    once = sum(read)
    read.clear()
    first_answer_probabilities(model, processor, chats, answer_words())
    assert once < sum(read) / 2


def test_equal_chats_are_read_too() -> None:
    model, processor = base_model(), RecLMProfilerProcessor(tokenizer(), RecLMProfilerConfig(BASE))
    chat = chats_of(1, 1)[0]
    found = yes_probabilities(model, processor, [chat, chat])
    assert found[0] == pytest.approx(found[1])
    assert found[0] == pytest.approx(yes_probabilities(model, processor, [chat])[0], abs=1e-5)


def test_a_chat_that_is_too_long_is_named() -> None:
    model, processor = base_model(), RecLMProfilerProcessor(tokenizer(), RecLMProfilerConfig(BASE))
    model.config.max_position_embeddings = 50
    with pytest.raises(ValueError, match=r"chat 0 has .* the model reads 50"):
        yes_probabilities(model, processor, chats_of(1, 2))


@pytest.mark.parametrize("seed", range(3))
def test_auc_is_the_share_of_pairs_won(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, users = rng.random(120) < 0.4, rng.integers(0, 15, 120)
    scores = rng.integers(0, 8, 120) + labels  # many ties
    found = auc(labels, scores, users)
    assert found.value == pytest.approx(brute_force(labels, scores), abs=1e-12)
    assert found.low < found.value < found.high
    assert (found.rows, found.users) == (120, 15)


def test_interval_of_the_auc_draws_whole_users() -> None:
    rng = np.random.default_rng(0)
    n_users, each = 60, 10
    users = np.repeat(np.arange(n_users), each)
    labels = np.tile(np.arange(each) % 2 == 0, n_users)
    of_user = np.repeat(rng.standard_normal(n_users), each)  # users differ in how often they are told right
    scores = rng.standard_normal(len(users)) + labels * of_user * 3
    clustered, rows = auc(labels, scores, users), auc(labels, scores, np.arange(len(users)))
    assert clustered.value == rows.value
    assert clustered.high - clustered.low > 1.5 * (rows.high - rows.low)


def test_paired_difference_covers_a_planted_one_and_is_narrower_than_unpaired() -> None:
    rng = np.random.default_rng(1)
    users, labels = np.repeat(np.arange(200), 4), np.tile([True, False, True, False], 200)
    before = rng.standard_normal(800) + labels * 0.5
    after = before + labels * 0.3
    found = auc_difference(labels, after, before, users)
    planted = 0.5 * (1 + _erf(0.8 / 2)) - 0.5 * (1 + _erf(0.5 / 2))
    assert found.low < planted < found.high
    assert found.low > 0
    one, other = auc(labels, before, users), auc(labels, after, users)
    assert found.value == pytest.approx(other.value - one.value)
    assert found.high - found.low < 0.5 * (one.high - one.low)
    same = auc_difference(labels, before, before, users)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def _erf(x: float) -> float:
    from math import erf

    return erf(x)


def test_auc_without_both_answers_is_unknown() -> None:
    found = auc(np.ones(4, dtype=bool), np.arange(4.0), ["a", "a", "b", "b"])
    assert np.isnan([found.value, found.low, found.high]).all()
    with pytest.raises(ValueError, match="NaN"):
        auc(np.array([True, False]), np.array([np.nan, 1.0]), ["a", "b"])


def test_questions_are_the_chats_up_to_the_answer() -> None:
    messages = [*chats_of(0, 1)[0], second_reply(True)]
    row = {"messages": messages, "variant": "mask", "user_id": "u", "candidate_item_id": "i", "label": True}
    rows, chats = questions(pd.DataFrame([row, {**row, "candidate_item_id": None, "label": None}]))
    assert rows.to_dict("records") == [{"user_id": "u", "item_id": "i", "label": True}]
    assert json.dumps(chats) == json.dumps([messages[:-1]])
    with pytest.raises(TableError, match="no row asks about an item"):
        questions(pd.DataFrame([{**row, "candidate_item_id": None}]))
    with pytest.raises(TableError, match="user 'u' about item 'i' does not end with"):
        questions(pd.DataFrame([{**row, "messages": messages[:-1]}]))


def asked(n: int = 40) -> tuple:
    """Pairs of the checkerboard: a Yes from the user's own parity, a No from the other."""
    splits, vectors = checkerboard()
    split = splits.validation
    seen = split.history_matrix().toarray() > 0
    users, items, labels = [], [], []
    for user in range(n):
        for label in (True, False):
            pool = np.flatnonzero(seen[user] if label else ~seen[user] & split.warm & (np.arange(50) % 2 != user % 2))
            users.append(str(split.user_ids[user]))
            items.append(str(split.item_ids[pool[user % len(pool)]]))
            labels.append(label)
    return split, vectors, users, items, np.array(labels)


def test_floors_find_what_is_planted_and_do_not_see_the_pair() -> None:
    split, vectors, users, items, labels = asked()
    found = floor_scores(split, vectors, users, items, labels)
    assert list(found) == list(FLOORS)
    for name in ("text", "item_knn", "combined"):
        assert auc(labels, found[name], users).value > 0.95, name
    # The same data without the pairs of the Yes rows give the same scores: a floor that saw them would change.
    for row in np.flatnonzero(labels)[:8]:
        user, item = list(split.user_ids).index(users[row]), list(split.item_ids).index(items[row])
        keep = ~((split.history_user == user) & (split.history_item == item))
        without = replace(
            split,
            history_user=split.history_user[keep],
            history_item=split.history_item[keep],
            history_time=split.history_time[keep],
        )
        again = floor_scores(without, vectors, users[row : row + 1], items[row : row + 1], labels[row : row + 1])
        for name in ("popularity", "text", "item_knn"):
            assert again[name][0] == pytest.approx(found[name][row], abs=1e-9), name


def test_floors_are_at_chance_where_labels_are_random() -> None:
    split, vectors, users, items, labels = asked()
    shuffled = np.random.default_rng(0).permutation(labels)
    found = floor_scores(split, vectors, users, items, shuffled)
    assert abs(auc(shuffled, found["combined"], users).value - 0.5) < 0.2


def test_combination_learns_from_other_users_only() -> None:
    rng = np.random.default_rng(0)
    users = [f"user {row // 2}" for row in range(400)]
    labels = np.tile([True, False], 200)
    useful, noise = labels + 0.8 * rng.standard_normal(400), rng.standard_normal(400)
    scores = combined({"useful": useful, "noise": noise}, users, labels)
    assert auc(labels, scores, users).value == pytest.approx(auc(labels, useful, users).value, abs=0.03)
    changed = labels.copy()
    changed[:2] = ~changed[:2]
    again = combined({"useful": useful, "noise": noise}, users, changed)
    assert (again[:2] == scores[:2]).all(), "a user's own answers do not move the user's scores"
    assert (again != scores).any()


def test_logistic_weights_are_a_minimum() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((4000, 2))
    labels = rng.random(4000) < 1 / (1 + np.exp(-(0.3 + features @ [1.5, -0.7])))
    np.testing.assert_allclose(logistic_weights(features, labels), [0.3, 1.5, -0.7], atol=0.15)


def test_unknown_ids_are_refused() -> None:
    split, vectors, users, items, labels = asked(4)
    with pytest.raises(KeyError, match="no 'nobody'"):
        floor_scores(split, vectors, ["nobody", *users[1:]], items, labels)
