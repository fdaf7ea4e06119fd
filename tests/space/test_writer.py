"""Profiles written live are asked for as `reclm profiles build` would ask, by one model for all visitors."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclm_hf.profiles.evidence import histories
from reclm_hf.profiles.forms import FORMS, requests_in_form
from reclm_hf.profiles.item_prompts import cold_item_message
from reclm_hf.profiles.profile import Profile
from reclm_hf.profiles.prompts import ItemLine
from reclm_hf.recommender.catalog import Catalog
from reclm_hf.space.writer import ProfileWriter, require_profiler
from tests.checkerboard import checkerboard
from tests.hub.artefacts import copy_of
from tests.profiles.tiny import WordEngine

USER, NEIGHBOUR, OTHER = 2, 4, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profiler with an adapter on a tiny random model."""
    return copy_of("adapter", tmp_path_factory.mktemp("profiler") / "adapter")


def shown(rows: Sequence[int]) -> list[tuple[str, str]]:
    """Title and text of items."""
    items = checkerboard()[0].data.items
    return [(items["title"][row], items["text"][row]) for row in rows]


def asked_of(writer: ProfileWriter, monkeypatch: pytest.MonkeyPatch) -> WordEngine:
    """The engine that stands in for the writer's, and notes what it is asked for."""
    writer.load()
    engine: Any = WordEngine()
    engine.max_tokens = 1024
    monkeypatch.setattr(writer, "_engine", engine)
    return engine


@pytest.mark.parametrize("form", FORMS)
def test_asked_as_for_a_table(folder: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    splits, _ = checkerboard()
    test, near = splits.test, np.full((splits.data.n_users, 2), -1, dtype=np.int32)
    near[USER] = (NEIGHBOUR, OTHER)
    writer = ProfileWriter(str(folder), Catalog.from_split(splits.data, test))
    engine, profiler = asked_of(writer, monkeypatch), writer._profiler
    assert profiler is not None
    monkeypatch.setattr(profiler, "config", replace(profiler.config, form=form))
    known = histories(test)
    written = writer.write(shown(known[USER]), [shown(known[NEIGHBOUR]), [], shown(known[OTHER])])
    (expected,) = requests_in_form(test, splits.data.items, near, [USER], form, tokenizer=profiler.tokenizer)
    (request,) = engine.asked
    assert request.messages == expected.messages
    assert (request.examples, request.begin, request.size) == (expected.examples, expected.begin, expected.size)
    assert written == engine.generate([expected])[0].text


def test_an_item_that_nobody_chose(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits, _ = checkerboard()
    writer = ProfileWriter(str(folder), Catalog.from_split(splits.data, splits.test))
    engine = asked_of(writer, monkeypatch)
    profile = "User identity: alpha fan; User interests: alpha stories"
    written = writer.write_item("Brand new", "a text", [("Title 002", profile), ("Title 003", "no profile")])
    near = [(ItemLine("Title 002", ("alpha",)), Profile(("alpha fan",), ("alpha stories",)))]
    assert engine.asked[0].messages == (cold_item_message(ItemLine("Brand new"), near),)
    assert engine.asked[0].size == 5
    assert written.startswith("User identity: ")


def test_a_real_model_writes_and_visitors_take_turns(folder: Path) -> None:
    writer = ProfileWriter(str(folder))
    assert writer.name == str(folder)
    people = [[(f"Piano Sonata {number}", "")] for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(writer.write, people))
    assert at_once == [writer.write(person) for person in people]
    assert all(profile.startswith("User identity:") and "; User interests:" in profile for profile in at_once)
    assert "forced slots" in writer.name


def test_nothing_to_write_from(folder: Path) -> None:
    with pytest.raises(ValueError, match="The history is empty"):
        ProfileWriter(str(folder)).write([])


def test_no_profiler(tmp_path: Path, folder: Path) -> None:
    require_profiler(str(folder))
    require_profiler("HuggingFaceTB/SmolLM2-135M-Instruct")  # a bundle stands in for it
    for source in (str(tmp_path), "nobody/nothing", "nowhere at all"):
        with pytest.raises(ValueError, match=rf"^{source}: no profiler \(.*--profiler"):
            require_profiler(source)
    with pytest.raises(ValueError, match=r"no profiler could be loaded.*--profiler"):
        ProfileWriter(str(tmp_path)).write([("a", "")])
