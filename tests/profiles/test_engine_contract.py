"""What every engine keeps to, whichever writes the profiles: the local one, and a server in a process of its own."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace

import pytest

from reclm_hf.profiles.engine_openai import OpenAIEngine
from reclm_hf.profiles.engine_transformers import TransformersEngine
from reclm_hf.profiles.item_prompts import item_examples
from reclm_hf.profiles.profile import ITEM_ITEMS, format_score, well_formed
from reclm_hf.profiles.prompts import PromptStyle
from tests.profiles.chat_server import tiny_process
from tests.profiles.tiny import request, tiny_model, tiny_tokenizer

TITLES = ["Alien", "Heat", "Ran", "Jaws", "Brazil", "Fargo", "Tootsie"]
ENGINES = ("transformers", "openai")


def requests(count=5):
    return [request(f"user-{n}", *TITLES[n:], similar=TITLES[:n]) for n in range(count)]


def item_request(key="item-1"):
    message = {"role": "user", "content": "The thing: Alien (horror)\nWhat kind of people choose this thing?"}
    return replace(request(key), examples=item_examples(PromptStyle()), messages=(message,), size=ITEM_ITEMS)


@pytest.fixture(scope="module")
def server(child_environment):
    with tiny_process(child_environment) as url:
        yield url


@pytest.fixture(scope="module", params=ENGINES)
def engine(request, server):
    if request.param == "openai":
        return OpenAIEngine(server, "tiny")
    return TransformersEngine(tiny_model(), tiny_tokenizer(), "tiny", tokens_an_item=27)


@pytest.fixture(scope="module", params=ENGINES)
def writes_too_little(request, server):
    """The same engines, with so few tokens that no profile can be complete."""
    if request.param == "openai":
        return OpenAIEngine(server, "tiny-free", max_tokens=5)
    return TransformersEngine(tiny_model(), tiny_tokenizer(), "tiny", tokens_an_item=1)


@pytest.fixture(scope="module")
def written(engine):
    return engine.generate(requests())


def test_one_well_formed_profile_for_every_request(written):
    assert len(written) == len(requests())
    assert all(well_formed(result.text) for result in written)
    assert len({result.text for result in written}) == len(written)


def test_tokens_are_counted(written):
    assert all(result.tokens_in > 0 and result.tokens_out > 0 for result in written)


def test_the_generator_is_named(engine):
    assert isinstance(engine.generator, str)
    assert "tiny" in engine.generator
    assert "127.0.0.1" not in engine.generator


def test_no_requests_no_profiles(engine):
    assert engine.generate([]) == []


def test_the_same_again(engine, written):
    assert engine.generate(requests()) == written


def test_neither_company_nor_order_change_a_profile(engine, written):
    assert engine.generate(requests()[::-1]) == written[::-1]
    assert engine.generate([requests()[2]]) == [written[2]]
    assert engine.generate([requests()[1], item_request(), requests()[3]])[::2] == [written[1], written[3]]


def test_profiles_of_both_sizes(engine):
    user, item = engine.generate([requests()[0], item_request()])
    assert well_formed(user.text)
    assert well_formed(item.text, ITEM_ITEMS)


def test_draws_differ_and_can_be_repeated(engine, written):
    wanted = [replace(requests()[0], sample=sample) for sample in (1, 2, 3)]
    drawn = engine.generate(wanted)
    assert len({result.text for result in drawn}) >= 2
    assert engine.generate(wanted[::-1]) == drawn[::-1]
    other = engine.generate([replace(one, key="somebody else") for one in wanted])
    assert other != drawn


def test_what_is_malformed_is_returned(writes_too_little):
    results = writes_too_little.generate(requests(3))
    assert len(results) == 3
    assert all(format_score(result.text) < 1 and result.tokens_out > 0 for result in results)


@pytest.mark.parametrize(
    "text",
    ["فيلم قديم ‏", "電影 🎬🎬 e\u0301", '"}], "role": "system"', "a\tb\r\nc\x00d", "long and winding " * 400],
    ids=["arabic", "emoji", "json", "control", "long"],
)
def test_any_text_can_be_asked_about(engine, text):
    asked = replace(requests()[0], messages=({"role": "user", "content": text},))
    (result,) = engine.generate([asked])
    assert well_formed(result.text)
    assert engine.generate([requests()[1], asked])[1] == result


def test_an_interruption_is_passed_on_at_once_and_leaves_the_engine_usable(engine, written):
    returned = []

    def work():
        interrupt = (threading.main_thread().ident, signal.SIGINT)
        threading.Timer(0.3, signal.pthread_kill, interrupt).start()
        returned.append(engine.generate(requests() * 60))
        time.sleep(30)

    # A shell that starts the tests in the background has them ignore interruptions.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not returned, "the work was done before the interruption came"
    assert engine.generate(requests()[:1]) == written[:1]
