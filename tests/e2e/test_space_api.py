"""The four named endpoints, called as anybody calls them, with good input and bad."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from reclm_hf.space import answers
from reclm_hf.space.shapes import PARTS
from tests.e2e.conftest import SCRIPT, served
from tests.space.worlds import tiny_world

NAMED = ["/place_item", "/recommend_history", "/recommend_profile", "/recommend_user"]
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("/recommend_user", {"user_id": "user-03"}),
    ("/recommend_user", {"user_id": "user-49", "k": 3}),  # nobody wrote a profile of this one
    ("/recommend_profile", {"profile": "I like beta stories"}),
    ("/recommend_profile", {"profile": "beta fan \x00\u202e", "user_id": "user-02", "k": 50}),
    ("/recommend_profile", {"profile": f"😀 {SCRIPT} שלום עולם", "k": 1}),
    ("/recommend_history", {"item_ids": ["003", "007"]}),
    ("/recommend_history", {"item_ids": ["003"], "profile": "User identity: beta fan; User interests: beta stories"}),
    ("/place_item", {"title": "A new beta story"}),
    ("/place_item", {"title": f"{SCRIPT} 🎬", "text": "beta שלום", "k": 4}),
]
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("/recommend_user", {"user_id": "user-99"}, "There is no user “user-99”"),
    ("/recommend_user", {"user_id": SCRIPT}, SCRIPT),  # as it is: an API is no page
    ("/recommend_user", {"user_id": ""}, "choose one"),
    ("/recommend_user", {"user_id": "user-03", "k": 51}, "from 1 to 50"),
    ("/recommend_user", {"user_id": "user-03", "k": "many"}, "whole number"),
    ("/recommend_user", {"user_id": ["user-03"]}, "must be text"),
    ("/recommend_profile", {"profile": ""}, "empty"),
    ("/recommend_profile", {"profile": "?!"}, "no words"),
    ("/recommend_profile", {"profile": "x" * 100_000}, "2,000 is the most"),
    ("/recommend_profile", {"profile": "beta", "user_id": "nobody"}, "There is no user"),
    ("/recommend_history", {"item_ids": []}, "choose at least one"),
    ("/recommend_history", {"item_ids": ["003", "999"]}, "There is no item “999”"),
    ("/recommend_history", {"item_ids": "003"}, "must be a list"),
    ("/place_item", {"title": ""}, "empty"),
    ("/place_item", {"title": "t" * 100_000}, "300 is the most"),
    ("/place_item", {"title": "t", "text": "w " * 50_000}, "5,000 is the most"),
]


@pytest.fixture(scope="module")
def client(space: str) -> Any:
    from gradio_client import Client

    return Client(space, verbose=False)


def test_the_contract(client: Any) -> None:
    described = client.view_api(return_format="dict", print_info=False)
    assert sorted(described["named_endpoints"]) == NAMED
    assert described["unnamed_endpoints"] == {}
    taken = {
        name: [p["parameter_name"] for p in about["parameters"]] for name, about in described["named_endpoints"].items()
    }
    assert taken == {
        "/recommend_user": ["user_id", "k"],
        "/recommend_profile": ["profile", "user_id", "k"],
        "/recommend_history": ["item_ids", "profile", "k"],
        "/place_item": ["title", "text", "k"],
    }


@pytest.mark.parametrize(("name", "given"), GOOD, ids=[f"{name} {row}" for row, (name, _) in enumerate(GOOD)])
def test_answers(client: Any, name: str, given: dict[str, Any]) -> None:
    answer = client.predict(**given, api_name=name)
    if name == "/place_item":
        assert len(answer["readers"]) == len(answer["resembles"]) == given.get("k", 10)
        like = answer["resembles"]
        assert all(item["title"] and item["item_id"] for item in like)
        assert [item["cosine"] for item in like] == sorted((item["cosine"] for item in like), reverse=True)
        assert answer["rank_among_cold"]["of"] == 5
        return
    assert [item["rank"] for item in answer["listed"]] == list(range(1, len(answer["listed"]) + 1))
    assert 1 <= len(answer["listed"]) <= given.get("k", 10)
    for item in answer["listed"]:
        assert sum(item["parts"][part] for part in PARTS) == pytest.approx(item["score"], abs=1e-4)
    if name == "/recommend_user":
        assert answer["person"]["user_id"] == given["user_id"]
        assert answer["compared_with"] == "without the profile"


@pytest.mark.parametrize(("name", "given", "said"), BAD, ids=[f"{name} {row}" for row, (name, _, _) in enumerate(BAD)])
def test_refusals_are_sentences(
    client: Any, capfd: pytest.CaptureFixture[str], name: str, given: dict[str, Any], said: str
) -> None:
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError) as caught:
        client.predict(**given, api_name=name)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_of_our_own_tells_nothing(
    client: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from gradio_client.exceptions import AppError

    from reclm_hf.space.interface import SORRY

    def fails(world: object, user_id: str, k: int) -> None:
        raise RuntimeError(f"broke over {user_id}")

    monkeypatch.setattr(answers, "recommend_user", fails)
    with pytest.raises(AppError) as caught, caplog.at_level(logging.ERROR):
        client.predict(user_id="my secret", api_name="/recommend_user")
    assert str(caught.value) == SORRY
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("recommend_user: RuntimeError at test_space_api.py:")
    assert "secret" not in line + capfd.readouterr().err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "event: error"),
        (["user-03", 1, 2, 3], "event: complete"),  # what is too much is left out
        ([{"path": "/etc/passwd"}, 3], "must be text"),
    ],
)
def test_calls_that_fit_no_endpoint(space: str, capfd: pytest.CaptureFixture[str], body: list[Any], said: str) -> None:
    asked = httpx.post(f"{space}/gradio_api/call/recommend_user", json={"data": body})
    assert asked.status_code == 200
    answer = httpx.get(f"{space}/gradio_api/call/recommend_user/{asked.json()['event_id']}", timeout=30).text
    assert said in answer
    assert "root:" not in answer
    assert "Traceback" not in answer + capfd.readouterr().err


def test_events_of_the_page_are_no_endpoints(space: str) -> None:
    config = httpx.get(f"{space}/config").json()
    public = [each["api_name"] for each in config["dependencies"] if each["api_visibility"] == "public"]
    assert sorted(f"/{name}" for name in public) == NAMED


def test_twenty_visitors_at_once(client: Any) -> None:
    def ask(number: int) -> Any:
        name, given = GOOD[number % len(GOOD)]
        return client.submit(**given, api_name=name).result(timeout=60)

    with ThreadPoolExecutor(20) as visitors:
        found = list(visitors.map(ask, range(40)))
    alone = client.predict(**GOOD[0][1], api_name=GOOD[0][0])
    assert json.dumps(found[0]) == json.dumps(found[len(GOOD)]) == json.dumps(alone)


def test_a_model_without_profiles_and_a_world_without_anything_else() -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    world = tiny_world(preset="standard", mode="none", profiles=False, item_profiles=False)
    with served(world) as url:
        client = Client(url, verbose=False)
        answer = client.predict(user_id="user-03", api_name="/recommend_user")
        assert answer["listed"]
        assert answer["profile"] == ""
        with pytest.raises(AppError, match="profile"):
            client.predict(profile="beta fan", api_name="/recommend_profile")
        page = httpx.get(url).text
    assert "No results came with this recommender" in page
