"""The forms of a request: what each says word for word, what fits the tokens, what engines and tables make of it."""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclm_hf.commands.profile_options import add_form_options
from reclm_hf.profiles.dialogues import SYSTEM, first_turn, persons_part
from reclm_hf.profiles.engine_openai import OpenAIEngine
from reclm_hf.profiles.engine_transformers import TransformersEngine
from reclm_hf.profiles.engines import ProfileRequest
from reclm_hf.profiles.evidence import UserEvidence, collect_evidence
from reclm_hf.profiles.forms import FORMS, REPLY_TOKENS, ask, form_version, requests_in_form
from reclm_hf.profiles.generate import generate_user_profiles, user_requests
from reclm_hf.profiles.instructions import build_instructions
from reclm_hf.profiles.leakage import certify
from reclm_hf.profiles.preferences import build_preferences
from reclm_hf.profiles.profile import well_formed
from reclm_hf.profiles.prompts import EXAMPLES, PromptStyle, item_lines
from tests.checkerboard import checkerboard
from tests.profiles.chat_server import completion, scripted
from tests.profiles.tiny import WordEngine, tiny_model, tiny_tokenizer

PROFILE = "User identity: night owl, map reader, jazz fan; User interests: old maps, late trains, cold lakes"
OTHER = PROFILE.replace("night owl", "early bird")
ASK = "What kind of enthusiast is this person, and what does this person enjoy?"
ASK_PERSON = "What kind of enthusiast is the person, and what does the person enjoy? Answer with one line."


@pytest.fixture(scope="module")
def board() -> tuple:
    """Test split, items, and two neighbours of everybody's own parity."""
    splits, _ = checkerboard()
    users = np.arange(50)
    near = np.stack([(users + 2) % 50, (users + 4) % 50], axis=1).astype(np.int32)
    return splits.test, splits.data.items, near


def requests(board: tuple, form: str, users: Any = (3, 8), **options: Any) -> list[ProfileRequest]:
    return requests_in_form(*board, users, form, **{"tokenizer": tiny_tokenizer(), **options})


def write(board: tuple, folder: Path, form: str, engine: Any = None, **options: Any) -> Any:
    options = {"progress": False, "tokenizer": tiny_tokenizer(), **options}
    return generate_user_profiles(*board, engine or WordEngine(), folder, form=form, **options)


def cost(request: ProfileRequest) -> int:
    """Tokens of the chat with an empty reply that has begun, and of what is left free for the rest."""
    reply = {"role": "assistant", "content": request.begin}
    text = tiny_tokenizer().apply_chat_template([*request.examples, *request.messages, reply], tokenize=False)
    return len(tiny_tokenizer()(text, add_special_tokens=False)["input_ids"]) + REPLY_TOKENS


def few(board: tuple) -> tuple[list[UserEvidence], Any, list]:
    """Evidence of one user, cut short so that a prompt can be written out."""
    split, items, near = board
    (part,) = collect_evidence(split, near, [3], history_items=2, neighbor_items=1)
    return [part], split, item_lines(items)


def test_the_plain_form_word_for_word(board: tuple) -> None:
    (one,) = ask(*few(board), "plain")
    assert one.request.examples == EXAMPLES[:1]
    assert one.request.messages[0]["content"] == (
        "Similar people chose: Title 043; Title 017\n\n"
        "This person chose:\n- Title 045 (beta)\n- Title 003 (beta)\nWhat stands out: beta\n" + ASK
    )
    assert (one.request.key, one.request.begin) == ("user-03", "")


