"""What a Space that is open to everybody refuses, keeps and shows: without a browser, by its own HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pandas as pd
import pytest

from reclm_hf.space.once import Later
from reclm_hf.space.world import Scorer
from tests.e2e.conftest import CERTIFICATES, SCRIPT, comparisons, results, served, strata
from tests.space.worlds import TinyWriter, tiny_world

Change = Callable[[pd.DataFrame], pd.DataFrame]


def config_of(url: str) -> dict[str, Any]:
    return dict(httpx.get(f"{url}/config").json())


def props_of(config: dict[str, Any], elem_id: str) -> dict[str, Any]:
    [found] = [each["props"] for each in config["components"] if each["props"].get("elem_id") == elem_id]
    return dict(found)


def event_of(config: dict[str, Any], name: str) -> int:
    """The event that calls the function of this name."""
    return next(int(each["id"]) for each in config["dependencies"] if each["api_name"] == name)


def asked(url: str, event: int, data: list[Any], session: str) -> dict[str, Any]:
    """What the page is told of an event."""
    body = {"data": data, "fn_index": event, "session_hash": session}
    httpx.post(f"{url}/gradio_api/queue/join", json=body).raise_for_status()
    with httpx.stream("GET", f"{url}/gradio_api/queue/data", params={"session_hash": session}, timeout=60) as lines:
        for line in lines.iter_lines():
            if "process_completed" in line:
                return dict(json.loads(line.removeprefix("data: "))["output"])
    raise AssertionError("no answer")


def test_nobody_can_leave_a_file(space: str) -> None:
    left = httpx.post(f"{space}/gradio_api/upload", files={"files": ("a.html", b"x")})
    assert left.status_code == 413


def test_nobody_has_the_address_of_the_monitoring_printed(space: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert httpx.get(f"{space}/monitoring").status_code == 403
    assert capfd.readouterr().out == ""


def test_all_answers_wait_in_one_line_and_few_pages_are_remembered() -> None:
    from reclm_hf.space.app import build, serve

    page = build(tiny_world(trained=False, results=results(), writer=TinyWriter()))
    try:
        serve(page)
        lines = {each.concurrency_id for each in page.fns.values() if each.fn is not None and each.queue is not False}
        assert lines == {"answers", "writing"}
        assert page.state_session_capacity <= 500
    finally:
        page.close()


def test_a_page_that_is_older_than_the_space(space: str) -> None:
    """Somebody else's search, or the one before a restart, offered user-45; this session was offered the first 20."""
    config = config_of(space)
    shown = asked(space, event_of(config, "show"), ["user-45"], "old")
    assert "error" not in shown
    assert "user-45" not in [value for _, value in props_of(config, "user-pick")["choices"]]
    chosen = shown["data"][4]["choices"][0][1]
    for event, given in (("without_item", ["user-45", chosen]), ("rank", ["", ["003", "007"]])):
        assert "error" not in asked(space, event_of(config, event), given, "another")
    for event, given in (("show", ["gone"]), ("rank", ["", ["gone"]]), ("search_for_1", ["Title", [{"a": 1}]])):
        said = asked(space, event_of(config, event), given, "old")["error"]
        assert len(said) < 200
        assert "fault" not in said
    setting = asked(space, event_of(config, "lambda"), ["gone"], "old")
    assert setting["error"] == "This page no longer fits what the Space shows: load it again, please."


def test_an_emptied_profile_leaves_no_ranking_of_what_was_there(space: str) -> None:
    config = config_of(space)
    [ranking] = asked(space, event_of(config, "edited"), ["  ", "user-03"], "emptied")["data"]
    assert "The profile is empty" in ranking
    assert "Without the profile" in ranking


@pytest.mark.parametrize("mode", ["none", "llm"])
def test_nothing_asks_for_a_profile_that_the_model_does_not_read(mode: str) -> None:
    preset = "floor_residual" if mode == "llm" else "standard"
    with served(tiny_world(preset=preset, mode=mode, trained=False, writer=TinyWriter())) as url:
        config = config_of(url)
    shown = {name: props_of(config, name)["visible"] for name in ("user-profile", "new-described", "new-write")}
    assert set(shown.values()) == {mode == "llm"}


