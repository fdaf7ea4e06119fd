"""Yes and No read from the logits, and the dialogues that they are asked with."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

from reclm_hf.data.tables import TableError
from reclm_hf.profiler.answers import first_answer_probabilities
from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiler.predicting import Questions
from reclm_hf.profiles.dialogues import first_reply, first_turn, second_reply, second_turn
from reclm_hf.profiles.instructions import build_instructions
from reclm_hf.profiles.prompts import item_lines
from tests.checkerboard import checkerboard
from tests.profiler.models import BASE, adapted, lean_towards_words, profiler, tokenizer

CHATS = [[{"role": "user", "content": "Would this person choose it?" + " Really?" * n}] for n in (5, 0, 9, 2)]


@pytest.fixture(scope="module")
def one():
    return profiler()


@pytest.fixture(scope="module")
def splits():
    return checkerboard()[0]


@pytest.fixture(scope="module")
def known(splits):
    """Well-formed profiles of all users of the test split; the neighbours are the two next users of the same parity."""
    split = splits.test
    n = split.n_users
    words = ["".join(chr(ord("a") + int(digit)) for digit in f"{user:02d}") for user in range(n)]
    return pd.DataFrame(
        {
            "user_id": split.user_ids,
            "profile": [
                f"User identity: {word} fan, night owl, poet; User interests: {word}s, walks, maps" for word in words
            ],
            "neighbors": [[split.user_ids[(user + 2) % n], split.user_ids[(user + 4) % n]] for user in range(n)],
            "as_of": pd.Timestamp(split.cut, unit="us", tz="UTC"),
        }
    )


def by_hand(one, chat, answers):
    """The whole chat without padding, once for each answer: log-probabilities of its tokens after the prompt."""
    prompt = one.processor.encode(chat)
    sums = []
    for answer in answers:
        whole = one.processor.encode([*chat, {"role": "assistant", "content": answer}], reply=False)
        assert whole[: len(prompt)] == prompt
        with torch.inference_mode():
            logits = one.model(input_ids=torch.tensor([whole])).logits[0].double().log_softmax(-1)
        sums.append([float(logits[place - 1, whole[place]]) for place in range(len(prompt), len(whole))])
    return sums


def share(first, second):
    return 1 / (1 + math.exp(second - first))


def ask(one, answers, chats=CHATS, **options):
    return first_answer_probabilities(one.model, one.processor, chats, answers, **options)


def test_the_first_tokens_are_compared(one):
    found = ask(one, ("Yes", "No"))
    for chat, probability in zip(CHATS, found, strict=True):
        yes, no = by_hand(one, chat, ("Yes", "No"))
        assert probability == pytest.approx(share(yes[0], no[0]), abs=1e-6)
    assert len(np.unique(found.round(6))) == len(CHATS)
    np.testing.assert_allclose(ask(one, ("No", "Yes")), 1 - found, atol=1e-12)


def test_whole_answers_are_compared_where_the_first_tokens_coincide(one):
    answers = ("Sure yes", "Sure no, never")
    first, second = (one.processor.encode([{"role": "assistant", "content": text}], reply=False) for text in answers)
    assert first != second
    found = ask(one, answers)
    for chat, probability in zip(CHATS, found, strict=True):
        yes, no = by_hand(one, chat, answers)
        assert yes[0] == pytest.approx(no[0]), "the same token"
        assert probability == pytest.approx(share(sum(yes), sum(no)), abs=1e-6)


def test_an_answer_that_begins_like_the_other_is_told_apart_by_its_end(one):
    (probability,) = ask(one, ("Yes", "Yes and no"), CHATS[:1])
    yes, both = by_hand(one, CHATS[0], ("Yes", "Yes and no"))
    assert probability == pytest.approx(share(sum(yes), sum(both)), abs=1e-6)


@pytest.mark.parametrize("answers", [("Yes", "No"), ("Sure yes", "Sure no, never")])
def test_batches_and_their_order_change_nothing(one, answers):
    found = ask(one, answers)
    np.testing.assert_allclose(ask(one, answers, batch_size=1), found, atol=1e-6)
    np.testing.assert_allclose(ask(one, answers, CHATS[::-1], batch_size=3)[::-1], found, atol=1e-6)


def test_a_template_that_puts_thoughts_before_an_answer(one):
    """What comes before every answer is read, not scored."""
    thinking = tokenizer()
    begin = "{% if m['role'] == 'assistant' %}<think></think>{% endif %}"
    thinking.chat_template = thinking.chat_template.replace("+ m['content']", "}}" + begin + "{{ m['content']")
    other = RecLMProfiler(one.model, thinking, RecLMProfilerConfig(BASE))
    said = other.processor.text([*CHATS[1], {"role": "assistant", "content": "Yes"}], reply=False)
    assert said.endswith("<think></think>Yes<|im_end|>\n")
    (probability,) = ask(other, ("Yes", "No"), CHATS[1:2])
    yes, no = by_hand(other, CHATS[1], ("Yes", "No"))
    assert probability == pytest.approx(share(sum(yes), sum(no)), abs=1e-6)


def test_what_cannot_be_asked_is_refused(one):
    with pytest.raises(ValueError, match="are the same"):
        ask(one, ("Yes", "Yes"))
    long = [{"role": "user", "content": "word " * 3000}]
    with pytest.raises(ValueError, match=r"chat 1 has \d+ tokens, the model reads 2048"):
        ask(one, ("Yes", "No"), [CHATS[0], long])
    assert ask(one, ("Yes", "No"), []).shape == (0,)


# -- dialogues --------------------------------------------------------------------------------------------------------


def dialogue(one, splits, known, user, item, own, near):
    lines = item_lines(splits.data.items)
    profiles = known["profile"].tolist()
    return [
        *first_turn([lines[row] for row in own], [[lines[row] for row in rows] for _, rows in near]),
        first_reply([profiles[user], *(profiles[other] for other, _ in near)]),
        second_turn(lines[item]),
    ]


def recent(split, user):
    return split.history_item[split.history_user == user][::-1].tolist()


def test_the_dialogue_shows_what_is_known(one, splits, known):
    split = splits.test
    item = recent(split, 4)[3]
    found = one.predict_interaction("user-04", split.item_ids[item], splits, profiles=known, max_tokens=2048)
    own = [row for row in recent(split, 4) if row != item]
    chat = dialogue(one, splits, known, 4, item, own, [(6, recent(split, 6)), (8, recent(split, 8))])
    yes, no = by_hand(one, chat, ("Yes", "No"))
    assert found == pytest.approx(share(yes[0], no[0]), abs=1e-6)
    assert 0 < found < 1


def test_questions_are_put_as_in_tuning(one, splits, known):
    near = np.stack([(np.arange(50) + 2) % 50, (np.arange(50) + 4) % 50], axis=1)
    profiles = known.assign(evidence=[[] for _ in range(50)], prompt_version="user")
    made = build_instructions(
        splits.test, splits.data.items, near, profiles, one.tokenizer, n_per_user=2, max_tokens=2048
    )
    questions = Questions.of(splits.test, splits.data.items, known, one.tokenizer, 2048, one.config.style)
    yes = made.table[made.table["label"].astype(bool)]
    assert len(yes) > 40
    for row in yes.head(10).to_dict("records"):
        (user,), (item,) = (
            np.flatnonzero(ids == row[name])
            for ids, name in ((splits.test.user_ids, "user_id"), (splits.test.item_ids, "candidate_item_id"))
        )
        assert questions.chat(user, item, near[user].tolist()) == list(row["messages"])[:-1]


def test_neighbours_can_be_given(one, splits, known):
    near = np.full((50, 1), 10)
    near[10] = -1
    found = one.predict_interaction("user-04", "046", splits, profiles=known, neighbors=near)
    chat = dialogue(one, splits, known, 4, 46, recent(splits.test, 4), [(10, recent(splits.test, 10))])
    yes, no = by_hand(one, chat, ("Yes", "No"))
    assert found == pytest.approx(share(yes[0], no[0]), abs=1e-6)


def test_many_pairs_are_the_same_one_by_one(one, splits, known):
    import datasets

    pairs = [("user-04", "046"), ("user-11", "003"), ("user-04", "001"), ("user-30", "048")]
    found = one.predict_interactions(pairs, splits, profiles=known, batch_size=3, progress=False)
    each = [one.predict_interaction(*pair, splits, profiles=known, progress=False) for pair in pairs]
    np.testing.assert_allclose(found, each, atol=1e-6)
    stored = datasets.Dataset.from_pandas(known)
    np.testing.assert_array_equal(one.predict_interactions(pairs, splits, profiles=stored, batch_size=3), found)


def test_profiles_are_written_when_none_are_given(splits):
    model = adapted()
    lean_towards_words(model.get_base_model())
    writer = RecLMProfiler(model, tokenizer(), RecLMProfilerConfig(BASE))
    near = np.stack([(np.arange(50) + 2) % 50, (np.arange(50) + 4) % 50], axis=1)
    written = writer.generate_profiles(splits, ["user-04", "user-06", "user-08"], neighbors=near, progress=False)
    pair = ("user-04", "046")
    given = writer.predict_interaction(*pair, splits, profiles=written, neighbors=near, progress=False)
    assert writer.predict_interaction(*pair, splits, neighbors=near, progress=False) == pytest.approx(given, abs=1e-6)


def test_what_was_chosen_after_the_cut_changes_nothing(one, splits, known):
    pairs = [("user-04", "046"), ("user-11", "003")]
    before = one.predict_interactions(pairs, splits, profiles=known)
    later = dataclasses.replace(
        splits.test, target_item=splits.test.target_item[::-1].copy(), target_user=splits.test.target_user
    )
    np.testing.assert_array_equal(
        one.predict_interactions(pairs, later, items=splits.data.items, profiles=known), before
    )
    with pytest.raises(TableError, match=r"50 were written as of a time after the cut, that of 'user-00'"):
        one.predict_interactions(pairs, splits, profiles=known, period="validation")


def test_long_histories_lose_their_oldest_items(one, splits, known):
    split = splits.test
    full = one.predict_interaction("user-04", "046", splits, profiles=known)
    less = one.predict_interaction("user-04", "046", splits, profiles=known, max_tokens=500)
    assert full != less
    chats = one_chat(one, splits, known, 500)
    shown = chats[1]["content"]
    assert len(one.processor.encode([*chats, second_reply(True)], reply=False)) <= 500
    lines = item_lines(splits.data.items)
    own = [str(lines[row]) in shown.split("\n\n")[0].splitlines() for row in recent(split, 4)]
    assert own == sorted(own, reverse=True), "the latest are shown"
    assert 2 <= sum(own) < len(own)


def one_chat(one, splits, known, max_tokens):
    questions = Questions.of(splits.test, splits.data.items, known, one.tokenizer, max_tokens, one.config.style)
    return questions.chat(4, 46, [6, 8])


def test_pairs_that_cannot_be_asked_are_nan_and_counted(one, splits, known, caplog):
    known = known.copy()
    known.loc[4, "profile"] = "User identity: night owl; User interests:"
    known.loc[8, "profile"] = "no profile"
    pairs = [("user-04", "046"), ("user-06", "046")]
    found = one.predict_interactions(pairs, splits, profiles=known)
    assert np.isnan(found).tolist() == [True, False]
    assert "1 of 2 pairs have no answer: no well-formed profile of the user" in caplog.text
    alone = one.predict_interactions(pairs[1:], splits, profiles=known.assign(neighbors=[["user-10"]] * 50))
    assert found[1] == pytest.approx(alone[0], abs=1e-6), "a neighbour with a malformed profile is left out"
    assert np.isnan(one.predict_interactions(pairs, splits, profiles=known, max_tokens=60)).all()
    assert "does not fit the tokens" in caplog.text


def test_a_user_known_by_the_candidate_alone(one, splits, known, caplog):
    split = splits.test
    keep = (split.history_user != 4) | (split.history_item == recent(split, 4)[0])
    poor = dataclasses.replace(
        split, history_user=split.history_user[keep], history_item=split.history_item[keep], history_time=None
    )
    item = split.item_ids[recent(split, 4)[0]]
    assert np.isnan(one.predict_interaction("user-04", item, poor, items=splits.data.items, profiles=known))
    assert "nothing known of the user but the candidate" in caplog.text


def test_unknown_names_are_errors(one, splits, known):
    with pytest.raises(KeyError, match="unknown users: 'user-77'"):
        one.predict_interaction("user-77", "046", splits, profiles=known)
    with pytest.raises(KeyError, match="unknown items: '999'"):
        one.predict_interaction("user-04", "999", splits, profiles=known)
    with pytest.raises(TableError, match="user 'user-00' has two profiles"):
        one.predict_interaction("user-04", "046", splits, profiles=pd.concat([known, known]))
