"""`generate_profiles` over plain tables."""

from __future__ import annotations

import dataclasses

import datasets
import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.tables import PROFILE_COLUMNS
from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiles.leakage import certify
from reclm_hf.profiles.profile import well_formed
from tests.checkerboard import checkerboard
from tests.profiler.models import BASE, adapted, lean_towards_words, tokenizer

SOME = ["user-07", "user-02", "user-30"]


@pytest.fixture(scope="module")
def splits():
    return checkerboard()[0]


@pytest.fixture(scope="module")
def writer():
    """A profiler whose random model is led to words, so that its profiles are well-formed."""
    model = adapted()
    lean_towards_words(model.get_base_model())
    return RecLMProfiler(model, tokenizer(), RecLMProfilerConfig(BASE))


def write(writer, data, users=SOME, **options):
    return writer.generate_profiles(data, users, **{"progress": False, **options})


@pytest.fixture(scope="module")
def table(writer, splits):
    return write(writer, splits)


def test_a_dataset_of_user_profiles_in_the_order_asked_for(table, writer):
    assert isinstance(table, datasets.Dataset)
    assert table.column_names == list(PROFILE_COLUMNS)
    assert table["user_id"][:] == SOME
    assert str(table.features["as_of"]) == "Value('timestamp[us, tz=UTC]')"
    assert len(set(table["profile"][:])) == 3
    assert all(well_formed(text) for text in table["profile"])
    assert set(table["generator"]) == {f"{writer.label}; forced slots-2, float32"}
    assert set(table["neighbors_by"]) == {"none"}
    assert all(len(row) == 0 for row in table["neighbors"])


def test_only_what_lies_before_the_cut_is_read(table, writer, splits):
    assert certify(table.to_pandas(), splits.test, splits.data.items).passed
    assert not certify(table.to_pandas(), splits.validation, splits.data.items).passed
    early = write(writer, splits, period="validation")
    assert certify(early.to_pandas(), splits.validation, splits.data.items).passed
    assert set(early["as_of"]) == {pd.Timestamp(splits.validation.cut, unit="us", tz="UTC").to_pydatetime()}


def test_plain_tables_give_the_same_profiles(table, writer, splits):
    time = pd.Timestamp(splits.test.cut, unit="us", tz="UTC")
    from_tables = write(writer, splits.data, as_of=time)
    from_split = write(writer, splits.test, items=splits.data.items)
    assert from_tables[:] == from_split[:] == table[:]


def test_data_without_times(writer, splits):
    timeless = dataclasses.replace(splits.data, timestamp=None)
    table = write(writer, timeless)
    assert table["as_of"][:] == [None] * 3
    assert all(well_formed(text) for text in table["profile"])


def test_similar_users_are_shown_when_they_are_given(writer, splits, table):
    rows = np.stack([(np.arange(50) + step) % 50 for step in (2, 4)], axis=1)
    near = write(writer, splits, neighbors=rows)
    assert near["neighbors"][0] == ["user-09", "user-11"]
    assert set(near["neighbors_by"]) == {"interactions"}
    assert near["profile"][:] != table["profile"][:]


def test_everybody_with_history(writer, splits):
    everyone = writer.generate_profiles(splits, batch_size=25, progress=False)
    assert everyone["user_id"][:] == splits.test.user_ids.tolist()


def test_a_folder_keeps_what_is_finished(writer, splits, tmp_path, monkeypatch):
    first = write(writer, splits, folder=tmp_path)
    asked = []
    engine = writer.engine

    def watched(batch_size):
        made = engine(batch_size)
        generate = made.generate
        made.generate = lambda requests: asked.extend(requests) or generate(requests)
        return made

    monkeypatch.setattr(writer, "engine", watched)
    second = write(writer, splits, [*SOME, "user-01"], folder=tmp_path)
    assert [request.key for request in asked] == ["user-01"]
    assert second[:3] == first[:]


def test_unknown_users_are_named(writer, splits):
    with pytest.raises(KeyError, match="'user-77'"):
        write(writer, splits, ["user-77"])


def test_sizes_that_no_prompt_asks_for_are_refused(splits):
    other = RecLMProfiler(adapted(), tokenizer(), RecLMProfilerConfig(BASE, user_size=4))
    with pytest.raises(ValueError, match="user_size=4: this version writes profiles with 3"):
        write(other, splits)


def test_the_style_is_that_of_the_configuration(writer, splits, monkeypatch):
    from reclm_hf.profiles.prompts import PromptStyle

    text = RecLMProfiler(writer.model, tokenizer(), RecLMProfilerConfig(BASE, style=PromptStyle(("text",))))
    assert write(text, splits)["prompt_version"][0].endswith("+text")


@pytest.mark.parametrize(("form", "version"), [("plain", "user-2, plain"), ("dialogue", "dialogue-1, person")])
def test_a_profiler_is_asked_in_the_form_that_it_was_tuned_with(writer, splits, table, form, version, tmp_path):
    tuned = RecLMProfiler(writer.model, tokenizer(), RecLMProfilerConfig(BASE, form=form))
    assert tuned.engine().form == form
    near = np.stack([(np.arange(50) + step) % 50 for step in (2, 4)], axis=1)
    asked = write(tuned, splits, neighbors=near)
    assert set(asked["prompt_version"]) == {version}
    assert not set(asked["input_hash"]) & set(table["input_hash"])
    assert asked["neighbors"][0] == ["user-09", "user-11"]
    assert all(well_formed(text) for text in asked["profile"])
    tuned.save_pretrained(tmp_path)
    assert RecLMProfilerConfig.load(tmp_path).form == form


def test_a_form_that_is_cut_heeds_what_the_model_can_read(writer, splits, monkeypatch):
    tuned = RecLMProfiler(writer.model, tokenizer(), RecLMProfilerConfig(BASE, form="dialogue"))
    monkeypatch.setattr(writer.model.config, "max_position_embeddings", 300)
    short = write(tuned, splits)
    monkeypatch.setattr(writer.model.config, "max_position_embeddings", 2048)
    whole = write(tuned, splits)
    assert all(len(cut) < len(items) for cut, items in zip(short["evidence"], whole["evidence"], strict=True))
    assert max(short["tokens_in"]) <= 300