def test_who_comes_before_the_model_is_loaded_waits() -> None:
    world = tiny_world(trained=False)
    loaded, calls = world.scorer(), []

    def load() -> Scorer:
        calls.append(time.monotonic())
        time.sleep(1)
        return loaded

    with served(replace(world, scorer=Later(load))) as url:
        config = config_of(url)
        assert "still being loaded" in props_of(config, "user-ranking")["value"]
        assert calls == []  # the page is there before anybody asks for the model
        with ThreadPoolExecutor(5) as visitors:
            events = [event_of(config, "show")] * 5
            found = list(visitors.map(lambda n: asked(url, events[n], ["user-03"], f"visitor {n}"), range(5)))
    assert time.monotonic() - calls[0] >= 1
    assert len(calls) == 1
    assert all("With the profile" in each["data"][1] for each in found)


def test_names_of_metrics_are_shown_as_text() -> None:
    from reclm_hf.space.markup_results import results_of

    drawn = results_of(results(), "catalogue")
    assert SCRIPT not in drawn
    assert "&lt;script&gt;" in drawn.partition("</thead>")[0]


FAULTS: list[tuple[str, Change, str]] = [
    ("results", lambda table: table.assign(value=table["value"].astype(str)), "than numbers in the column 'value'"),
    (
        "results",
        lambda table: table.assign(n_users=table["n_users"].astype("Int64")),
        "numbers in the column 'n_users'",
    ),
    ("results", lambda table: table.drop(columns="setting"), "has no column 'setting'"),
    ("results", lambda table: table.assign(kind="mine"), "a kind that is not known here, 'mine'"),
    ("results", lambda table: table.assign(reason=None), "than text in the column 'reason'"),
    ("results", lambda table: table[table["metric"] != "recall@20"], "has no recall@20 of 'lightgcn-"),
    ("comparisons", lambda table: table.drop(columns="a"), "has no column 'a'"),
    ("comparisons", lambda table: table.assign(low="x"), "than numbers in the column 'low'"),
    ("strata", lambda table: table.assign(by=1), "than text in the column 'by'"),
]


@pytest.mark.parametrize(("name", "change", "said"), FAULTS, ids=[f"{name} {said}" for name, _, said in FAULTS])
def test_a_table_that_is_not_as_it_should_be_is_named(name: str, change: Change, said: str) -> None:
    from html import escape

    from reclm_hf.space.app import build

    tables = {"results": results(), "comparisons": comparisons(), "strata": strata()}
    page = build(tiny_world(trained=False, **(tables | {name: change(tables[name])})))
    html = "".join(str(block.value) for block in page.blocks.values() if hasattr(block, "value"))
    assert f"The table of {name} is not shown: it" in html
    assert escape(said) in html


def test_comparisons_without_a_test_have_no_p() -> None:
    from reclm_hf.space.markup_results import comparisons_of

    assert '<td class="n wide">–</td>' in comparisons_of(comparisons().assign(p_holm=None), "catalogue")


@pytest.mark.parametrize("broken", [{"rows": "12"}, {"probe": {"titles": None}}, {"probe": "x"}, {"failures": "none"}])
def test_a_certificate_that_is_not_as_it_should_be(broken: dict[str, Any]) -> None:
    from reclm_hf.space.markup_results import background

    drawn = background([CERTIFICATES[0] | broken, CERTIFICATES[0]], [], {})
    assert "One that came with this recommender cannot be read." in drawn
    assert "no leak found" in drawn


def test_a_move_and_a_group_are_said_to_who_does_not_see_them() -> None:
    from reclm_hf.space.answers import without_interest
    from reclm_hf.space.markup import user_answer
    from reclm_hf.space.markup_results import results_of

    moved = user_answer(without_interest(tiny_world(), "user-03", "beta stories"))
    assert moved.count("▲") + moved.count("▼") == moved.count('<span class="unseen">') > 0
    drawn = results_of(results(), "catalogue")
    assert drawn.count("<tbody>") == drawn.count('scope="rowgroup"') == drawn.count("</tbody>")