def test_the_own_form_word_for_word_and_as_it_is_tuned_on(board: tuple, tmp_path: Path) -> None:
    (one,) = ask(*few(board), "own", None, tiny_tokenizer())
    assert one.request.examples == EXAMPLES[:1]
    assert one.request.messages[0]["content"] == (
        "This person chose:\n- Title 045 (beta)\n- Title 003 (beta)\nWhat stands out: beta\n" + ASK
    )
    assert (one.shown.similar, one.shown.neighbors) == ([], [])
    table = write(board, tmp_path, "examples")
    made = build_instructions(*board, table, tiny_tokenizer(), variant="distill").table
    tuned_on = {row.user_id: row.messages[:-1] for row in made.itertuples()}
    asked = requests(board, "own", range(50))
    assert {one.key: [*one.examples, *one.messages] for one in asked} == tuned_on


def test_the_dialogue_form_word_for_word(board: tuple) -> None:
    (one,) = requests(board, "dialogue", [3], max_tokens=330)
    assert one.examples == ({"role": "system", "content": SYSTEM},)
    assert one.messages[0]["content"] == (
        "The person chose:\n- Title 045 (beta)\n- Title 003 (beta)\n\n"
        "Similar person 1 chose:\n- Title 043 (beta)\n- Title 005 (beta)\n\n"
        "Similar person 2 chose:\n- Title 007 (beta)\n- Title 045 (beta)\n\n" + ASK_PERSON
    )
    assert (one.key, one.begin) == ("user-03", "The person: ")


def test_the_examples_form_is_what_was_always_asked(board: tuple) -> None:
    split, items, near = board
    asked = requests(board, "examples", tokenizer=None)
    assert asked == user_requests(collect_evidence(split, near, [3, 8]), split, item_lines(items))
    assert asked[0].examples == EXAMPLES
    plain = requests(board, "plain", tokenizer=None)
    assert [one.messages for one in plain] == [one.messages for one in asked]


def test_all_profiles_are_asked_for_unless_told_otherwise(board: tuple) -> None:
    lines = item_lines(board[1])
    every, one = (first_turn(lines[:2], [lines[2:4]], ask_all=value)[1]["content"] for value in (True, False))
    assert every == first_turn(lines[:2], [lines[2:4]])[1]["content"]
    assert every.rpartition("\n\n")[0] == one.rpartition("\n\n")[0]
    assert one.endswith(ASK_PERSON)


@pytest.mark.parametrize("form", ["own", "dialogue"])
def test_whole_items_give_way_until_the_chat_fits(board: tuple, form: str) -> None:
    everything = {str(line) for line in item_lines(board[1])}
    counts = []
    for limit in (1000, 500, 400, 330, 290):
        for one in requests(board, form, range(0, 50, 7), max_tokens=limit):
            shown = [line for line in one.messages[0]["content"].split("\n") if line.startswith("- ")]
            assert cost(one) <= limit
            assert set(shown) <= everything
            counts.append((limit, len(shown)))
    most, least = (max(n for limit, n in counts if limit == which) for which in (1000, 290))
    assert 1 <= least < most


def test_what_a_cut_dialogue_shows_is_its_evidence(board: tuple) -> None:
    split, items, near = board
    lines = item_lines(items)
    evidence = collect_evidence(split, near, [3])
    for limit, neighbors in ((400, [5, 7]), (310, [5]), (268, [])):
        (one,) = ask(evidence, split, lines, "dialogue", None, tiny_tokenizer(), limit)
        content = one.request.messages[0]["content"]
        assert one.shown.neighbors == neighbors
        assert content.count("Similar person") == len(neighbors)
        titles = {lines[item].title for item in (*one.shown.history, *one.shown.similar)}
        assert {line[2:].rpartition(" (")[0] for line in content.split("\n") if line[:2] == "- "} == titles
        assert one.shown.history == evidence[0].whole[: len(one.shown.history)]
        assert not set(one.shown.history) & set(one.shown.similar)


def test_neighbours_without_history_are_not_shown(board: tuple) -> None:
    split, items, near = board
    keep = split.history_user != 5
    times = None if split.history_time is None else split.history_time[keep]
    without = replace(
        split, history_user=split.history_user[keep], history_item=split.history_item[keep], history_time=times
    )
    evidence = collect_evidence(without, near, [3])
    (one,) = ask(evidence, without, item_lines(items), "dialogue", None, tiny_tokenizer())
    assert one.shown.neighbors == [7]
    assert "Similar person 2" not in one.request.messages[0]["content"]


