"""The engine against a real HTTP server that answers by a script: what it sends, what it bears, what it gives up on."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import replace
from email.utils import formatdate
from itertools import chain, repeat

import numpy as np
import pytest

from reclm_hf.bundles import BundleError, resolve_model
from reclm_hf.data.bundled import bundled_splits
from reclm_hf.profiles.chat_protocol import Meter, ServerError
from reclm_hf.profiles.engine_openai import OpenAIEngine
from reclm_hf.profiles.engines import DEFAULT_MODEL, GeneratedProfile
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.profile import parse, well_formed
from reclm_hf.profiles.prompts import EXAMPLES
from tests.profiles.chat_server import Answer, completion, scripted, transformers_serve
from tests.profiles.tiny import request

PROFILE = "User identity: night owl, map reader, jazz fan; User interests: old maps, late trains, cold lakes"
BULLETS = "User identities:\n- {}\n- {}\n- {}\n\nUser interests:\n1. {}\n2. {}\n3. {}".format(
    "night owl", "map reader", "jazz fan", "old maps", "late trains", "cold lakes"
)
BOLD = "**User identity:** Night owl, map reader, jazz fan\n\n**User interests:** old maps, late trains, and cold lakes"
OTHER = PROFILE.replace("night owl", "early bird")
HALF = "User identity: night owl, map reader; User interests: old maps"
KEY = "sk-verysecret123"


def in_turn(*answers, then=None):
    """A script: these answers one after the other, then the last one, or `then`, for ever."""
    queue = chain(answers, repeat(then or answers[-1]))
    return lambda body: next(queue)


def engine(server, **options):
    return OpenAIEngine(server.url, "some-model", **{"backoff": 0.001, "timeout": 5.0, **options})


def requests(count):
    return [request(f"user-{n}", f"Title {n}") for n in range(count)]


def number(body):
    return int(re.findall(r"Title (\d+)", body["messages"][-1]["content"])[-1])


@pytest.mark.parametrize(
    "text",
    [
        PROFILE,
        f"Sure! Here it is:\n\n{PROFILE}",
        BULLETS,
        BOLD,
        BOLD.replace("**User", "### User").replace("**", ""),
        f"<think>{OTHER} or so?</think>{PROFILE}",
        f"{PROFILE}, tall ships",
    ],
)
def test_a_complete_profile_in_free_text_is_rendered_anew(text):
    with scripted(in_turn(completion(text))) as server:
        (result,) = engine(server).generate(requests(1))
    assert result.text.casefold() == PROFILE.casefold()
    assert (result.tokens_in, result.tokens_out) == (30, 12)
    assert len(server.bodies) == 1


def test_an_incomplete_profile_is_asked_for_once_more_as_a_draw():
    with scripted(in_turn(completion(HALF), completion(PROFILE, usage=(30, 20)))) as server:
        (result,) = engine(server).generate(requests(1))
    assert result == GeneratedProfile(PROFILE, 60, 32)
    first, second = server.bodies
    assert first["temperature"] == 0
    assert "seed" not in first
    assert second["temperature"] == 0.7
    assert isinstance(second["seed"], int)
    assert first["messages"] == second["messages"]


def test_what_stays_incomplete_is_returned_as_it_is():
    with scripted(in_turn(completion(HALF), completion("I cannot say."))) as server:
        (result,) = engine(server).generate(requests(1))
    assert result == GeneratedProfile(HALF, 60, 24)
    assert len(server.bodies) == 2


@pytest.mark.parametrize("content", ["", None])
def test_an_empty_reply_is_an_empty_profile(content):
    with scripted(in_turn(completion(content))) as server:
        assert engine(server).generate(requests(1))[0].text == ""


def test_half_a_word_at_the_token_limit_is_no_interest():
    cut = PROFILE.removesuffix("lakes") + "la"
    with scripted(in_turn(completion(cut, finish="length"), completion(PROFILE))) as server:
        assert engine(server).generate(requests(1))[0].text == PROFILE
    with scripted(in_turn(completion(f"{PROFILE}, tall sh", finish="length"))) as server:
        assert engine(server).generate(requests(1))[0].text == PROFILE


def test_what_is_sent():
    asked = request("user-1", "Alien", "Héat 🎬", similar=["Ran"])
    with scripted(in_turn(completion(PROFILE))) as server:
        engine(server, options={"reasoning_effort": "low", "temperature": None}).generate([asked])
    (body,) = server.bodies
    assert server.paths == ["/v1/chat/completions"]
    assert body == {
        "model": "some-model",
        "messages": [*EXAMPLES, *asked.messages],
        "max_tokens": 96,
        "reasoning_effort": "low",
    }


def test_draws_are_seeded_by_key_and_number_alone():
    wanted = [replace(one, sample=sample) for one in requests(2) for sample in (1, 2)]
    seeds = []
    for order in (wanted, wanted[::-1]):
        with scripted(in_turn(completion(PROFILE))) as server:
            engine(server, concurrency=1).generate(order)
        seeds.append([body["seed"] for body in server.bodies])
        assert {body["temperature"] for body in server.bodies} == {0.7}
    assert len(set(seeds[0])) == 4
    assert seeds[1] == seeds[0][::-1]


FAULTS = {
    "429": Answer({"error": {"message": "slow down"}}, 429),
    "408": Answer(status=408),
    "500": Answer("<h1>Oops</h1>", 500),
    "503": Answer(status=503),
    "connection dropped": Answer(hang_up=True),
    "body cut off": Answer({"choices": []}, missing=40),
    "JSON cut off": Answer('{"id": "chat-1", "choices": [{"mess'),
    "an error with status 200": Answer({"error": {"message": "overloaded"}}),
    "no choices": Answer({"choices": []}),
    "not an object": Answer([1, 2]),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_passing_trouble_is_waited_out(fault):
    with scripted(in_turn(fault, fault, completion(PROFILE))) as server:
        asking = engine(server)
        assert [result.text for result in asking.generate(requests(1))] == [PROFILE]
    assert len(server.bodies) == 3
    assert (asking.meter.requests, asking.meter.retries) == (3, 2)
    assert (asking.meter.tokens_in, asking.meter.tokens_out) == (30, 12)  # what failed is not counted


def test_a_reply_that_does_not_come_in_time_is_asked_for_again():
    late = completion(OTHER)
    late.delay = 6.0
    with scripted(in_turn(late, completion(PROFILE))) as server:
        asking = engine(server, timeout=0.3)
        started = time.perf_counter()
        (result,) = asking.generate(requests(1))
        assert time.perf_counter() - started < 5.0
    assert result.text == PROFILE


def test_the_server_says_how_long_to_wait():
    with scripted(in_turn(Answer(status=429, headers={"Retry-After": "0.4"}), completion(PROFILE))) as server:
        started = time.perf_counter()
        engine(server).generate(requests(1))
        assert time.perf_counter() - started >= 0.4


@pytest.mark.parametrize("value", ["3600", formatdate(time.time() + 3600, usegmt=True)], ids=["seconds", "date"])
def test_a_server_that_asks_for_an_hour_ends_the_run(value):
    with scripted(in_turn(Answer(status=429, headers={"Retry-After": value}))) as server:
        with pytest.raises(ServerError, match=r"asks to wait 3\d\d\d seconds.*longest_wait"):
            engine(server).generate(requests(1))
        assert len(server.bodies) == 1


def test_waiting_grows_and_ends():
    with scripted(in_turn(Answer(status=503))) as server:
        started = time.perf_counter()
        with pytest.raises(ServerError, match=r"'user-0', asked 4 times: status 503") as caught:
            engine(server, backoff=0.1, max_retries=3).generate(requests(1))
        assert time.perf_counter() - started >= 0.05 + 0.1 + 0.2
    assert server.url in str(caught.value)
    assert len(server.bodies) == 4


REFUSALS = {
    400: "options",
    401: "RECLM_API_KEY",
    403: "RECLM_API_KEY",
    404: "/v1/models",
    413: "options",
    422: "options",
    302: "base_url",
}


@pytest.mark.parametrize(("status", "way_out"), REFUSALS.items())
def test_a_refusal_is_final_and_names_the_way_out(status, way_out):
    said = Answer({"error": {"message": "this will\nnot do"}}, status, {"Location": "http://example.invalid/"})
    with scripted(in_turn(said)) as server:
        with pytest.raises(ServerError) as caught:
            engine(server, concurrency=1).generate(requests(3))
        assert len(server.bodies) == 1
    message = str(caught.value)
    assert f"{server.url}/chat/completions refused: status {status}, this will not do" in message
    assert way_out in message
    assert "'user-0'" in message
    assert "\n" not in message


def test_an_empty_account_is_not_asked_again():
    said = Answer({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, 429)
    with scripted(in_turn(said)) as server:
        with pytest.raises(ServerError, match="top it up"):
            engine(server).generate(requests(1))
        assert len(server.bodies) == 1


@pytest.mark.parametrize("concurrency", [1, 3])
def test_what_was_finished_before_a_failure_is_not_lost(concurrency):
    def reply(body):
        return Answer(status=400) if number(body) == 5 else completion(PROFILE)

    with scripted(reply) as server, pytest.raises(ServerError) as caught:
        engine(server, concurrency=concurrency).generate(requests(12))
    finished = caught.value.finished
    assert set(range(5)) <= set(finished)
    assert 5 not in finished
    assert set(finished.values()) == {GeneratedProfile(PROFILE, 30, 12)}
    assert len(server.bodies) == len(finished) + 1  # all that was answered is there
    assert concurrency > 1 or len(server.bodies) == 6  # nothing was asked after the failure


def test_a_failure_does_not_wait_for_the_patience_of_others():
    answers = {0: Answer(status=503), 1: Answer(status=400, delay=0.2)}
    with scripted(lambda body: answers[number(body)]) as server:
        started = time.perf_counter()
        with pytest.raises(ServerError, match="status 400"):
            engine(server, backoff=20.0).generate(requests(2))
        assert time.perf_counter() - started < 5.0


def test_a_server_that_is_not_there():
    with scripted(in_turn(completion(PROFILE))) as server:
        gone = engine(server, max_retries=1)
    with pytest.raises(ServerError, match=r"asked 2 times.*Connect.*See whether the server is up"):
        gone.generate(requests(1))


def test_results_come_in_the_order_of_the_requests_and_no_more_than_allowed_are_under_way():
    def reply(body):
        answer = completion(PROFILE.replace("night", chr(ord("a") + number(body)) * 3))
        answer.delay = 0.05 if number(body) % 3 == 0 else 0.0
        return answer

    with scripted(reply) as server:
        results = engine(server, concurrency=3).generate(requests(9))
    assert "".join(result.text.split()[2][0] for result in results) == "abcdefghi"
    assert 2 <= server.most_at_a_time <= 3


def test_a_server_without_seeds(caplog):
    def reply(body):
        if "seed" in body:
            return Answer({"detail": "Unexpected fields in the request: {'seed'}"}, 422)
        return completion(PROFILE if body["temperature"] else HALF)

    with scripted(reply) as server:
        results = engine(server, concurrency=1).generate(requests(3))
    assert {result.text for result in results} == {PROFILE}
    assert len(server.bodies) == 2 * 3 + 1
    assert len([record for record in caplog.records if "takes no seed" in record.message]) == 1


def test_a_seed_of_the_caller_is_not_taken_out():
    with scripted(in_turn(Answer({"detail": "no seed, please"}, 422))) as server:
        with pytest.raises(ServerError, match="no seed, please"):
            engine(server, options={"seed": 7}).generate(requests(1))
        assert len(server.bodies) == 1


def test_tokens_that_the_server_does_not_count_are_not_made_up():
    with scripted(in_turn(completion(PROFILE, usage=None))) as server:
        asking = engine(server, price_in=1.0, price_out=2.0)
        assert asking.generate(requests(2)) == [GeneratedProfile(PROFILE, 0, 0)] * 2
    assert asking.meter.uncounted == 2
    assert "2 replies not counted" in str(asking.meter)


def test_the_meter():
    with scripted(in_turn(Answer(status=500), completion(PROFILE, usage=(1000, 50)))) as server:
        asking = engine(server, price_in=2.0, price_out=10.0)
        asking.generate(requests(4))
        assert (asking.meter.tokens_in, asking.meter.tokens_out) == (4000, 200)
        assert asking.meter.cost == pytest.approx(0.01)
        asking.generate(requests(1))
    assert asking.meter.cost == pytest.approx(0.0125)
    assert str(asking.meter) == "6 requests (1 repeated), 5,000 tokens in, 250 out, cost 0.0125"
    assert Meter(tokens_in=5).cost is None


def test_another_model_than_asked_for_is_said_once(caplog):
    with scripted(in_turn(completion(PROFILE, "another"))) as server:
        asking = engine(server, concurrency=1)
        asking.generate(requests(3))
    assert asking.meter.models == {"another"}
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "asked for some-model" in warnings[0]
    assert "answers as another" in warnings[0]


def test_the_key_is_sent_and_never_shown(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with scripted(in_turn(completion(PROFILE), Answer({"error": f"bad key {KEY}!"}, 401))) as server:
        asking = engine(server, api_key=f" {KEY}\n")
        asking.generate(requests(1))
        with pytest.raises(ServerError, match=r"bad key \[key\]!") as caught:
            asking.generate(requests(1))
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    shown = [repr(asking), str(vars(asking)), str(vars(asking.chat)), asking.generator, str(asking.meter)]
    shown += [repr(asking.meter), repr(caught.value), str(caught.value), caplog.text, *capfd.readouterr()]
    shown += [repr(vars(asking.chat._client)), str(caught.getrepr(showlocals=True))]
    assert KEY not in "".join(shown)


def test_a_key_that_no_header_can_carry_is_refused_without_showing_it():
    with pytest.raises(ValueError, match="not a key") as caught:
        OpenAIEngine("http://127.0.0.1:1", "m", api_key=f"{KEY}\nX-Other: 1")
    assert KEY not in str(caught.value)


def test_where_the_key_comes_from(monkeypatch):
    """A key is for one server: neither the Hub's token nor OpenAI's key goes to another."""
    for name in ("RECLM_API_KEY", "MY_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    with scripted(in_turn(completion(PROFILE))) as server:
        engine(server).generate(requests(1))
        monkeypatch.setenv("RECLM_API_KEY", "own")
        engine(server).generate(requests(1))
        with pytest.raises(ValueError, match="MY_KEY"):
            engine(server, api_key_env="MY_KEY")
        monkeypatch.setenv("MY_KEY", "mine")
        engine(server, api_key_env="MY_KEY").generate(requests(1))
        engine(server, api_key="given", api_key_env="MY_KEY").generate(requests(1))
        engine(server, api_key="").generate(requests(1))
    sent = [headers.get("Authorization") for headers in server.headers]
    assert sent == [None, "Bearer own", "Bearer mine", "Bearer given", None]
    monkeypatch.delenv("RECLM_API_KEY")
    openai = OpenAIEngine("https://api.openai.com", "gpt")
    assert openai.chat._client.headers["Authorization"] == "Bearer sk-openai"


@pytest.mark.parametrize(
    ("base_url", "address"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/chat/completions"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1/chat/completions"),
        ("https://host.example/api/v3", "https://host.example/api/v3/chat/completions"),
        ("https://host.example/v1/chat/completions", "https://host.example/v1/chat/completions"),
    ],
)
def test_addresses(base_url, address):
    assert OpenAIEngine(base_url, "m").chat.address == address


@pytest.mark.parametrize(
    "base_url",
    [
        f"http://me:{KEY}@host/v1",
        f"https://host/v1?key={KEY}",
        f"me:{KEY}@host/v1",
        "host:8000",
        "ftp://host",
        "http://",
        "http://host:port",
        "",
    ],
)
def test_addresses_that_are_none_or_hold_a_secret(base_url):
    with pytest.raises(ValueError, match="base_url") as caught:
        OpenAIEngine(base_url, "m")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "model", "options", "generator"),
    [
        ("http://127.0.0.1:8000", "org/model", {}, "org/model via a local server; free text, temperature 0"),
        ("http://gpu-box:8000", "/models/my-model/", {}, "my-model via a local server; free text, temperature 0"),
        ("http://10.1.2.3/v1", "m", {"name": "M rev 3"}, "M rev 3 via a local server; free text, temperature 0"),
        (
            "https://api.openai.com/v1",
            "gpt",
            {"temperature": 0.3},
            "gpt via api.openai.com; free text, temperature 0.3",
        ),
    ],
)
def test_the_generator_names_model_and_kind_of_place(base_url, model, options, generator):
    assert OpenAIEngine(base_url, model, **options).generator == generator


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"max_retries": -1}])
def test_limits_that_make_no_sense(options):
    with pytest.raises(ValueError, match="concurrency must be at least 1"):
        OpenAIEngine("http://127.0.0.1:1", "m", **options)


@pytest.mark.slow
def test_users_of_the_bundled_data_by_way_of_transformers_serve(child_environment, tmp_path):
    """The real small model behind a server that is not ours: profiles, tokens, lineage, and what a crash leaves."""
    for module in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(module, reason="`transformers serve` needs it")
    try:
        model = resolve_model(DEFAULT_MODEL)
    except BundleError as error:
        pytest.skip(f"{DEFAULT_MODEL} is not at hand: {error}")
    splits = bundled_splits()
    split, items = splits.validation, splits.data.items
    users = np.unique(split.history_user)[:6]
    nobody = np.full((split.n_users, 1), -1, dtype=np.int32)
    with transformers_serve(model.path, child_environment, tmp_path / "log") as (url, process):
        asking = OpenAIEngine(url, model.path, name=model.label, concurrency=2, max_retries=1, timeout=600)

        def build(count):
            return generate_user_profiles(
                split, items, nobody, asking, tmp_path / "shards", users=users[:count], progress=False
            )

        table = build(4)
        asked = asking.meter.requests - asking.meter.retries
        again = build(4)
        process.kill()
        process.wait()
        with pytest.raises(ServerError, match="See whether the server is up"):
            build(6)
        kept = build(4)
    assert 4 <= asked <= 8
    assert asking.meter.models == {f"{model.path}@main"}
    assert list(table["user_id"]) == [str(split.user_ids[user]) for user in users[:4]]
    print(*table["profile"], asking.meter, sep="\n")
    # Columns of lists come as arrays from disk.
    whole, *others = (one.to_json(date_format="iso") for one in (table, again, kept))
    assert others == [whole, whole]
    assert (table["tokens_in"] > 400).all()
    assert (table["tokens_out"] > 5).all()
    assert table["tokens_in"].sum() == asking.meter.tokens_in
    assert table["tokens_out"].sum() == asking.meter.tokens_out
    assert table["profile"].str.len().min() > 20
    assert set(table["generator"]) == {f"{model.label} via a local server; free text, temperature 0"}
    for row in table.to_dict("records"):  # malformed or not, what is stored says so
        profile = parse(row["profile"])
        assert (list(row["identities"]), list(row["interests"])) == tuple(
            map(list, (profile.identities, profile.interests))
        )
        assert (row["format_score"] == 1.0) == well_formed(row["profile"])