@pytest.mark.parametrize(
    ("form", "options", "said"),
    [
        ("chat", {}, "form='chat'"),
        ("own", {"tokenizer": None}, "give the tokenizer"),
        ("dialogue", {"tokenizer": None}, "give the tokenizer"),
        ("own", {"max_tokens": 150}, "max_tokens=150: not even one item of user 'user-03'"),
        ("dialogue", {"max_tokens": 150}, "max_tokens=150: not even one item of user 'user-03'"),
    ],
)
def test_what_cannot_be_asked(board: tuple, form: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        requests(board, form, **options)


def test_versions_name_every_form_but_the_usual_one() -> None:
    usual, text = PromptStyle(), PromptStyle(("text",))
    assert [form_version(form, usual) for form in FORMS] == [
        "user-2",
        "user-2, plain",
        "user-2, own",
        "dialogue-1, person",
    ]
    assert form_version("plain", text) == "user-2+text, plain"


def test_a_table_says_how_it_was_asked_for_and_each_form_is_written_anew(board: tuple, tmp_path: Path) -> None:
    engine, hashes = WordEngine(), set()
    for form in FORMS:
        table = write(board, tmp_path, form, engine)
        assert set(table["prompt_version"]) == {form_version(form, PromptStyle())}
        assert certify(table, *board[:2]).passed
        hashes |= set(table["input_hash"])
        assert len(write(board, tmp_path, form, engine)) == 50
    assert len(hashes) == len(engine.asked) == 4 * 50
    assert set(table["neighbors"].map(len)) == {2}
    own = write(board, tmp_path, "own", engine)
    assert (set(own["neighbors"].map(len)), set(own["neighbors_by"])) == ({0}, {"none"})
    write(board, tmp_path, "dialogue", engine, max_tokens=400)
    assert len(engine.asked) == 5 * 50
    masked = write(board, tmp_path, "plain", engine, mask_titles=True)
    assert set(masked["prompt_version"]) == {"user-2, plain-masked"}


def test_the_engine_begins_the_reply_as_it_is_told(board: tuple) -> None:
    engine = TransformersEngine(tiny_model(), tiny_tokenizer(), "tiny", tokens_an_item=27)
    asked = [*requests(board, "dialogue", range(4), max_tokens=500), *requests(board, "plain", range(4))]
    written = engine.generate(asked)
    assert all(well_formed(result.text) for result in written)
    assert [engine.generate([one])[0] for one in asked] == written
    without = ProfileRequest(asked[0].key, asked[0].examples, asked[0].messages)
    (bare,) = engine.generate([without])
    begun = len(tiny_tokenizer().encode("The person: User", add_special_tokens=False))
    label = len(tiny_tokenizer().encode("User", add_special_tokens=False))
    assert written[0].tokens_in - bare.tokens_in == begun - label
    assert written[0].text != bare.text
    prompt = engine._prompt(asked[0])
    assert tiny_tokenizer().decode(prompt.rest).endswith("<|im_start|>assistant\nThe person: User identity:")


@pytest.mark.parametrize(
    "template",
    [
        # The system message stands inside the first request, as with Llama 2; nothing is shown of it alone.
        "{% for m in messages if m.role != 'system' %}{{ m.role }}: {% if loop.first %}{{ messages[0].content }}\n"
        "{% endif %}{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
        "{% if messages|length == 1 %}{{ raise_exception('No user query found') }}{% endif %}"
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    ],
)
def test_templates_that_do_not_show_a_system_message_alone(board: tuple, template: str) -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = template
    engine = TransformersEngine(tiny_model(), tokenizer, "tiny", tokens_an_item=27)
    asked = requests(board, "plain", range(3))
    written = engine.generate(asked)
    assert all(well_formed(result.text) for result in written)
    for one in asked:
        prompt = engine._prompt(one)
        whole = tokenizer.apply_chat_template(
            [*one.examples, *one.messages], tokenize=False, add_generation_prompt=True
        )
        assert tokenizer.decode([*prompt.shared, *prompt.rest]) == whole + "User identity:"


@pytest.mark.parametrize(
    "text",
    [
        f"The person: {PROFILE}",
        PROFILE,
        f"The person: {PROFILE}\nSimilar person 1: {OTHER}",
        f"Similar person 1: {OTHER}\nThe person: {PROFILE}",
        f"**The person:** {PROFILE.replace('; ', chr(10))}\n\n- Similar person 1: {OTHER}",
    ],
)
def test_a_server_may_answer_with_the_label_and_go_on(board: tuple, text: str) -> None:
    with scripted(lambda body: completion(text)) as server:
        (result,) = OpenAIEngine(server.url, "m").generate(requests(board, "dialogue", [3]))
    assert result.text == PROFILE
    assert server.bodies[0]["messages"][-1]["content"].endswith(ASK_PERSON)


def test_a_similar_persons_profile_is_not_the_persons(board: tuple) -> None:
    assert persons_part(f"Similar person 1: {OTHER}") == ""
    half = "The person: User identity: night owl; User interests:"
    with scripted(lambda body: completion(f"{half}\nSimilar person 1: {OTHER}")) as server:
        (result,) = OpenAIEngine(server.url, "m").generate(requests(board, "dialogue", [3]))
    assert result.text.startswith("User identity: night owl; User interests:")
    assert len(server.bodies) == 2


@pytest.mark.parametrize("form", FORMS)
def test_preferences_ask_as_the_policy_is_asked(board: tuple, tmp_path: Path, form: str) -> None:
    split, items, _ = board
    table = write(board, tmp_path, "examples")
    options: dict[str, Any] = {"weak": WordEngine("weak"), "tokenizer": tiny_tokenizer(), "max_tokens": 600}
    made = build_preferences(table, split, items, form=form, **options).table
    plain = build_preferences(table, split, items, **options).table
    asked = {one.key: one for one in requests(board, form, range(50), max_tokens=600)}
    begin = "The person: " if form == "dialogue" else ""
    for row, usual in zip(made.itertuples(), plain.itertuples(), strict=True):
        assert row.prompt == [*asked[row.user_id].examples, *asked[row.user_id].messages]
        assert (row.user_id, row.rejected_kind) == (usual.user_id, usual.rejected_kind)
        for ours, theirs in ((row.chosen, usual.chosen), (row.rejected, usual.rejected)):
            text = begin + theirs[0]["content"]
            assert ours == [{"role": "assistant", "content": text.rstrip() if begin else text}]


def test_profiles_written_in_a_form_can_be_chosen_ones_of_it(board: tuple, tmp_path: Path) -> None:
    split, items, _ = board
    shares = {"missing_section": 1.0}
    options: dict[str, Any] = {"tokenizer": tiny_tokenizer(), "max_tokens": 600}
    for form in FORMS:
        table = write(board, tmp_path, form, max_tokens=600)
        made = build_preferences(table, split, items, shares, form=form, **options).table
        asked = {one.key: one for one in requests(board, form, range(50), max_tokens=600)}
        assert all(
            row.prompt == [*asked[row.user_id].examples, *asked[row.user_id].messages] for row in made.itertuples()
        )
    assert len(made) == 50


def test_the_options_know_all_forms() -> None:
    parser = argparse.ArgumentParser()
    add_form_options(parser, None, "as tuned")
    for form in FORMS:
        assert parser.parse_args(["--form", form]).form == form
    assert parser.parse_args([]).form is None
    with pytest.raises(SystemExit):
        parser.parse_args(["--form", "chat"])
